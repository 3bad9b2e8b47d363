"""A device at its link: what it is told, what it says, and what becomes of that (docs/link-protocol.md)."""

import asyncio
import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client, override_settings

from config_merge.admin.shown import unpacked
from config_merge.delivery import again
from config_merge.delivery.states import State
from config_merge.engine import measure
from config_merge.models import Config, ConfigTask, Drift, Site, SiteDevice, Status
from config_merge.services import configs, recompute, reports, sites
from controller.env import Environment
from core import metrics
from core.clock import now
from devices import services as inventory
from devices.link.registry import registry
from devices.models import Device, Link
from tenancy.models import Notification, Organization
from tests import factories
from tests.config_merge.delivery.conftest import Line, config_of, later, line_of, placed, set_site, tasks_of

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def made() -> tuple[Site, SiteDevice]:
    site = sites.site_create(organization=factories.organization(), name="Vilnius")
    set_site(site, "1")
    (place,) = placed(site)
    return site, place


@sync_to_async
def edited(site: Site, value: str) -> None:
    set_site(site, value)


def state(number: int, place: SiteDevice) -> str | None:
    return dict(tasks_of(place)).get(number)


async def test_a_change_reaches_the_device_and_its_word_ends_the_task(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    params = asked["params"]
    assert asked["method"] == "config.apply"
    archive = base64.b64decode(params["archive"])
    assert hashlib.md5(archive).hexdigest() == params["checksum"]
    assert hashlib.sha256(archive).hexdigest() == params["sha256"]
    assert params["url"] == f"/controller/download-config/{place.device_id}/"
    assert (params["revision"], params["attempt"], params["confirm_within"]) == (1, 1, 120)
    assert "force" not in params
    await line.answer(asked, {"state": "running"})
    await later(lambda: state(1, place) == State.RUNNING)
    told = {"task": params["task"], "attempt": 1, "step": "written", "message": "2 files"}
    await line.say({"jsonrpc": "2.0", "method": "task.progress", "params": told})
    answer = await line.report(asked)
    assert answer["result"] == {"status": "applied", "wanted": params["checksum"]}
    task = await sync_to_async(ConfigTask.objects.get)()
    assert (task.state, task.attempt, task.error) == (State.APPLIED, 1, "")
    assert [step[1:] for step in task.log] == [["accepted", ""], ["written", "2 files"]]
    assert task.sent_at <= task.started_at <= task.finished_at
    config = await sync_to_async(config_of)(place)
    assert (config.status, config.applied_checksum) == (Status.APPLIED, params["checksum"])


async def test_hello_tells_what_is_wanted_and_believes_what_is_there(dial: Any) -> None:
    """A report that got lost is healed by the next hello."""
    _, place = await made()
    checksum = (await sync_to_async(config_of)(place)).checksum
    line: Line = line_of(place.device)
    assert (await line.open())["type"] == "websocket.accept"
    answer = await line.hello(applied=checksum)
    assert answer["result"]["wanted"] == checksum
    assert (answer["result"]["protocol"], answer["result"]["heartbeat"]) == (1, 30)
    assert await sync_to_async(tasks_of)(place) == [(1, State.APPLIED)]
    assert (await sync_to_async(config_of)(place)).status == Status.APPLIED
    link = await sync_to_async(Link.objects.get)()
    assert str(link.epoch) == answer["result"]["link"]
    assert (link.agent, link.boot_id, link.address) == ("test/1", "b", "127.0.0.1")
    await line.hang_up()
    await later(lambda: not Link.objects.exists())


async def test_a_device_that_lost_everything_gets_it_again(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    await line.report(asked)
    await line.hang_up()
    again: Line = await dial(place.device, applied="")
    repeated = await again.asked()
    assert repeated["params"]["checksum"] == asked["params"]["checksum"]
    assert repeated["params"]["task"] != asked["params"]["task"]


async def test_a_device_with_something_else_is_corrected(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    await line.report(await line.asked())
    await line.hang_up()
    again: Line = await dial(place.device, applied="f" * 32)
    asked = await again.asked()
    config = await sync_to_async(config_of)(place)
    assert asked["params"]["checksum"] == config.checksum
    assert (config.status, config.applied_checksum) == (Status.MODIFIED, "f" * 32)


@pytest.mark.parametrize("how", ["failed", "rolled_back"])
async def test_what_a_device_put_back_is_an_error_and_is_not_sent_again_by_itself(
    dial: Any, how: str
) -> None:
    site, place = await made()
    line: Line = await dial(place.device)
    first = await line.asked()
    await line.report(first)
    await edited(site, "2")
    registry.look()
    second = await line.asked()
    answer = await line.report(second, how, reason="no contact within 120 s")
    assert answer["result"]["status"] == "error"
    assert await sync_to_async(tasks_of)(place) == [(1, State.APPLIED), (2, how)]
    config = await sync_to_async(config_of)(place)
    assert (config.status, config.error_reason) == (Status.ERROR, "no contact within 120 s")
    assert config.applied_checksum == first["params"]["checksum"]
    assert await sync_to_async(Notification.objects.filter(kind="config_error").count)() == 1
    # It comes back with what it had before: nothing happens until there is something else, or a person says so.
    await line.hang_up()
    again: Line = await dial(place.device, applied=first["params"]["checksum"])
    assert await again.is_left_alone(1.5)
    await edited(site, "3")
    registry.look()
    asked = await again.asked()
    assert asked["params"]["revision"] == 3
    await again.report(asked)
    assert (await sync_to_async(config_of)(place)).status == Status.APPLIED


async def test_a_person_can_have_it_pushed_again(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    await line.report(asked)
    await sync_to_async(again.push_again)(place.device)
    registry.look()
    forced = await line.asked()
    assert forced["params"]["force"] is True
    assert forced["params"]["checksum"] != asked["params"]["checksum"]
    assert forced["params"]["revision"] == 2
    await line.report(forced)
    assert [state for _, state in await sync_to_async(tasks_of)(place)] == [State.APPLIED, State.APPLIED]


async def test_a_burst_of_changes_is_one_push_of_the_last(dial: Any) -> None:
    site, place = await made()
    environment = Environment.from_mapping({"MUSTER_COALESCE_SECONDS": "600"})
    with override_settings(MUSTER=environment):
        line: Line = await dial(place.device)
        await line.report(await line.asked())
        for value in "23456":
            await edited(site, value)
        # Ten minutes pass, but for a moment: how long five edits take depends on the machine.
        pending = ConfigTask.objects.filter(state=State.PENDING)
        sent, due = await sync_to_async(
            lambda: (ConfigTask.objects.get(number=1).sent_at, pending.get().due_at)
        )()
        assert due - sent == timedelta(minutes=10)
        await sync_to_async(pending.update)(due_at=now() + timedelta(seconds=0.3))
        registry.look()
        asked = await line.asked()
        await line.report(asked)
    assert asked["params"]["revision"] == 6
    expected = [(1, State.APPLIED), *((n, State.SUPERSEDED) for n in (2, 3, 4, 5)), (6, State.APPLIED)]
    assert await sync_to_async(tasks_of)(place) == expected


async def test_the_next_waits_until_the_device_is_done(dial: Any) -> None:
    site, place = await made()
    with override_settings(MUSTER=Environment.from_mapping({"MUSTER_COALESCE_SECONDS": "0"})):
        line: Line = await dial(place.device)
        first = await line.asked()
        await line.answer(first, {"state": "running"})
        await later(lambda: state(1, place) == State.RUNNING)
        await edited(site, "2")
        registry.look()
        assert await line.is_left_alone(1.3)
        # It says what it has; that is no longer what it should have.
        answer = await line.report(first)
        assert answer["result"]["status"] == "modified"
        second = await line.asked()
        assert second["params"]["revision"] == 2
        await line.report(second)
    assert await sync_to_async(tasks_of)(place) == [(1, State.APPLIED), (2, State.APPLIED)]


async def test_busy_and_unable_devices_are_asked_again_later(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    await line.refuse(await line.asked(), -32010, "busy")
    task = await later(lambda: ConfigTask.objects.filter(state=State.PENDING, attempt=1).first())
    assert 3 < (task.due_at - task.sent_at).total_seconds() < 8
    await sync_to_async(ConfigTask.objects.update)(due_at=task.created)
    registry.look()
    asked = await line.asked()
    assert asked["params"]["attempt"] == 2
    await line.answer(asked, {"state": "applied"})
    await later(lambda: state(1, place) == State.APPLIED)


async def test_a_device_may_have_refused_it_before(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    await line.answer(await line.asked(), {"state": "failed", "reason": "no such radio"})
    await later(lambda: state(1, place) == State.FAILED)
    assert (await sync_to_async(config_of)(place)).error_reason == "no such radio"


async def test_devices_that_do_not_take_configurations_by_link_poll(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device, capabilities=["config.read"])
    assert await line.is_left_alone(1.3)
    assert await sync_to_async(state)(1, place) == State.PENDING


async def test_without_the_capability_the_archive_is_downloaded(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device, capabilities=["config.apply"])
    assert "archive" not in (await line.asked())["params"]


async def test_what_was_sent_over_a_lost_link_goes_out_at_once_when_it_is_back(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    await line.asked()
    await line.hang_up()
    await later(lambda: state(1, place) == State.PENDING)
    again: Line = await dial(place.device)
    asked = await again.asked()
    assert asked["params"]["attempt"] == 2
    await again.report(asked)


async def test_a_device_that_is_busy_with_it_is_left_alone(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    await line.answer(asked, {"state": "running"})
    await later(lambda: state(1, place) == State.RUNNING)
    await line.hang_up()
    busy = {"task": asked["params"]["task"], "attempt": 1}
    again: Line = await dial(place.device, busy=busy)
    assert await again.is_left_alone(1.3)
    await again.report(asked)
    assert await sync_to_async(tasks_of)(place) == [(1, State.APPLIED)]


async def test_a_device_that_forgot_it_is_sent_it_again(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    await line.answer(asked, {"state": "running"})
    await later(lambda: state(1, place) == State.RUNNING)
    await line.hang_up()
    again: Line = await dial(place.device, busy=None)
    assert (await again.asked())["params"]["attempt"] == 2


async def test_polling_ends_the_task_too(dial: Any) -> None:
    _, place = await made()
    config = await sync_to_async(config_of)(place)
    await sync_to_async(recompute.drain)()
    await sync_to_async(reports.take)(reports.Report(config.pk, place.device_id, "applied"))
    assert await sync_to_async(tasks_of)(place) == [(1, State.APPLIED)]


async def test_no_more_of_a_site_at_a_time_than_may_be(dial: Any) -> None:
    site, first = await made()
    others = await sync_to_async(placed)(site, 2)
    with override_settings(MUSTER=Environment.from_mapping({"MUSTER_PUSH_PER_SITE": "2"})):
        lines = [await dial(place.device) for place in (first, *others)]

        def under_way() -> int:
            return ConfigTask.objects.filter(state__in=(State.SENT, State.RUNNING)).count()

        await later(lambda: under_way() == 2)
        await asyncio.sleep(1.2)
        assert await sync_to_async(under_way)() == 2
        for _ in range(3):
            for line in lines:
                if not await line.is_left_alone(0.5):
                    await line.report(await line.asked())
        await later(lambda: ConfigTask.objects.filter(state=State.APPLIED).count() == 3)


async def test_what_a_device_really_has_is_compared_with_what_it_should_have(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    config = await sync_to_async(lambda: Config.objects.select_related("revision").get(device=place.device))()
    expected = measure(unpacked(config.revision))
    assert config.revision.digest == expected
    await line.report(asked, actual=expected)
    assert (await sync_to_async(config_of)(place)).drift == Drift.MATCHES
    await line.ask("telemetry", actual="0" * 64, uptime=12.5, load=0.1, memory=0.4)
    config = await sync_to_async(config_of)(place)
    assert (config.drift, config.actual) == (Drift.DIFFERS, "0" * 64)
    link = await sync_to_async(Link.objects.get)()
    assert link.telemetry == {"uptime": 12.5, "load": 0.1, "memory": 0.4}
    await line.ask("telemetry", actual=expected)
    assert (await sync_to_async(config_of)(place)).drift == Drift.MATCHES
    await line.hang_up()
    anew: Line = await dial(place.device, applied="")
    assert await sync_to_async(lambda: config_of(place).drift)() == Drift.UNKNOWN, "it says it has nothing"
    await anew.hang_up()


async def test_reports_must_make_sense(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    good = {"task": asked["params"]["task"], "attempt": 1, "checksum": asked["params"]["checksum"]}
    bad: list[dict[str, Any]] = [
        {"status": "great"}, {"status": None}, {"status": "applied", "checksum": ""},
        {"status": "applied", "checksum": "A" * 32}, {"status": "applied", "task": "x"},
        {"status": "applied", "actual": 3}, {"status": "failed", "reason": ["x"]},
    ]  # fmt: skip
    for wrong in bad:
        answer = await line.ask("report", **(good | wrong))
        assert answer["error"]["code"] == -32602, wrong
    for wrong in ({"task": None}, {"step": ""} | {"step": "x" * 40}, {"attempt": -1}, {"attempt": True}):
        told = {"task": good["task"], "attempt": 1, "step": "written"} | wrong
        assert "error" in await line.ask("task.progress", **told), wrong
    assert await sync_to_async(tasks_of)(place) == [(1, State.SENT)]


async def test_nobody_speaks_for_another_device(dial: Any) -> None:
    _, mine = await made()
    _, theirs = await made()
    line: Line = await dial(mine.device)
    other: Line = await dial(theirs.device)
    asked = await other.asked()
    told = {"task": asked["params"]["task"], "attempt": 1, "step": "written"}
    assert (await line.ask("task.progress", **told))["result"] == {}
    answer = await line.report(asked, "failed", reason="not mine")
    assert "result" in answer
    task = await sync_to_async(ConfigTask.objects.get)(pk=asked["params"]["task"])
    assert (task.state, task.log, task.error) == (State.SENT, [], "")
    assert (await sync_to_async(config_of)(theirs)).status == Status.MODIFIED


async def test_a_device_out_of_service_loses_its_link(dial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.link.registry.VERDICT_SECONDS", 0.1)
    organization: Organization = await sync_to_async(factories.organization)()
    reasons: list[Any] = [
        lambda device: inventory.device_update(device, key="another-key-0001"),
        lambda device: configs.device_delete(device, force=True),
        lambda device: type(organization).objects.filter(pk=device.organization_id).update(is_active=False),
    ]
    for end in reasons:
        _, place = await made()
        line: Line = await dial(place.device)
        await sync_to_async(end)(await sync_to_async(Device.objects.get)(pk=place.device_id))
        while (event := await line.event())["type"] != "websocket.close":
            pass
        assert event["code"] == 4003


async def test_frames_are_counted(dial: Any) -> None:
    _, place = await made()
    line: Line = await dial(place.device)

    def counted(kind: str) -> float:
        return metrics.counted().counts.get((metrics.LINK_FRAMES, kind), 0)

    pings, unknown = counted("ping"), counted("unknown")
    assert (await line.ask("ping"))["result"] == {}
    assert (await line.ask("no.such.method"))["error"]["code"] == -32601
    assert (counted("ping"), counted("unknown")) == (pings + 1, unknown + 1)


async def test_a_report_by_polling_names_outcome_and_task(dial: Any) -> None:
    """The device could not tell over the link: it was rolled back, and of which task."""
    _, place = await made()
    line: Line = await dial(place.device)
    asked = await line.asked()
    await line.answer(asked, {"state": "running"})
    await later(lambda: state(1, place) == State.RUNNING)
    form = {
        "key": place.device.key, "status": "error", "outcome": "rolled_back", "error_reason": "no contact",
        "task": asked["params"]["task"], "checksum": asked["params"]["checksum"],
    }  # fmt: skip
    path = f"/controller/report-status/{place.device_id}/"
    for task in ("nonsense", form["task"]):
        answered = await sync_to_async(Client().post)(path, form | {"task": task})
        assert answered.status_code == 200
    task = await sync_to_async(ConfigTask.objects.get)()
    assert (task.state, task.error) == (State.ROLLED_BACK, "no contact")
