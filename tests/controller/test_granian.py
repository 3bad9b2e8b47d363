"""Websockets under granian, which sends no close of its own accord while the application waits for an event."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from controller.sockets import closing
from tests.controller.processes import ROOT, Up, free_port, plain_environment, running_up

pytestmark = [pytest.mark.slow, pytest.mark.standalone]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Up]:
    """granian's ASGI worker on the data that `manage.py up` has made."""
    data = tmp_path / "data"
    with running_up(data) as up:
        assert up.stop() == 0
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port)]
    log = data.parent / "granian.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "controller.asgi:application"],
            cwd=ROOT,
            env=plain_environment(MUSTER_DATA_DIR=str(data)),
            stdout=stream,
            stderr=stream,
        )
    up = Up(process, f"http://127.0.0.1:{port}", log)
    try:
        up.wait_until(lambda: _answers(up.url))
        yield up
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def provisioned(data: Path) -> Any:
    command = [sys.executable, "manage.py", "provision", "--organization", "demo", "--json"]
    environment = plain_environment(MUSTER_DATA_DIR=str(data))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def closed_with(socket: ClientConnection, *, seconds: float) -> int | None:
    """Return the code that a socket is closed with while nothing is said; None when it stays open."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                socket.recv(timeout=left)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code
    return None


def test_a_newer_link_closes_the_older_and_is_welcomed_at_once(served: Up) -> None:
    secret = provisioned(served.log.parent / "data")["organization"]["shared_secret"]
    fields = {"secret": secret, "name": "ap", "mac_address": "02:00:00:00:00:01"}
    fields["backend"] = "netjsonconfig.OpenWrt"
    told = httpx.post(f"{served.url}/controller/register/", data=fields).text
    answer = dict(line.split(": ", 1) for line in told.splitlines())
    address = f"{served.url.replace('http', 'ws')}/ws/device/{answer['uuid']}/"
    headers = {"X-Device-Key": answer["key"]}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 1}}
    with (
        connect(address, additional_headers=headers) as older,
        connect(address, additional_headers=headers) as newer,
    ):
        for socket in (older, newer):
            socket.send(json.dumps(hello))
            assert json.loads(socket.recv(timeout=5))["result"]["protocol"] == 1
        assert closed_with(older, seconds=5) == 4000
        assert closed_with(newer, seconds=0.5) is None


async def test_closing_does_not_wait_for_a_page_that_says_nothing() -> None:
    said: list[Any] = []
    free = asyncio.Lock()

    async def receive() -> dict[str, Any]:
        async with free:
            await asyncio.sleep(60)
        raise AssertionError("the page says nothing")

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            # As granian does.
            async with free:
                said.append(message)

    received, sent = closing(receive, send)
    waiting = asyncio.create_task(received())
    await asyncio.sleep(0)
    await asyncio.wait_for(sent({"type": "websocket.close", "code": 4403}), 5)
    assert said == [{"type": "websocket.close", "code": 4403}]
    assert await waiting == {"type": "websocket.disconnect", "code": 4403}
    assert await received() == {"type": "websocket.disconnect", "code": 4403}


async def test_who_stops_waiting_is_not_told_of_a_close() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError("the page says nothing")

    async def send(message: Any) -> None:
        raise AssertionError("nothing is sent")

    received, _ = closing(receive, send)
    waiting = asyncio.create_task(received())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
