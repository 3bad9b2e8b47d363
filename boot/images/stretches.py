"""Long parts of uploads, cut on their way in, so that what breaks off leaves what had come.

Django's ASGI handler reads the whole body of a request before any view runs, and a body that breaks off reaches none.
So whoever sends a gigabyte as one part would lose all of it. Each stretch of `uploads.PART` bytes becomes a request of
its own for Django here, and the last answer, or the first that is not 200, is the sender's. Behind WSGI the view reads
the stream itself and none of this is needed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from boot.images import uploads

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_PATH = re.compile(r"/api/v1/boot/uploads/[^/]+/?\Z")
_LENGTH = b"content-length"
MOST_FIELDS = 20


def serves(scope: Scope) -> bool:
    """Tell whether an HTTP request appends to an upload."""
    return scope["method"] == "PATCH" and _PATH.match(scope["path"]) is not None


async def in_stretches(application: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an append through `application`, a stretch at a time."""
    begins = _offset_of(scope)
    if begins is None:
        await application(scope, receive, send)
        return
    body, offset = _Body(receive), begins
    while True:
        answer: list[Message] = []
        stretch = body.stretch(uploads.PART)
        await application(_at(scope, offset, offset - begins), stretch, _into(answer))
        if not answer:
            return
        # Whether a body without a length goes on is only known when more of it is there.
        if answer[0]["status"] != 200 or not await body.goes_on():
            break
        offset += uploads.PART
    for message in answer:
        await send(message)


class _Body:
    """A request's body as it comes; what was read of it beyond a stretch waits for the next."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waiting: Message | None = None

    async def _next(self) -> Message:
        waiting, self._waiting = self._waiting, None
        return waiting if waiting is not None else await self._receive()

    def stretch(self, left: int) -> Receive:
        """Return the `receive` of a request whose body is at most `left` bytes of what is still to come."""
        ended = False

        async def receive() -> Message:
            nonlocal left, ended
            if ended:
                # Who listens for the sender to go must not be given the next stretch.
                await asyncio.Event().wait()
            message = await self._next()
            if message["type"] != "http.request":
                return message
            data = message.get("body", b"")
            if len(data) > left:
                self._waiting, data = {**message, "body": data[left:]}, data[:left]
            elif not message.get("more_body"):
                self._waiting = {**message, "body": b""}
            left -= len(data)
            ended = not left or not message.get("more_body")
            return {"type": "http.request", "body": data, "more_body": not ended}

        return receive

    async def goes_on(self) -> bool:
        """Tell whether bytes are still to come, or the sender has gone before the end."""
        while True:
            self._waiting = message = await self._next()
            if message["type"] != "http.request" or message.get("body"):
                return True
            if not message.get("more_body"):
                return False
            self._waiting = None


def _into(answer: list[Message]) -> Send:
    async def send(message: Message) -> None:
        answer.append(message)

    return send


def _offset_of(scope: Scope) -> int | None:
    """Return where the part begins, None when the request does not say it in a way that could be right."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return None
    named = [value for name, value in pairs if name == "offset"]
    offset = named[-1] if named else ""
    return int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 19 else None


def _at(scope: Scope, offset: int, past: int) -> Scope:
    """Return the scope of a stretch that begins at `offset`, when `past` bytes of the body are behind it."""
    headers = []
    for name, value in scope["headers"]:
        is_length = name == _LENGTH and value.isdigit()
        headers.append((name, b"%d" % min(int(value) - past, uploads.PART)) if is_length else (name, value))
    return {**scope, "headers": headers, "query_string": urlencode({"offset": offset}).encode()}
