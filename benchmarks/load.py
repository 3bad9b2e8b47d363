"""Loads a server with prepared requests over keep-alive connections, by wrk or, where that is missing, by asyncio.

Invariant: every request is made before the clock starts, so that the generator costs the same for every server.
"""

import asyncio
import http.client
import itertools
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import httptools
import uvloop

from benchmarks.servers import Served

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
CONNECTIONS = 16
# Seconds an answer may be late before a run is given up.
PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Load:
    """One run: requests per second, how many answers said 4xx or 5xx, broken ones, and latencies in milliseconds.

    `processor` is the server's CPU time per request in microseconds: unlike the rate it hardly suffers from what else
    the machine is doing.
    """

    rate: float
    refused: int
    broken: int
    p50: float
    p99: float
    processor: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, looked at; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Whom and what to ask; `prepare`, when there is one, makes each run's requests anew."""

    server: Served
    requests: Sequence[bytes] = ()
    prepare: Callable[[], Sequence[bytes]] | None = None


def raw_request(
    path: str, *, host: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
) -> bytes:
    """One HTTP/1.1 request as bytes: a GET, or with `form` a POST."""
    body = urlencode(form).encode() if form is not None else b""
    fields = {"Host": host} | dict(headers or {})
    if form is not None:
        fields |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    lines = [
        f"{'GET' if form is None else 'POST'} {path} HTTP/1.1",
        *(f"{k}: {v}" for k, v in fields.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def default_generator() -> str:
    """`wrk` where it is installed, else `python`."""
    return "wrk" if shutil.which("wrk") else "python"


def run(target: Target, *, seconds: float, generator: str) -> Load:
    """Load the target once."""
    requests = target.prepare() if target.prepare else target.requests
    before, began = target.server.processor_seconds(), time.perf_counter()
    if generator == "wrk":
        load = _wrk(target.server.url, requests, seconds=seconds)
    else:
        load = uvloop.run(_asyncio(target.server.url, requests, seconds=seconds))
    answered = load.rate * (time.perf_counter() - began)
    return replace(load, processor=(target.server.processor_seconds() - before) / answered * 1e6)


def rounds(
    targets: Mapping[str, Target], *, count: int, seconds: float, generator: str
) -> dict[str, list[Load]]:
    """Load every target `count` times in turn, so that a noisy moment does not fall on one of them alone."""
    loads: dict[str, list[Load]] = {name: [] for name in targets}
    for target in targets.values():
        run(target, seconds=min(0.5, seconds), generator=generator)
    for _ in range(count):
        for name, target in targets.items():
            loads[name].append(run(target, seconds=seconds, generator=generator))
    return loads


def median_rate(loads: Sequence[Load]) -> float:
    """The median of some runs' rates."""
    return statistics.median(load.rate for load in loads)


def median_processor(loads: Sequence[Load]) -> float:
    """The median of some runs' CPU time per request, in microseconds."""
    return statistics.median(load.processor for load in loads)


def median_ratio(loads: Sequence[Load], floor: Sequence[Load]) -> float:
    """The median of the quotients of runs that stood next to each other."""
    return statistics.median(ours.rate / theirs.rate for ours, theirs in zip(loads, floor, strict=True))


def _wrk(url: str, requests: Sequence[bytes], *, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile(prefix="muster-wrk-") as file:
        for request in requests:
            file.write(b"%d\n%s" % (len(request), request))
        file.flush()
        # wrk counts whole seconds.
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(SCRIPT), url]
        printed = subprocess.run(
            [*command, "--", file.name], check=True, capture_output=True, text=True
        ).stdout
    line = next(line for line in printed.splitlines() if line.startswith("FIGURES "))
    count, micros, refused, broken, p50, p99 = (int(word) for word in line.split()[1:])
    return Load(count / micros * 1e6, refused, broken, p50 / 1000, p99 / 1000)


class _Connection(asyncio.Protocol):
    """Sends the next request when an answer is complete."""

    def __init__(self, requests: "itertools.cycle[bytes]", deadline: float) -> None:
        self._requests, self._deadline = requests, deadline
        self.latencies: list[float] = []
        self.refused = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, not its type.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        moment = time.perf_counter()
        self.latencies.append(moment - self._sent)
        self.refused += self._parser.get_status_code() >= 400
        if moment < self._deadline:
            # The parser is still on the stack.
            asyncio.get_running_loop().call_soon(self._send)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


async def _asyncio(url: str, requests: Sequence[bytes], *, seconds: float) -> Load:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    source, began = itertools.cycle(requests), time.perf_counter()
    connections: list[_Connection] = []
    for _ in range(CONNECTIONS):
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(source, began + seconds), host, int(port)
        )
        connections.append(connection)
    async with asyncio.timeout(seconds + PATIENCE):
        await asyncio.gather(*(connection.ended for connection in connections))
    took = time.perf_counter() - began
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    broken = sum(not connection.latencies for connection in connections)
    cut = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    refused = sum(connection.refused for connection in connections)
    return Load(len(latencies) / took, refused, broken, cut[49] * 1000, cut[98] * 1000)


def visit(url: str, requests: Sequence[bytes]) -> list[Answer]:
    """Send every request once, one after the other, on one connection: to warm caches, and to look at the answers."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    answers = []
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for request in requests:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            answers.append(
                Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            )
    return answers
