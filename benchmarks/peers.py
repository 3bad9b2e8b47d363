"""The devices' end of many links in this process: the same for the product and for its floors.

A device says `hello`; what it is told to apply it has applied at once. Nothing of it costs a task.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from controller.simulation.websocket import Ending, WebSocket

AT_ONCE = 64
PATIENCE = 120
BEAT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one device dials: path, headers, and the checksum it says it has."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    applied: str = ""


class Peer:
    """One device."""

    __slots__ = ("_checksum", "_crowd", "seat", "settled", "socket")

    def __init__(self, crowd: "Crowd", seat: Seat) -> None:
        self._crowd = crowd
        self._checksum = seat.applied
        self.seat = seat
        self.settled = asyncio.get_running_loop().create_future()
        self.socket = WebSocket(self, host=crowd.host, path=seat.path, headers=seat.headers)

    def send(self, identifier: str, **members: Any) -> None:
        self.socket.send(json.dumps({"jsonrpc": "2.0", "id": identifier, **members}))

    def opened(self) -> None:
        params = {"protocol": 1, "agent": "bench/1", "boot_id": "1", "applied": self._checksum}
        params["capabilities"] = ["config.apply", "archive"]  # type: ignore[assignment]
        self.send("hello", method="hello", params=params)

    def received(self, text: bytes) -> None:
        frame = json.loads(text)
        match frame.get("method"), frame["id"]:
            case "config.apply", identifier:
                self._crowd.asked.append(time.perf_counter())
                params = frame["params"]
                self.send(identifier, result={"state": "running"})
                said = {name: params[name] for name in ("task", "attempt", "checksum")}
                self.send("report", method="report", params=said | {"status": "applied"})
                self._checksum = params["checksum"]
            case "fan", identifier:
                self.send(identifier, result={})
            case None, "hello":
                self.settled.set_result(None)
            case None, "report" | "go":
                if "result" not in frame:
                    raise RuntimeError(f"refused: {frame}")
                self._crowd.ended()

    def ended(self, ending: Ending) -> None:
        if not self.settled.done():
            self.settled.set_exception(ConnectionError(f"{ending.code} {ending.status} {ending.reason}"))
        self._crowd.lost(ending)


class Crowd:
    """Many devices of one server. State: the links, and what they were asked since `expect`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._port = parts.port
        self.peers: list[Peer] = []
        self.asked: list[float] = []
        self._missing = 0
        self._all_in = asyncio.Event()
        self._open = 0
        self._is_closing = False
        self._beat: asyncio.Task[None] | None = None

    async def open(self, seats: Sequence[Seat]) -> float:
        """Open links and say `hello` on each; returns how many per second."""
        waiting, began = iter(seats), time.perf_counter()

        async def some() -> None:
            for seat in waiting:
                peer = Peer(self, seat)
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda peer=peer: peer.socket, "127.0.0.1", self._port)  # type: ignore[misc]
                await peer.settled
                self.peers.append(peer)
                self._open += 1

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some())
        if self._beat is None:
            self._beat = asyncio.create_task(self._beat_forever())
        return len(seats) / (time.perf_counter() - began)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for number, peer in enumerate(list(self.peers)):
                if "X-Device-Key" in peer.seat.headers:
                    peer.send("ping", method="ping")
                if number % 100 == 99:
                    await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close all links."""
        self._is_closing = True
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
            self._beat = None
        for number, peer in enumerate(self.peers):
            peer.socket.close()
            if number % 100 == 99:
                await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            while self._open:
                await asyncio.sleep(0.02)
        self.peers, self._is_closing = [], False

    def expect(self, count: int) -> None:
        """Forget what was asked; `all_in` returns when `count` devices have been told that their word was taken in."""
        self.asked.clear()
        self._missing = count
        self._all_in.clear()

    async def all_in(self) -> None:
        """Wait for what is expected."""
        async with asyncio.timeout(PATIENCE):
            await self._all_in.wait()

    async def go(self, peer: Peer, size: int) -> float:
        """Let a floor hand a message of `size` bytes to the group of `peer`; returns the seconds until all answered."""
        self.expect(1)
        began = time.perf_counter()
        peer.send("go", method="go", params={"size": size})
        await self.all_in()
        return time.perf_counter() - began

    def ended(self) -> None:
        """A device was told that its word was taken in."""
        self._missing -= 1
        if self._missing == 0:
            self._all_in.set()

    def lost(self, ending: Ending) -> None:
        """A link has ended."""
        self._open -= 1
        if not self._is_closing and self.peers:
            raise RuntimeError(f"a link was lost: {ending}")
