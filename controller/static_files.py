"""Static files by whitenoise, as answers that an ASGI server can send piece by piece.

Whitenoise's own are synchronous: Django reads them to their end first, and says so on standard error, outside the logs.
"""

from typing import Any

from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware

from core.streaming import Streamed


class StaticAnswer(Streamed, WhiteNoiseFileResponse):
    """A file, in pieces that are worth a change of threads."""

    block_size = 256 * 1024


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Answers for static files before anything else is asked."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> StaticAnswer:
        """Return a file, or that it has not changed, with whitenoise's headers and no others."""
        found = static_file.get_response(request.method, request.META)
        answer = StaticAnswer(found.file or (), status=int(found.status))
        del answer["content-type"]
        for name, value in found.headers:
            answer[name] = value
        return answer
