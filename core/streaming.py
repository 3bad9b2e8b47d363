"""Answers that are sent while they are made, under both kinds of server.

Django reads a synchronous iterator to its end before it sends the first byte over ASGI; here each part is fetched in
the request's own thread when the one before it has been sent.
"""

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse


class Streamed(StreamingHttpResponse):
    """A streaming answer of a synchronous iterator that ASGI servers stream too."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = iter(self)
        fetch = sync_to_async(lambda: next(parts, None), thread_sensitive=True)
        while (part := await fetch()) is not None:
            yield part
