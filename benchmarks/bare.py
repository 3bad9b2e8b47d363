"""The floor of the server itself: an ASGI application that answers without looking at more than the path.

`/<n>` is answered with n bytes, as a GET or, its body read, as a POST.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

Message = dict[str, Any]


@lru_cache(maxsize=64)
def _answer(path: str) -> tuple[Message, Message]:
    size = int(path.strip("/") or 0)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(size).encode())]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": b"x" * size}


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer."""
    if scope["type"] != "http":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    start, body = _answer(scope["path"])
    await send(start)
    await send(body)
