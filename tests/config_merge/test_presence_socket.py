"""The socket of pages that show devices: what changes, for who may see it, with one poll for all."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge import consumers, live_devices, presence_socket
from config_merge.delivery import again, queue
from config_merge.live_devices import KINDS
from config_merge.models import ConfigTask
from config_merge.presence_socket import MOST_SHOWN, board
from controller.asgi import application
from core.clock import now
from devices.models import Device, Link, LinkServer
from tenancy.models import Membership
from tests import factories
from tests.config_merge.test_dashboard import Socket, signed_in, told

QUICK = 0.05


async def opened(client: Any) -> tuple[Socket, bool, int]:
    cookie = client.cookies["sessionid"].value if client else ""
    headers = [
        (b"host", b"localhost"),
        (b"origin", b"http://localhost"),
        (b"cookie", f"sessionid={cookie}".encode()),
    ]
    scope = {
        "type": "websocket", "path": live_devices.LIVE_PATH, "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 4711), "subprotocols": [],
    }  # fmt: skip
    socket = Socket(application, scope)
    accepted, code = await socket.connect()
    return socket, accepted, code


@pytest.fixture
async def at_once(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Ask every 50 ms instead of every second, and see the poller end."""
    monkeypatch.setattr(presence_socket, "EVERY_SECONDS", QUICK)
    monkeypatch.setattr(presence_socket, "REST", 0)
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 2 * QUICK)
    yield
    assert not board.sockets and not board.people and board.task is None


async def names(socket: Socket, *devices: Device, tasks: Any = (), kinds: Any = ("seen",)) -> None:
    ids = [str(each.pk) for each in devices]
    said = {"devices": ids, "tasks": [str(each.pk) for each in tasks], "kinds": list(kinds)}
    await socket.say(json.dumps(said))


def link(device: Device) -> None:
    at = now()
    server = LinkServer.objects.create(started_at=at, beat_at=at)
    Link.objects.create(device=device, server=server, epoch=uuid.uuid4(), key_digest="", opened_at=at)


async def viewer_of(org: Any) -> Any:
    return await sync_to_async(factories.user)(role="viewer", organization=org, is_staff=True)


async def test_a_page_is_told_what_changes_of_what_it_shows(at_once: None) -> None:
    org = await sync_to_async(factories.organization)()
    device, other = [await sync_to_async(factories.configured)(org) for _ in range(2)]
    socket, accepted, _ = await opened(await sync_to_async(signed_in)(await viewer_of(org)))
    assert accepted
    assert await socket.receive_nothing(timeout=2 * QUICK), "a page that names nothing is told nothing"
    await names(socket, device, kinds=KINDS)
    first = await told(socket)
    assert set(first) == {f"{kind}:{device.pk}" for kind in KINDS}
    assert "never" in first[f"seen:{device.pk}"]
    assert ">1</a>" in first[f"revision:{device.pk}"] and "unknown" in first[f"drift:{device.pk}"]
    await sync_to_async(link)(device)
    await sync_to_async(link)(other)
    changed = await told(socket)
    assert set(changed) == {f"seen:{device.pk}"} and "mu-dot--on" in changed[f"seen:{device.pk}"]
    await sync_to_async(Link.objects.all().delete)()
    assert "mu-dot--on" not in (await told(socket))[f"seen:{device.pk}"]
    await socket.disconnect()


async def test_states_of_tasks_ride_along(at_once: None) -> None:
    org = await sync_to_async(factories.organization)()
    device = await sync_to_async(factories.configured)(org)
    task = await sync_to_async(again.push_again)(device)
    socket, _, _ = await opened(await sync_to_async(signed_in)(await viewer_of(org)))
    await names(socket, device, tasks=[task], kinds=("mark",))
    first = await told(socket)
    assert "Waiting" in first[f"state:{task.pk}"] and "pending" in first[f"mark:{device.pk}"]
    await sync_to_async(queue.cancel)(task)
    changed = await told(socket)
    assert "Cancelled" in changed[f"state:{task.pk}"] and "cancelled" in changed[f"mark:{device.pk}"]
    await socket.disconnect()


