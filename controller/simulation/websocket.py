"""The client's side of a websocket (RFC 6455) on asyncio, without extensions.

Own code, because ten thousand of them live in one process beside what they measure: an object of a few slots each, no
task, no queue, no buffer while nothing is under way. Invariant: `ended` is called once, and nothing after it.
"""

import asyncio
import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MOST_BYTES = 1 << 20
MOST_HEAD = 1 << 14
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, NO_CODE, ABNORMAL = 1000, 1002, 1005, 1006


@dataclass(frozen=True, slots=True)
class Ending:
    """How a websocket ended: the peer's close code (1006: there was none), or the status that refused the handshake."""

    code: int = ABNORMAL
    status: int = 101
    reason: str = ""
    retry_after: float = 0.0


class Listener(Protocol):
    """Who is told what happens."""

    def opened(self) -> None: ...

    def received(self, text: bytes) -> None: ...

    def ended(self, ending: Ending) -> None: ...


class WebSocket(asyncio.Protocol):
    """One websocket, from the moment its connection stands."""

    __slots__ = ("_accept", "_ending", "_fragments", "_listener", "_request", "_rest", "_transport")

    def __init__(self, listener: Listener, *, host: str, path: str, headers: Mapping[str, str]) -> None:
        key = base64.b64encode(random.randbytes(16))  # noqa: S311  (nothing here is secret)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        # Empty once the handshake is over.
        self._accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._fragments = b""
        self._ending: Ending | None = None

    # --- what comes in ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its type.
        self._transport = cast(asyncio.Transport, transport)
        self._write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        if self._ending is not None:
            return
        data = self._rest + data if self._rest else data
        self._rest = b""
        if self._accept:
            data = self._handshake(data)
        self._frames(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._ending is None:
            self._ending = Ending(reason=str(error or "closed without a close frame"))
        self._transport = None
        self._listener.ended(self._ending)

    def _handshake(self, data: bytes) -> bytes:
        """Read the answer to the handshake; returns what follows it."""
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            if len(data) > MOST_HEAD:
                self._fail("the answer to the handshake does not end")
            self._rest = data
            return b""
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = first[9:12]
        if not first.startswith("HTTP/1.1 ") or not status.isdigit():
            self._fail("the answer to the handshake is not HTTP")
        elif status != "101":
            after = headers.get("retry-after", "")
            self._end(Ending(status=int(status), retry_after=float(after) if after.isdigit() else 0.0))
        elif headers.get("sec-websocket-accept", "").encode() != self._accept:
            self._fail("the answer to the handshake is another one's")
        else:
            self._accept = b""
            self._listener.opened()
            return rest
        return b""

    def _frames(self, data: bytes) -> None:
        """Act on every complete frame, keep the rest."""
        at = 0
        while self._ending is None and len(data) - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length > 125:
                start += 2 if length == 126 else 8 if length == 127 else 0
                length = int.from_bytes(data[at + 2 : start]) if length < 128 else -1
            if length < 0 or length > MOST_BYTES or first & 0x70:
                self._fail("a frame that breaks RFC 6455")
                return
            if len(data) < start + length:
                break
            at = start + length
            self._frame(first & 0x0F, bool(first & 0x80), data[start:at])
        if self._ending is None:
            self._rest = data[at:]

    def _frame(self, opcode: int, is_last: bool, payload: bytes) -> None:
        if opcode == TEXT and is_last:
            self._listener.received(payload)
        elif opcode in (TEXT, CONTINUATION):
            self._fragments += payload
            if len(self._fragments) > MOST_BYTES:
                self._fail("a message that is too large")
            elif is_last:
                whole, self._fragments = self._fragments, b""
                self._listener.received(whole)
        elif opcode == PING:
            self._write(frame(PONG, payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else NO_CODE
            self._write(frame(CLOSE, payload[:2]))
            self._end(Ending(code=code, reason=payload[2:].decode("utf-8", "replace")))
        elif opcode != PONG:
            self._fail(f"a frame of the kind {opcode}")

    def _fail(self, reason: str) -> None:
        self._write(frame(CLOSE, PROTOCOL_ERROR.to_bytes(2)) if not self._accept else b"")
        self._end(Ending(code=PROTOCOL_ERROR, status=101 if not self._accept else 0, reason=reason))

    def _end(self, ending: Ending) -> None:
        self._ending = ending
        if self._transport is not None:
            self._transport.close()

    # --- what goes out ------------------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a text; a websocket that has ended passes over it."""
        self._write(frame(TEXT, text.encode()))

    def close(self, code: int = NORMAL) -> None:
        """Say goodbye and close; the peer's own goodbye is not waited for."""
        if self._ending is None:
            self._write(frame(CLOSE, code.to_bytes(2)) if not self._accept else b"")
            self._end(Ending(code=code, reason="closed by us"))

    def abort(self, reason: str) -> None:
        """Drop the connection without a word."""
        if self._ending is None:
            self._ending = Ending(reason=reason)
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self._ending is None and data:
            self._transport.write(data)


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one unfragmented frame, masked as every client's is.

    >>> frame(TEXT, b"").hex()[:4]
    '8180'
    """
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8)
    mask = random.randbytes(4)  # noqa: S311  (nothing here is secret)
    stretched = (mask * (size // 4 + 1))[:size]
    # One XOR of two large numbers: a loop over bytes would be the cost of the whole simulation.
    masked = int.from_bytes(payload) ^ int.from_bytes(stretched)
    return head + mask + masked.to_bytes(size)
