"""The fleet in numbers, and the websocket that keeps a dashboard current."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from config_merge import consumers, live
from config_merge.consumers import viewer
from config_merge.figures import make_up, standing
from config_merge.models import Status
from config_merge.services import configs, reports
from controller.asgi import application
from core.clock import now
from devices.models import Device
from tenancy.models import Membership
from tests import factories

QUICK = 0.05


def at_work(count: int, organization: Any, **fields: Any) -> list[Device]:
    return [factories.configured(organization, **fields) for _ in range(count)]


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    live.answers.clear()


def test_numbers_are_of_the_organizations_asked_for_alone(db: None) -> None:
    ours, theirs = factories.organization(), factories.organization()
    mine = at_work(3, ours, model="Alpha 1", os="OpenWrt 23.05")
    at_work(2, theirs, model="Beta 2")
    Device.objects.filter(pk=mine[0].pk).update(last_seen=now())
    Device.objects.filter(pk=mine[1].pk).update(last_seen=now() - timedelta(hours=30))
    reports.take(reports.Report(factories.config_of(mine[0]).pk, mine[0].pk, "applied"))
    own = standing(frozenset({ours.pk}), at=now())
    assert (own.total, own.active, own.online, own.seen) == (3, 3, 1, (1, 0, 0, 1, 1))
    assert dict(own.statuses) == {Status.APPLIED: 1, Status.MODIFIED: 2}
    assert standing(None, at=now()).total == 5
    assert standing(frozenset(), at=now()).total == 0
    made = make_up(frozenset({ours.pk}), at=now(), total=3)
    assert [(share.label, share.count) for share in made.models] == [("Alpha 1", 3)]
    assert [(share.label, share.key, share.count) for share in made.groups] == [("No group", "", 3)]
    assert sum(hour.registered for hour in made.hours) == 3
    assert len(made.hours) == 24


def test_deactivated_devices_are_not_counted_as_seen(db: None) -> None:
    (device,) = at_work(1, factories.organization())
    Device.objects.update(last_seen=now())
    configs.device_deactivate(device)
    found = standing(None, at=now())
    assert (found.total, found.active, found.online, found.seen) == (1, 0, 0, (0, 0, 0, 0, 0))


def test_rare_models_are_summed_up(db: None) -> None:
    org = factories.organization()
    for number in range(9):
        at_work(1 if number else 3, org, model=f"model {number}")
    shares = make_up(None, at=now(), total=11).models
    assert [share.count for share in shares] == [3, 1, 1, 1, 1, 1, 3]
    assert (shares[-1].label, shares[-1].key) == ("Others", None)


def test_the_numbers_cost_seven_queries_however_many_devices(
    db: None, django_assert_num_queries: Any
) -> None:
    org = factories.organization()
    for expected in (1, 6):
        at_work(expected, org, model=f"m{expected}")
        with django_assert_num_queries(7):
            live.current_parts(frozenset({org.pk}), fresh=True)


def test_the_page_shows_own_numbers_with_links(db: None) -> None:
    ours, theirs = factories.organization(), factories.organization()
    at_work(2, ours, model="Alpha & 1")
    at_work(5, theirs, model="Secret 9")
    client = Client()
    client.force_login(factories.user(role="viewer", organization=ours, is_staff=True))
    text = client.get(reverse("admin:index")).content.decode()
    assert '<span class="mu-card__figure" data-figure="devices">2</span>' in text
    assert "model__exact=Alpha+%26+1" in text and "Secret 9" not in text
    listed = client.get(reverse("admin:devices_device_changelist") + "?model__exact=Alpha+%26+1")
    assert listed.context["cl"].result_count == 2


def test_an_answer_is_kept_longer_the_more_it_cost() -> None:
    time = [0.0]
    asked = []

    def ask() -> int:
        asked.append(time[0])
        time[0] += 1.0
        return len(asked)

    kept = live.Answers(most=2, clock=lambda: time[0])
    assert [kept.get("a", ask, seconds=2) for _ in range(3)] == [1, 1, 1]
    time[0] = 10.9
    assert kept.get("a", ask, seconds=2) == 1, "it took a second, so it rests for ten"
    time[0] = 11.1
    assert kept.get("a", ask, seconds=2) == 2
    kept.get("b", ask, seconds=2)
    kept.get("c", ask, seconds=2)
    assert kept.get("a", ask, seconds=2) == 5, "the oldest answer made room"


# --- over the websocket -----------------------------------------------------------------------------------------------


class Socket(ApplicationCommunicator):
    """A browser's end of the websocket."""

    async def connect(self) -> tuple[bool, int]:
        """Shake hands; returns whether that worked, and the code when it did not."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        return answer["type"] == "websocket.accept", answer.get("code", 0)

    async def say(self, text: str) -> None:
        await self.send_input({"type": "websocket.receive", "text": text})

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.wait(5)


async def opened(client: Client | None, *, origin: bytes = b"http://localhost") -> tuple[Socket, bool, int]:
    cookie = client.cookies["sessionid"].value if client else ""
    scope = {
        "type": "websocket",
        "path": live.LIVE_PATH,
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"origin", origin),
            (b"cookie", f"sessionid={cookie}".encode()),
        ],
        "client": ("127.0.0.1", 4711),
        "subprotocols": [],
    }
    socket = Socket(application, scope)
    accepted, code = await socket.connect()
    return socket, accepted, code


@pytest.fixture
async def at_once(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Ask every 50 ms instead of every two seconds, and end every poller."""
    monkeypatch.setattr(consumers, "EVERY_SECONDS", QUICK)
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 2 * QUICK)
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(live, "REST", 0)
    yield
    assert not consumers.watches._watches and not consumers.watches._people


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


