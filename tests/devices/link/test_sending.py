"""What a link sends: at once where the device reads, in order where it does not, and within bounds."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from devices.link import consumer
from devices.link.consumer import TOO_SLOW, LinkConsumer


class Server:
    """The server's side of a link. State: what was sent, and whether the device reads."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.error: Exception | None = None
        self.link = LinkConsumer(uuid4())
        self.link.base_send = self.send

    async def send(self, event: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        if event["type"] != "websocket.close":
            await self.reads.wait()
        self.sent.append(event)

    def texts(self) -> list[str]:
        return [event["text"] for event in self.sent if event["type"] == "websocket.send"]


async def test_a_frame_leaves_at_once_where_the_device_reads() -> None:
    server = Server()
    before = len(asyncio.all_tasks())
    server.link.post("1")
    server.link.post("2")
    assert server.texts() == ["1", "2"]
    assert len(asyncio.all_tasks()) == before


async def test_frames_wait_in_order_until_the_device_reads() -> None:
    server = Server()
    server.reads.clear()
    for number in range(4):
        server.link.post(str(number))
    await asyncio.sleep(0.01)
    assert server.texts() == []
    server.reads.set()
    await asyncio.sleep(0.01)
    assert server.texts() == ["0", "1", "2", "3"]
    server.link.post("4")
    assert server.texts()[-1] == "4"


async def test_too_many_waiting_frames_close_the_link() -> None:
    server = Server()
    server.reads.clear()
    for number in range(consumer.MOST_WAITING + 2):
        server.link.post(str(number))
    await asyncio.sleep(0.01)
    assert server.link.is_closed
    assert server.sent == [{"type": "websocket.close", "code": TOO_SLOW}]


async def test_a_device_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SEND_SECONDS", 0.05)
    server = Server()
    server.reads.clear()
    server.link.post("1")
    async with asyncio.timeout(10):
        while not server.sent:
            await asyncio.sleep(0.01)
    assert server.sent == [{"type": "websocket.close", "code": TOO_SLOW}]


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("after sending 'websocket.close'")])
async def test_a_link_that_the_server_has_ended_takes_frames_and_says_nothing(error: Exception) -> None:
    server = Server()
    server.error = error
    server.link.post("1")
    server.error = None
    server.reads.clear()
    server.link.post("2")
    server.error = error
    server.link.post("3")
    server.reads.set()
    await asyncio.sleep(0.01)
    assert server.texts() == ["2"]
    assert not server.link.is_closed


async def test_a_request_ends_with_its_answer_with_the_link_or_when_nobody_waits() -> None:
    server = Server()
    answered, cancelled, left = (server.link.request("ping", {}) for _ in range(3))
    identifier = json.loads(server.texts()[0])["id"]
    await server.link.dispatch(
        {"type": "websocket.receive", "text": json.dumps({"jsonrpc": "2.0", "id": identifier, "result": 7})}
    )
    assert (await answered).result == 7
    cancelled.cancel()
    await asyncio.sleep(0)
    await server.link.close(4000)
    with pytest.raises(ConnectionError):
        await left
    with pytest.raises(ConnectionError):
        server.link.request("ping", {})
    with pytest.raises(ConnectionError):
        await server.link.ask("ping", {}, seconds=1)