async def test_foreign_devices_and_tasks_are_never_told(at_once: None) -> None:
    ours, theirs = [await sync_to_async(factories.organization)() for _ in range(2)]
    mine, foreign = [await sync_to_async(factories.configured)(org) for org in (ours, theirs)]
    task = await sync_to_async(again.push_again)(foreign)
    user = await viewer_of(ours)
    await sync_to_async(Membership.objects.create)(user=user, organization=theirs, role="viewer")
    socket, _, _ = await opened(await sync_to_async(signed_in)(user))
    await names(socket, mine, foreign, tasks=[task])
    assert len(await told(socket)) == 3
    await sync_to_async(Membership.objects.filter(organization=theirs).delete)()
    await asyncio.sleep(6 * QUICK)
    await sync_to_async(link)(foreign)
    await sync_to_async(queue.cancel)(task)
    assert await socket.receive_nothing(timeout=6 * QUICK), "who left the organization sees it no more"
    await names(socket, foreign, tasks=[task])
    assert await socket.receive_nothing(timeout=6 * QUICK)
    await names(socket, mine)
    assert set(await told(socket)) == {f"seen:{mine.pk}"}
    await socket.disconnect()


async def test_a_device_that_moves_away_is_told_no_more(at_once: None) -> None:
    ours, theirs = [await sync_to_async(factories.organization)() for _ in range(2)]
    device = await sync_to_async(factories.configured)(ours)
    socket, _, _ = await opened(await sync_to_async(signed_in)(await viewer_of(ours)))
    await names(socket, device)
    await told(socket)
    await sync_to_async(Device.objects.filter(pk=device.pk).update)(organization=theirs)
    await sync_to_async(link)(device)
    assert await socket.receive_nothing(timeout=6 * QUICK)
    await socket.disconnect()


@pytest.mark.parametrize("kind", ["anonymous", "no staff"])
async def test_others_are_refused_at_the_handshake(at_once: None, kind: str) -> None:
    org = await sync_to_async(factories.organization)()
    user = await sync_to_async(factories.user)(role="owner", organization=org)
    client = await sync_to_async(signed_in)(user)
    socket, accepted, _ = await opened(None if kind == "anonymous" else client)
    assert not accepted
    await socket.disconnect()


async def test_who_is_signed_out_is_cut_off(at_once: None) -> None:
    socket, _, _ = await opened(await sync_to_async(signed_in)(await sync_to_async(factories.superuser)()))
    await sync_to_async(Session.objects.all().delete)()
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", consumers.REFUSED)
    await socket.disconnect()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", presence_socket.NOT_UNDERSTOOD),
        ("{", presence_socket.NOT_UNDERSTOOD),
        ('{"devices": ["x"]}', presence_socket.NOT_UNDERSTOOD),
        ('{"devices": [1]}', presence_socket.NOT_UNDERSTOOD),
        (json.dumps({"devices": [uuid.UUID(int=1).hex] * (MOST_SHOWN + 1)}), presence_socket.NOT_UNDERSTOOD),
        ("x" * 20_001, consumers.TOO_BIG),
    ],
)  # fmt: skip
async def test_what_no_page_of_ours_says_closes_the_socket(at_once: None, text: str, code: int) -> None:
    socket, _, _ = await opened(await sync_to_async(signed_in)(await sync_to_async(factories.superuser)()))
    await socket.say(text)
    assert (await socket.receive_output(5))["code"] == code
    await socket.disconnect()


async def test_who_asks_too_often_or_for_too_much_is_sent_away(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_socket, "MOST_WATCHED", 1)
    org = await sync_to_async(factories.organization)()
    devices = [await sync_to_async(factories.device)(org) for _ in range(2)]
    client = await sync_to_async(signed_in)(await sync_to_async(factories.superuser)())
    socket, _, _ = await opened(client)
    await names(socket, devices[0])
    await told(socket)
    other, _, _ = await opened(client)
    await names(other, devices[1])
    assert (await other.receive_output(5))["code"] == consumers.TOO_MANY
    for _ in range(presence_socket.MOST_ASKED):
        await names(socket)
    assert (await socket.receive_output(5))["code"] == consumers.TOO_MANY
    await socket.disconnect()
    await other.disconnect()


async def test_many_sockets_share_one_poll(at_once: None) -> None:
    org = await sync_to_async(factories.organization)()
    device = await sync_to_async(factories.configured)(org)
    client = await sync_to_async(signed_in)(await viewer_of(org))
    sockets = [(await opened(client))[0] for _ in range(4)]
    for socket in sockets:
        await names(socket, device)
        await told(socket)
    assert len(board.sockets) == 4 and board.task is not None
    for socket in sockets:
        await socket.disconnect()


def test_a_round_is_two_queries_whatever_is_shown(db: None) -> None:
    org = factories.organization()
    for _ in range(3):
        again.push_again(factories.configured(org))
    devices = set(Device.objects.values_list("pk", flat=True))
    tasks = set(ConfigTask.objects.values_list("pk", flat=True))
    with CaptureQueriesContext(connection) as caught:
        found = live_devices.current(devices, tasks)
    assert len(caught) == 2, [query["sql"] for query in caught]
    assert (len(found.devices), len(found.tasks)) == (3, len(tasks))
