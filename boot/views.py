"""The boot dialect behind Django's handler, for WSGI servers and Django's test client.

The same `answer` as the thin ASGI application, reached through one view for every path.
"""

import logging
import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from boot.cattlepi import answer
from boot.messages import (
    BODY_LIMIT,
    BROKEN,
    KEY_HEADER,
    TRY_AGAIN,
    BootRequest,
    BootResponse,
    key_of,
    route_of,
)
from config_merge.agent import presence
from core.net import SENT_PATH, client_address, is_trusted
from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)
_BROKEN = re.compile(r"%[89A-F][0-9A-F]")


def _request_of(request: HttpRequest) -> BootRequest:
    method, headers = request.method or "", {name.lower(): value for name, value in request.headers.items()}
    length = headers.get("content-length", "")
    too_large = length.isdecimal() and (len(length) > 9 or int(length) > BODY_LIMIT)
    body = b"" if too_large else _body(request)
    peer, trusted = request.META.get("REMOTE_ADDR"), settings.MUSTER.trusted_proxies
    forwarded = headers.get("x-forwarded-for", "")
    return BootRequest(
        method=method,
        route=route_of(_path(request)),
        key=key_of(method, headers.get(KEY_HEADER, ""), request.META.get("QUERY_STRING", "")),
        body=body,
        headers=headers,
        client=client_address(peer, forwarded, trusted),
        origin=f"{request.scheme}://{headers.get('host') or 'localhost'}",
        is_too_large=too_large or len(body) > BODY_LIMIT,
        is_proxied=bool(forwarded) and is_trusted(peer, trusted),
    )


def _body(request: HttpRequest) -> bytes:
    """Return the body, of a longer one a byte more than the limit; reads without a body have none to look for."""
    if request.META.get("HTTP_TRANSFER_ENCODING") and request.META.get("wsgi.input_terminated"):
        # Django takes a body without a length for none; this server says where it ends.
        stream, parts, left = request.META["wsgi.input"], [], BODY_LIMIT + 1
        while left and (part := stream.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    return request.read(BODY_LIMIT + 1) if request.method == "POST" else b""


def _path(request: HttpRequest) -> bytes:
    """Return the path in a form that `route_of` decodes to what was sent.

    WSGI servers hand it over decoded. What Django makes of it does not tell a byte that is no UTF-8, which is no route,
    from a name that really has such an escape in it: without the path as it came both are taken for the former.
    """
    sent = request.META.get(SENT_PATH)
    if sent is not None:
        return str(sent).encode("latin-1").replace(b"%", b"%25")
    path = request.path_info
    return b"" if _BROKEN.search(path) else path.encode("utf-8", "replace").replace(b"%", b"%25")


@csrf_exempt
def boot(request: HttpRequest) -> HttpResponse:
    """Answer one request of the dialect."""
    try:
        answered = answer(_request_of(request))
        if presence.is_due():
            presence.flush()
    except DATABASE_ERRORS:
        logger.exception("boot request failed in the database")
        answered = TRY_AGAIN
    except Exception:
        # Whatever it was, the client understands this dialect's words alone, and Django's page is none of them.
        logger.exception("boot request failed")
        answered = BROKEN
    return _response(answered, head=request.method == "HEAD")


def _response(answered: BootResponse, *, head: bool) -> HttpResponse:
    headers: dict[str, Any] = dict(answered.headers)
    headers["Content-Length"] = str(len(answered.body))
    body = b"" if head else answered.body
    response = HttpResponse(body, status=answered.status, content_type=answered.content_type, headers=headers)
    # Django would log refusals with their paths, in which an image's space may be a key.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
