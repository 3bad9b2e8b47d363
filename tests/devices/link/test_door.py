"""Who may open a link, and what breaks one."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import Client

from config_merge.services import configs
from devices.link import consumer, door, presence
from devices.link.registry import registry
from devices.models import Device, Link
from tests import factories
from tests.config_merge.delivery.conftest import Line, later, line_of

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def a_device() -> Device:
    return factories.configured(factories.organization())


async def refusal(line: Line) -> tuple[int, bytes]:
    """Return how a handshake is refused: the status of HTTP, and the words."""
    start = await line.open()
    assert start["type"] == "websocket.http.response.start", start
    body = await line.event()
    return start["status"], body["body"]


async def test_a_wrong_key_is_403_and_an_unknown_device_404(dial: Any) -> None:
    device, other = await a_device(), await a_device()
    for key in ("wrong", "", other.key):
        assert (await refusal(line_of(device, key=key)))[0] == 403
    path = "/ws/device/" + "0" * 32 + "/"
    assert await refusal(line_of(device, path=path)) == (404, b"there is no such device\n")
    await sync_to_async(lambda: type(device.organization).objects.update(is_active=False))()
    assert (await refusal(line_of(device)))[0] == 404


async def test_a_device_out_of_service_is_404(dial: Any) -> None:
    device = await a_device()
    await sync_to_async(configs.device_deactivate)(device)
    config = await sync_to_async(factories.config_of)(device)
    await sync_to_async(type(config).objects.update)(status="deactivated")
    assert (await refusal(line_of(device)))[0] == 404


@pytest.mark.parametrize("path", ["/ws/device/", "/ws/device/x/", "/ws/device/{}/more/", "/ws/device/{}x"])
async def test_other_paths_lead_nowhere(dial: Any, path: str) -> None:
    device = await a_device()
    event = await line_of(device, path=path.format(device.pk)).open()
    assert event == {"type": "websocket.close", "code": 4404}


async def test_the_id_may_be_without_dashes_and_the_slash_is_optional(dial: Any) -> None:
    device = await a_device()
    for path in (
        f"/ws/device/{device.pk.hex}",
        f"/ws/device/{device.pk.hex.upper()}/",
        f"/ws/device/{device.pk}",
    ):
        assert (await line_of(device, path=path).open())["type"] == "websocket.accept"


async def test_servers_without_denial_responses_close(dial: Any) -> None:
    device = await a_device()
    line = line_of(device, key="wrong")
    line.communicator.scope["extensions"] = {}
    assert await line.open() == {"type": "websocket.close", "code": 4403}


async def test_a_database_that_is_away_is_503(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await a_device()

    async def away(_device_id: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(registry, "row", away)
    assert (await refusal(line_of(device)))[0] == 503


async def test_a_ticket_opens_one_link(dial: Any) -> None:
    device = await a_device()

    @sync_to_async
    def ticket(key: str) -> Any:
        return Client().post(f"/controller/link-ticket/{device.pk}/", {"key": key})

    assert (await ticket("wrong")).status_code == 403
    answered = await ticket(device.key)
    lines = dict(line.split(": ") for line in answered.content.decode().splitlines())
    assert (answered.status_code, lines["expires-in"]) == (200, "30")
    assert answered.headers["Cache-Control"] == "no-store"
    query = b"ticket=" + lines["ticket"].encode()
    other = await a_device()
    assert (await refusal(line_of(other, key="", query=query)))[0] == 403
    assert (await line_of(device, key="", query=query).open())["type"] == "websocket.accept"
    assert (await refusal(line_of(device, key="", query=query)))[0] == 403
    for wrong in (b"ticket=", b"ticket=x:y:z", b"a=1&" * 20, b"ticket=%ff"):
        assert (await refusal(line_of(device, key="", query=wrong)))[0] == 403


def test_tickets_end_with_time_and_with_the_key(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    device = factories.configured(factories.organization())
    ticket = door.ticket_new(device.pk, device.key_digest)
    assert not door.ticket_fits(ticket, device.pk, "0" * 64)
    monkeypatch.setattr(door, "TICKET_SECONDS", -1)
    assert not door.ticket_fits(ticket, device.pk, device.key_digest)


async def closing(line: Line, seconds: float = 5) -> int:
    """Return the code the controller closes a link with."""
    while (event := await line.event(seconds))["type"] != "websocket.close":
        pass
    return int(event["code"])


async def test_hello_comes_first_and_in_time(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "HELLO_SECONDS", 0.3)
    line: Line = await dial(await a_device(), greet=False)
    assert (await line.ask("ping"))["error"]["code"] == -32600
    assert await closing(line) == 4001


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"protocol": 2}, -32001), ({"protocol": True}, -32001), ({"protocol": "1"}, -32001),
        ({"agent": "x" * 65}, -32602), ({"agent": 1}, -32602), ({"boot_id": "\n"}, -32602),
        ({"capabilities": "x"}, -32602), ({"capabilities": ["x"] * 65}, -32602), ({"applied": "xyz"}, -32602),
        ({"busy": 1}, -32602), ({"busy": {"task": "x"}}, -32602), ({"actual": "ab"}, -32602),
    ],
)  # fmt: skip
async def test_a_hello_that_is_wrong_is_refused_and_may_be_said_again(
    dial: Any, params: dict[str, Any], code: int
) -> None:
    line: Line = await dial(await a_device(), greet=False)
    refused = await line.hello(**params)
    assert refused["error"]["code"] == code
    if code == -32001:
        assert refused["error"]["data"] == {"supported": [1]}
    assert "result" in await line.hello()
    assert (await line.hello())["error"]["code"] == -32600


async def test_what_is_no_json_rpc_closes_the_link_in_the_end(dial: Any) -> None:
    line: Line = await dial(await a_device())
    for number in range(9):
        await line.say("nonsense" if number % 2 else "[]")
        while (frame := await line.frame()).get("method"):
            pass
        assert frame["error"]["code"] == (-32700 if number % 2 else -32600)
    await line.communicator.send_input({"type": "websocket.receive", "bytes": b"x"})
    assert await closing(line) == 4002


async def test_frames_are_bounded_in_size_and_rate(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line: Line = await dial(await a_device())
    await line.say("x" * 262_145)
    assert await closing(line) == 1009
    wide: Line = await dial(await a_device())
    await wide.say("é" * 131_073)
    assert await closing(wide) == 1009
    eager: Line = await dial(await a_device())
    monkeypatch.setattr(consumer, "FLOOD_FRAMES", 20)
    for number in range(21):
        await eager.say({"jsonrpc": "2.0", "id": number, "method": "ping"})
    assert await closing(eager) == 4029


async def test_who_does_not_read_is_dropped(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SEND_SECONDS", 0.3)
    device = await a_device()
    stuck = asyncio.Event()

    def clog() -> consumer.LinkConsumer:
        link = registry.links[device.pk]
        sent = link.base_send

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send":
                await stuck.wait()
            await sent(message)

        link.base_send = send
        return link

    line: Line = await dial(device)
    clog().post("{}")
    assert await closing(line) == 4008
    second: Line = await dial(device)
    link = clog()
    monkeypatch.setattr(consumer, "SEND_SECONDS", 30)
    for _ in range(consumer.MOST_WAITING + 2):
        link.post("{}")
    stuck.set()
    assert await closing(second) == 4008


async def test_a_newer_link_closes_the_older(dial: Any) -> None:
    device = await a_device()
    old: Line = await dial(device)
    new: Line = await dial(device)
    assert await closing(old) == 4000
    assert "result" in await new.ask("ping")
    await asyncio.sleep(0.2)
    assert await sync_to_async(Link.objects.filter(device=device).count)() == 1
    await new.hang_up()
    await later(lambda: not Link.objects.exists())
    seen = await sync_to_async(Device.objects.get)(pk=device.pk)
    assert seen.unlinked_at is not None and seen.last_seen == seen.unlinked_at


async def test_many_at_once_leave_one(dial: Any) -> None:
    device = await a_device()
    lines = [line_of(device) for _ in range(8)]
    for line in lines:
        assert (await line.open())["type"] == "websocket.accept"
    hello = {"protocol": 1, "capabilities": []}
    for line in lines:
        await line.say({"jsonrpc": "2.0", "id": 1, "method": "hello", "params": hello})
    await asyncio.sleep(1)
    assert await sync_to_async(Link.objects.count)() == 1
    epoch = (await sync_to_async(Link.objects.get)()).epoch
    assert registry.links[device.pk].epoch == epoch
    alive = 0
    for line in lines:
        codes = []
        while not await line.communicator.receive_nothing(0.05):
            event = await line.event()
            if event["type"] == "websocket.close":
                codes.append(event["code"])
        assert codes in ([], [4000])
        alive += not codes
    assert alive == 1


async def test_silence_closes_a_link(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.link.registry.VERDICT_SECONDS", 0.1)
    monkeypatch.setattr("devices.link.registry.HEARTBEAT", 0.2)
    line: Line = await dial(await a_device())
    assert await closing(line) == 4010


async def test_a_link_that_the_database_gave_away_is_closed(
    dial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.link.registry.VERDICT_SECONDS", 0.1)
    device = await a_device()
    line: Line = await dial(device)
    await sync_to_async(Link.objects.filter(device=device).update)(epoch=device.pk)
    assert await closing(line) == 4000


async def test_a_process_that_was_given_up_writes_its_links_again(
    dial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause longer than others wait: everything the database knew of it is gone."""
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr("devices.link.registry.VERDICT_SECONDS", 3)
    device = await a_device()
    line: Line = await dial(device)
    await sync_to_async(presence.server_close)(registry.server_id)
    assert not await sync_to_async(Link.objects.exists)()
    await later(lambda: Link.objects.filter(device=device, server_id=registry.server_id).exists())
    assert "result" in await line.ask("ping")


async def test_the_end_of_the_server_is_told_and_written_down(dial: Any) -> None:
    device = await a_device()
    line: Line = await dial(device)
    await registry.stop()
    assert await closing(line) == 1012
    assert not await sync_to_async(Link.objects.exists)()