async def told(socket: Any) -> dict[str, str]:
    parts: dict[str, str] = json.loads((await socket.receive_output(5))["text"])["parts"]
    return parts


async def test_it_sends_a_snapshot_and_then_what_changed(at_once: None) -> None:
    org = await sync_to_async(factories.organization)()
    (device,) = await sync_to_async(at_work)(1, org)
    await sync_to_async(at_work)(4, await sync_to_async(factories.organization)())
    user = await sync_to_async(factories.user)(role="viewer", organization=org, is_staff=True)
    socket, accepted, _ = await opened(await sync_to_async(signed_in)(user))
    assert accepted
    snapshot = await told(socket)
    assert set(snapshot) == {"cards", "status", "seen", "models", "systems", "groups", "activity"}
    assert 'data-figure="devices">1<' in snapshot["cards"]
    assert await socket.receive_nothing(timeout=4 * QUICK), "nothing changed, so nothing is sent"
    config = await sync_to_async(factories.config_of)(device)
    await sync_to_async(reports.take)(reports.Report(config.pk, device.pk, "applied"))
    changed = await told(socket)
    assert set(changed) == {"status"} and "1 Applied" in changed["status"]
    await socket.disconnect()


@pytest.mark.parametrize("kind", ["anonymous", "no staff", "inactive", "foreign origin"])
async def test_others_are_refused_at_the_handshake(at_once: None, kind: str) -> None:
    user = await sync_to_async(factories.user)(
        role="owner", organization=await sync_to_async(factories.organization)(), is_staff=kind != "no staff"
    )
    client = await sync_to_async(signed_in)(user)
    if kind == "inactive":
        user.is_active = False
        await sync_to_async(user.save)()
    origin = b"http://evil.example" if kind == "foreign origin" else b"http://localhost"
    socket, accepted, _ = await opened(None if kind == "anonymous" else client, origin=origin)
    assert not accepted
    await socket.disconnect()


async def test_who_leaves_an_organization_sees_it_no_more(at_once: None) -> None:
    first, second = [await sync_to_async(factories.organization)() for _ in range(2)]
    await sync_to_async(at_work)(2, first)
    await sync_to_async(at_work)(3, second)
    user = await sync_to_async(factories.user)(role="viewer", organization=first, is_staff=True)
    await sync_to_async(Membership.objects.create)(user=user, organization=second, role="viewer")
    socket, _, _ = await opened(await sync_to_async(signed_in)(user))
    assert 'data-figure="devices">5<' in (await told(socket))["cards"]
    await sync_to_async(Membership.objects.filter(user=user, organization=second).delete)()
    assert 'data-figure="devices">2<' in (await told(socket))["cards"]
    await socket.disconnect()


async def test_who_is_signed_out_is_cut_off(at_once: None) -> None:
    user = await sync_to_async(factories.superuser)()
    socket, _, _ = await opened(await sync_to_async(signed_in)(user))
    await told(socket)
    await sync_to_async(Session.objects.all().delete)()
    closed = await socket.receive_output(5)
    assert (closed["type"], closed["code"]) == ("websocket.close", consumers.REFUSED)
    await socket.disconnect()


async def test_sockets_of_the_same_organizations_share_a_poller_and_are_limited(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MOST_OF_ONE_PERSON", 2)
    client = await sync_to_async(signed_in)(await sync_to_async(factories.superuser)())
    other = await sync_to_async(signed_in)(await sync_to_async(factories.superuser)())
    sockets = [(await opened(each))[0] for each in (client, client, other)]
    for socket in sockets:
        await told(socket)
    assert len(consumers.watches._watches) == 1
    refused, accepted, code = await opened(client)
    assert not accepted and code == consumers.TOO_MANY
    await refused.disconnect()
    for socket in sockets:
        await socket.disconnect()


async def test_a_long_frame_closes_the_socket_and_a_short_one_is_ignored(at_once: None) -> None:
    client = await sync_to_async(signed_in)(await sync_to_async(factories.superuser)())
    socket, _, _ = await opened(client)
    await told(socket)
    await socket.say("\x00 hello {")
    assert await socket.receive_nothing(timeout=2 * QUICK)
    await socket.say("x" * 2000)
    assert (await socket.receive_output(5))["code"] == consumers.TOO_BIG
    await socket.disconnect()


async def test_a_slow_reader_keeps_only_the_newest_and_is_dropped(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", QUICK)
    consumer = consumers.DashboardConsumer()
    consumer.pending, consumer.news = {}, asyncio.Event()
    sent: list[Any] = []

    async def stuck(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "websocket.send":
            await asyncio.sleep(60)

    consumer.base_send = stuck
    consumer.offer({"cards": "old"})
    consumer.offer({"cards": "new"})
    assert consumer.pending == {"cards": "new"}
    assert await consumer._send_pending() is False
    assert sent[-1] == {"type": "websocket.close", "code": consumers.TOO_SLOW}


def test_a_session_that_does_not_exist_shows_nothing(db: None) -> None:
    assert viewer(None) is None
    assert viewer("nothing-like-it") is None
