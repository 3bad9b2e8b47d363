"""A small HTTP/1.1 client on asyncio: a general one would cost more than the server it is to measure."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from controller.simulation.settings import SimulationSettings


class ExchangeError(Exception):
    """No complete HTTP answer."""


class OperationFailed(Exception):
    """No answer, or one an agent cannot work with. `final`: the server refuses this device."""

    def __init__(self, operation: str, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.operation = operation
        self.final = final


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self.closed = False
        self.fresh = True
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its type.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            answer = _parse(self._buffer, ended=False)
        except ValueError as error:
            self._fail(f"not HTTP: {error}")
            return
        if answer is not None:
            self._finish(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._waiter is None or self._waiter.done():
            return
        try:
            answer = _parse(self._buffer, ended=True)
        except ValueError:
            answer = None
        if answer is not None:
            self._finish(answer)
        else:
            self._fail(f"connection lost: {error or 'closed by the server'}")

    async def exchange(self, request: bytes, *, timeout: float) -> Answer:
        """Send and wait. Raises ExchangeError; then the connection is closed."""
        assert self._transport is not None  # noqa: S101  (set before create_connection returns)
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._fail, f"no answer within {timeout:g} s")
        try:
            self._transport.write(request)
            return await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()

    @property
    def heard_nothing(self) -> bool:
        """Whether not one byte of an answer arrived."""
        return not self._buffer

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def _finish(self, answer: Answer) -> None:
        self._buffer.clear()
        self.fresh = False
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)
        else:
            self.close()  # an answer nobody asked for: out of step

    def _fail(self, message: str) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ExchangeError(message))


def _parse(buffer: bytearray, *, ended: bool) -> Answer | None:
    """The answer at the start of `buffer`, or None while it is incomplete. ValueError: it is not HTTP."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ValueError(first[:40])
    status = int(first[9:12])
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body: bytes | None
    if status in (204, 304):
        body = b""
    elif "content-length" in headers:
        length = int(headers["content-length"])
        body = bytes(buffer[end + 4 : end + 4 + length]) if len(buffer) >= end + 4 + length else None
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(buffer, end + 4)
    else:
        body = bytes(buffer[end + 4 :]) if ended else None
    return None if body is None else Answer(status=status, headers=headers, body=body)


def _unchunked(buffer: bytearray, position: int) -> bytes | None:
    body = bytearray()
    while True:
        line_end = buffer.find(b"\r\n", position)
        if line_end < 0:
            return None
        size = int(buffer[position:line_end].partition(b";")[0], 16)
        position = line_end + 2
        if len(buffer) < position + size + 2:
            return None
        if size == 0:
            return bytes(body)
        body += buffer[position : position + size]
        position += size + 2


class Client:
    """At most `concurrency` connections to one address, reused last in first out."""

    def __init__(self, settings: SimulationSettings) -> None:
        parts = urlsplit(settings.url)
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.is_tls else 80)
        self._tls = ssl.create_default_context() if self.is_tls else None
        self._timeout = settings.timeout
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._idle: list[Connection] = []
        self.host_header = parts.netloc
        self.prefix = parts.path

    async def exchange(self, request: bytes) -> tuple[Answer, float]:
        """One answer, and its latency in seconds without the wait for a slot. Raises ExchangeError."""
        async with self._slots:
            connection = await self._connection()
            reused = not connection.fresh
            started = time.perf_counter()
            try:
                answer = await connection.exchange(request, timeout=self._timeout)
            except ExchangeError:
                if not (reused and connection.heard_nothing):
                    raise
                # The server closed an idle connection while we wrote: HTTP lets us ask again on a new one.
                connection = await self._open()
                answer = await connection.exchange(request, timeout=self._timeout)
            latency = time.perf_counter() - started
            if not connection.closed:
                self._idle.append(connection)
            return answer, latency

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return await self._open()

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            raise ExchangeError(f"cannot connect: {error or 'timed out'}") from error
        return connection
