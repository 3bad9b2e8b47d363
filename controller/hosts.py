"""Which requests must name a host of ours: those of browsers, which cookies and links follow about.

Devices reach the server by whatever address they were given. What the boot dialect answers depends on no host, and so
do the files that its redirects lead to, behind Django's handler as in front of it.
"""

from typing import Any

from django.http import HttpRequest
from django.middleware.common import CommonMiddleware

from boot.asgi import serves
from boot.images.signing import PREFIX


class HostMiddleware(CommonMiddleware):
    """Django's own, which refuses foreign hosts, but not for devices."""

    def process_request(self, request: HttpRequest) -> Any:
        """Refuse what names no host of ours (Django answers 400)."""
        path = request.path_info
        return None if path.startswith(PREFIX) or serves(path) else super().process_request(request)
