"""Closing a websocket on every server: one of them sends no close while somebody waits for the next event.

That one is granian (2.8), whose `send` of a close waits until the pending `receive` has returned; a page that says
nothing would then never be closed. Device links have their own way (`devices.link.consumer`), without a second task.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Any], Awaitable[None]]


def closing(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return a websocket's two functions such that a close ends the wait for its next event with a disconnect."""
    waiting: asyncio.Future[Message] | None = None
    code: int | None = None

    async def received() -> Message:
        nonlocal waiting
        if code is None:
            waiting = asyncio.ensure_future(receive())
            try:
                return await waiting
            except asyncio.CancelledError:
                if code is None:
                    raise
            finally:
                waiting = None
        return {"type": "websocket.disconnect", "code": code}

    async def sent(message: Message) -> None:
        nonlocal code
        if message["type"] == "websocket.close":
            code = message.get("code", 1000)
            if waiting is not None:
                waiting.cancel()
        await send(message)

    return received, sent
