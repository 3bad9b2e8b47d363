"""The boot dialect's own ASGI application, in front of Django's handler.

Requests for a boot configuration that arrive together are counted, tracked and answered together, in one transaction;
everything else runs `cattlepi.answer` on the same small pool of threads.
"""

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from boot import boots, cattlepi
from boot.messages import (
    BODY_LIMIT,
    BROKEN,
    KEY_HEADER,
    OK,
    TRY_AGAIN,
    BootRequest,
    BootResponse,
    key_of,
    refusal,
    route_of,
)
from core import metrics
from core.acting import request_id
from core.database_threads import DatabaseThreads, Together
from core.request_ids import HEADER as ID_HEADER
from core.request_ids import counted_request_id, needed_request_id
from core.rows import DATABASE_ERRORS

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
PREFIXES = ("/boot/", "/images/", "/track/", "/ping/")
PATHS = frozenset({"/boot", "/images", "/track", "/ping"})
BATCH = 100
# What is read of a body beyond the limit before the rest is left unread.
_READ_AT_MOST = 65_536
_ID_HEADER = ID_HEADER.lower().encode()
logger = logging.getLogger(__name__)


def serves(path: str) -> bool:
    """Tell whether a path is the dialect's."""
    return path.startswith(PREFIXES) or path in PATHS


class BootApplication:
    """State: the pool of threads, and the boots that wait to be answered."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads("boot")
        self._boots: Together[boots.Boot, BootResponse] = Together(
            self._threads, boots.answer_all, most=BATCH
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = perf_counter()
        try:
            answered = await self._answer(scope, receive)
        except DATABASE_ERRORS:
            needed_request_id()
            logger.exception("boot request failed in the database")
            answered = TRY_AGAIN
        except Exception:
            # Whatever it was, the client understands this dialect's words alone, and the server has none of them.
            needed_request_id()
            logger.exception("boot request failed")
            answered = BROKEN
        if answered is not None:
            metrics.request("boot", scope["method"], answered.status, perf_counter() - started)
            await _send(send, answered, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> BootResponse | None:
        """Return the answer, or None when there is nobody left to have it."""
        request = _request_of(scope)
        # Of a body without a length only reading it tells how long it is.
        is_sent = request.method == "POST" or "transfer-encoding" in request.headers
        if is_sent and not request.is_too_large:
            body = await _body(receive)
            if body is None:
                return None
            request = request._replace(body=body, is_too_large=len(body) > BODY_LIMIT)
        request = cattlepi.on_lan(request)
        if (problem := refusal(request)) is not None:
            return problem
        if request.route is not None and request.route.name == "ping":
            return OK
        if (boot := cattlepi.boot_of(request)) is not None:
            return await self._boots.do(boot)
        return await self._threads.run(cattlepi.answer, request)

    async def shutdown(self) -> None:
        """Let those who wait be answered."""
        await self._boots.idle()

    def close(self) -> None:
        """End the threads, when the application is not needed any more."""
        self._threads.close()


def _request_of(scope: Scope) -> BootRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # Repeated headers make one list (RFC 9110, 5.3), here as behind WSGI.
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    # A boot that is answered as it should be needs no id of ours; what is logged or refused gets one then.
    sent = headers.get("x-request-id")
    request_id.set(counted_request_id(sent) if sent else "")
    client, server = scope.get("client"), scope.get("server") or ("localhost", None)
    host = headers.get("host") or (f"{server[0]}:{server[1]}" if server[1] else server[0])
    length = headers.get("content-length", "")
    return BootRequest(
        method=scope["method"],
        route=route_of(_path(scope)),
        key=key_of(scope["method"], headers.get(KEY_HEADER, ""), scope["query_string"].decode("latin-1")),
        body=b"",
        headers=headers,
        client=client[0] if client else None,
        origin=f"{scope.get('scheme', 'http')}://{host}",
        is_too_large=length.isdecimal() and (len(length) > 9 or int(length) > BODY_LIMIT),
        # A proxy of ours that names the client leaves no port.
        is_proxied=client is not None and client[1] == 0,
    )


def _path(scope: Scope) -> bytes:
    """Return the path as it was sent, since servers replace what they cannot decode."""
    raw: bytes | None = scope.get("raw_path")
    return raw.partition(b"?")[0] if raw is not None else scope["path"].encode("utf-8", "surrogatepass")


async def _body(receive: Receive) -> bytes | None:
    """Return the request's body, a bit more than the limit of one that is too large, None when the client is gone."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        if size > _READ_AT_MOST or not message.get("more_body"):
            return b"".join(chunks)


async def _send(send: Send, answered: BootResponse, *, head: bool) -> None:
    headers = [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in answered.headers
    ]
    if answered.status >= 400:
        headers.append((_ID_HEADER, needed_request_id().encode()))
    headers.append((b"content-type", answered.content_type.encode()))
    headers.append((b"content-length", b"%d" % len(answered.body)))
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answered.body})


application = BootApplication()


async def shutdown() -> None:
    """Answer who waits (from the server's lifespan)."""
    await application.shutdown()
