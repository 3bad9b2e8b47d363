"""One device link: `/ws/device/<id>/` (docs/link-protocol.md).

Invariant: nothing is kept for a link without a bound: frames are limited in size and rate, what waits to be sent in
number, what is asked in time. A link that breaks a bound is closed, and the device dials again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.conf import settings

from core import metrics
from core.eager import begun
from core.net import client_address
from core.rows import DATABASE_ERRORS
from devices.events import Opening
from devices.link import methods, rpc
from devices.link.door import door, key_fits, ticket_fits
from devices.link.registry import NOT_SERVED, registry

logger = logging.getLogger(__name__)
HELLO_SECONDS = 10.0
SEND_SECONDS = 10.0
MOST_WAITING = 64
MOST_CALLS = 32
FLOOD_FRAMES, FLOOD_SECONDS = 200, 10.0
MOST_MALFORMED = 10
TOO_LARGE, LATE, NOT_UNDERSTOOD, TOO_SLOW, FLOOD = 1009, 4001, 4002, 4008, 4029
# How servers say that what is sent cannot be: the device is gone, or they have ended the link themselves.
GONE = (OSError, RuntimeError)
REFUSALS = {
    403: b"the key is not the device's\n",
    404: b"there is no such device\n",
    503: b"try again\n",
}


def _ticket_of(query: bytes) -> str:
    """Return the ticket a query names, or nothing."""
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=8).get("ticket", [""])[0]
    except ValueError:
        return ""


class LinkConsumer(AsyncConsumer):  # type: ignore[misc]
    """A link from its handshake to its end."""

    def __init__(self, device_id: UUID) -> None:
        self.device_id = device_id
        self.epoch = uuid4()
        self.opening: Opening | None = None
        self.is_written = False
        self.is_closed = False
        self.heard_at = time.monotonic()
        self._key_digest = ""
        self._numbers = count(1)
        self._calls: dict[str, asyncio.Future[rpc.Response]] = {}
        # Nearly always empty, and an empty deque is twelve times as large as an empty list.
        self._waiting: list[str] = []
        self._sending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[Any] | None = None
        self._is_receiving = False
        self._ended: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._window = (0.0, 0)
        self._malformed = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a link. Channels' own loop would cost every link a second task, and every frame the making of one."""
        self.scope, self.base_send, self._serving = scope, send, asyncio.current_task()
        with suppress(StopConsumer):
            while not self.is_closed:
                await self.dispatch(await self._received(receive))
        if self._ended is not None:
            # What the link is closed with must have left before the server takes the end of this for the end of it.
            await self._ended

    async def _received(self, receive: Any) -> dict[str, Any]:
        """Return the next event. Raises StopConsumer when the link is closed meanwhile (`close`)."""
        self._is_receiving = True
        try:
            message: dict[str, Any] = await receive()
        except asyncio.CancelledError:
            if self._ended is None or self._serving is None:
                raise
            self._serving.uncancel()
            raise StopConsumer from None
        finally:
            self._is_receiving = False
        return message

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Act on an ASGI event; unlike Channels', without a look at database connections: there are none here."""
        kind = message["type"]
        if kind == "websocket.receive":
            await self._receive(message.get("text"), message.get("bytes"))
        elif kind == "websocket.connect":
            await self._connect()
        elif kind == "websocket.disconnect":
            self._gone()
            raise StopConsumer

    # --- handshake ----------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        registry.start()
        try:
            status = await self._admission()
        except DATABASE_ERRORS:
            logger.exception("a device link could not be admitted")
            status = 503
        metrics.request("link", "CONNECT", status, time.monotonic() - self.heard_at)
        if status != 101:
            await self._refuse(status)
            return
        if isinstance(self.scope["headers"], list):
            # A kilobyte that the server keeps as long as the link, and nobody reads again.
            self.scope["headers"].clear()
        await self.base_send({"type": "websocket.accept"})
        self._deadline = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._late)

    async def _admission(self) -> int:
        """Return 101, or the status of HTTP that refuses the handshake."""
        if registry.is_stopping:
            return 503
        row = await registry.row(self.device_id)
        key_digest = door().admits(row) if row is not None else None
        if key_digest is None:
            return 404
        self._key_digest = key_digest
        key = next((v for n, v in self.scope["headers"] if n == b"x-device-key"), b"").decode("latin-1")
        if key:
            return 101 if key_fits(key, key_digest) else 403
        ticket = _ticket_of(self.scope.get("query_string", b""))
        if not ticket:
            return 403
        fits = await registry.threads.run(ticket_fits, ticket, self.device_id, key_digest)
        return 101 if fits else 403

    async def _refuse(self, status: int) -> None:
        if "websocket.http.response" not in self.scope.get("extensions", {}):
            await self.base_send({"type": "websocket.close", "code": 4000 + status})
            return
        body = REFUSALS[status]
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        if status == 503:
            headers.append((b"retry-after", b"10"))
        await self.base_send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self.base_send({"type": "websocket.http.response.body", "body": body})

    def _late(self) -> None:
        if not self.is_written:
            self._close_soon(LATE)

    # --- what comes in ------------------------------------------------------------------------------------------------

    async def _receive(self, text: str | None, data: bytes | None) -> None:
        if self.is_closed:
            return
        self.heard_at = now = time.monotonic()
        began, frames = self._window
        self._window = (began, frames + 1) if now - began < FLOOD_SECONDS else (now, 1)
        if self._window[1] > FLOOD_FRAMES:
            await self.close(FLOOD)
        elif text is None:
            await self._misunderstood(
                rpc.failed(None, rpc.RpcError(rpc.INVALID_REQUEST, "frames are text")), len(data or b"")
            )
        elif len(text) > rpc.FRAME_BYTES or len(text.encode()) > rpc.FRAME_BYTES:
            await self.close(TOO_LARGE)
        else:
            await self._read(text)

    async def _read(self, text: str) -> None:
        try:
            frame = rpc.read(text)
        except rpc.Malformed as malformed:
            await self._misunderstood(malformed.answer, len(text))
            return
        if isinstance(frame, rpc.Response):
            asked = self._calls.pop(str(frame.id), None)
            if asked is not None and not asked.done():
                asked.set_result(frame)
            return
        if self.is_written:
            registry.heard.add(self.device_id)
        await self._answer(frame)

    async def _misunderstood(self, answer: str, size: int) -> None:
        self._malformed += 1
        metrics.add(metrics.LINK_FRAMES, "malformed")
        if size > rpc.FRAME_BYTES:
            await self.close(TOO_LARGE)
        elif self._malformed >= MOST_MALFORMED:
            await self.close(NOT_UNDERSTOOD)
        else:
            self.post(answer)

    async def _answer(self, request: rpc.Request) -> None:
        """Answer one request; what was only told gets no answer."""
        try:
            result = await self._result(request)
        except rpc.RpcError as error:
            metrics.add(metrics.LINK_FRAMES, "unknown" if error.code == rpc.UNKNOWN_METHOD else "refused")
            reply = rpc.failed(request.id, error)
        except DATABASE_ERRORS:
            logger.exception("a frame of a device link failed in the database")
            metrics.add(metrics.LINK_FRAMES, "failed")
            reply = rpc.failed(request.id, rpc.RpcError(rpc.INTERNAL_ERROR, "try again"))
        else:
            metrics.add(metrics.LINK_FRAMES, request.method)
            reply = rpc.answered(request.id, result)
        if request.id is not None:
            self.post(reply)

    async def _result(self, request: rpc.Request) -> Any:
        if request.method == "hello":
            return await self._hello(request.params)
        if not self.is_written:
            raise rpc.RpcError(rpc.INVALID_REQUEST, "hello comes first")
        return await methods.call(self, request.method, request.params)

    async def _hello(self, params: Mapping[str, Any]) -> Any:
        if self.opening is not None:
            raise rpc.RpcError(rpc.INVALID_REQUEST, "hello was said already")
        self.opening = methods.opening_of(
            params,
            device_id=self.device_id,
            epoch=self.epoch,
            key_digest=self._key_digest,
            address=self._address(),
        )
        try:
            answer = await registry.add(self, self.opening)
        except DATABASE_ERRORS:
            self.opening = None
            raise
        if answer is None:
            await self.close(NOT_SERVED)
            return {}
        self.is_written = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if answer.get("wanted") != self.opening.applied:
            # There may be work for it from now on, after this answer. Anything else has time until the next look.
            asyncio.get_running_loop().call_soon(registry.look)
        return {
            "protocol": methods.PROTOCOL,
            "link": str(self.epoch),
            "heartbeat": methods.heartbeat(),
            **answer,
        }

    def _address(self) -> str | None:
        client = self.scope.get("client")
        return client_address(client[0] if client else None, "", settings.MUSTER.trusted_proxies)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def post(self, frame: str) -> None:
        """Send a frame when the device reads; when too many wait, the device reads too slowly and is dropped."""
        if self.is_closed:
            return
        if self._sending is None:
            try:
                rest = begun(self.base_send({"type": "websocket.send", "text": frame}))
            except GONE:
                # The server says so next.
                return
            if rest is not None:
                self._sending = asyncio.create_task(self._send_waiting(rest))
        elif len(self._waiting) >= MOST_WAITING:
            self._close_soon(TOO_SLOW)
        else:
            self._waiting.append(frame)

    async def _send_waiting(self, rest: Awaitable[None]) -> None:
        """End a send that waits for the device to read, then send what came meanwhile."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await rest
            while self._waiting and not self.is_closed:
                frame = self._waiting.pop(0)
                async with asyncio.timeout(SEND_SECONDS):
                    await self.base_send({"type": "websocket.send", "text": frame})
        except TimeoutError:
            self._close_soon(TOO_SLOW)
        except GONE:
            self._waiting.clear()
        finally:
            self._sending = None

    def request(
        self, method: str, params: Mapping[str, Any], *, id: str = ""
    ) -> "asyncio.Future[rpc.Response]":
        """Ask the device something; the future is its answer, a ConnectionError when the link ends before.

        Whoever does not wait for it to the end cancels it. Raises RpcError, ConnectionError.
        """
        if self.is_closed:
            raise ConnectionError("the link is closed")
        if len(self._calls) >= MOST_CALLS:
            raise rpc.RpcError(rpc.BUSY, "too much is asked of this device")
        identifier = id or f"c{next(self._numbers)}"
        frame = rpc.asked(identifier, method, params)
        if len(frame) > rpc.FRAME_BYTES:
            raise rpc.RpcError(rpc.TOO_LARGE, "the request is larger than a frame")
        asked: asyncio.Future[rpc.Response] = asyncio.get_running_loop().create_future()
        asked.add_done_callback(lambda _: self._calls.pop(identifier, None))
        self._calls[identifier] = asked
        self.post(frame)
        return asked

    async def ask(self, method: str, params: Mapping[str, Any], *, seconds: float) -> Any:
        """Ask the device something and return its result. Raises RpcError, TimeoutError, ConnectionError."""
        async with asyncio.timeout(seconds):
            # The wait's end, whatever ends it, cancels the future.
            response = await self.request(method, params)
        if response.error is not None:
            raise response.error
        return response.result

    async def outcome(self, method: str, params: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Ask the device something; returns `{"result"}` or `{"error": {"code", "message", "data"}}`, or neither."""
        try:
            return {"result": await self.ask(method, params, seconds=seconds)}
        except rpc.RpcError as error:
            return {"error": {"code": error.code, "message": error.message, "data": error.data}}
        except (TimeoutError, ConnectionError):
            return {}

    # --- the end ------------------------------------------------------------------------------------------------------

    def _close_soon(self, code: int) -> None:
        # Kept, because the loop itself holds its tasks by weak references only.
        self._closing = asyncio.create_task(self.close(code))

    async def close(self, code: int) -> None:
        """Close the link, if it is open."""
        if self.is_closed:
            return
        self._gone()
        metrics.add(metrics.LINK_FRAMES, f"close-{code}")
        ended = self._ended = asyncio.get_running_loop().create_future()
        if self._is_receiving and self._serving is not None:
            # Granian sends no close while somebody waits for the next event.
            self._serving.cancel()
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await self.base_send({"type": "websocket.close", "code": code})
        finally:
            ended.set_result(None)

    def _gone(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._waiting.clear()
        calls, self._calls = self._calls, {}
        for asked in calls.values():
            if not asked.done():
                asked.set_exception(ConnectionError("the link was closed"))
                # Nobody may be waiting any more.
                asked.exception()
        registry.remove(self)
