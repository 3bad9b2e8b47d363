"""Real threads on a real database: limits hold, nobody is made twice, edits and reports do not trip over each other."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connections, transaction

from config_merge.agent.endpoints import answer
from config_merge.agent.messages import AgentRequest, operation_of
from config_merge.delivery import answers, words
from config_merge.delivery.states import State
from config_merge.models import Config, ConfigRevision, ConfigTask, Status, Template
from config_merge.services import configs, duty, recompute, reports, stale, templates
from core.clock import now
from core.db import in_turn, locked
from devices.events import Opening
from devices.link import presence
from devices.models import Device
from devices.services import fleet_settings_update
from tenancy.models import Organization
from tenancy.services import organization_create
from tests import factories
from tests.marks import needs_row_locks

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 6


@pytest.fixture
def organization() -> Organization:
    """An organization."""
    return organization_create(slug="acme", name="Acme")


def together(work: Callable[[int], Any], count: int) -> list[Any]:
    """Call `work(0)` … `work(count - 1)` on threads that start at the same moment; their results in order."""
    ready = threading.Barrier(min(THREADS, count))

    def call(number: int) -> Any:
        if number < ready.parties:
            ready.wait(10)
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(count)))


def register(organization: Organization, number: int, **changes: str) -> int:
    """Register a device through the protocol; returns the status."""
    mac = f"02:00:00:00:00:{number:02X}"
    fields = {
        "secret": organization.fleet_settings.shared_secret,
        "name": mac,
        "mac_address": mac,
        "backend": "netjsonconfig.OpenWrt",
    } | changes
    return answer(AgentRequest("POST", operation_of("register/"), fields, {}, f"10.0.0.{number}")).status


def test_a_device_limit_admits_exactly_its_number(organization: Organization) -> None:
    fleet_settings_update(organization.fleet_settings, device_limit=5)
    statuses = together(lambda number: register(organization, number), 18)
    assert Counter(statuses) == {201: 5, 400: 13}
    assert Device.objects.count() == 5


def test_one_device_registering_many_times_at_once_is_one_device(organization: Organization) -> None:
    statuses = together(lambda _: register(organization, 7, key="k" * 32), 12)
    assert set(statuses) <= {201, 400}
    assert 201 in statuses
    assert (Device.objects.count(), Config.objects.count()) == (1, 1)


def test_edits_polls_and_reports_at_once_end_in_agreement(organization: Organization) -> None:
    """Twelve devices, two templates edited over and over, workers, polls and reports all at the same time."""
    made = [
        templates.template_create(
            organization=organization,
            name=f"t{number}",
            default=True,
            config={"files": [{"path": f"/t{number}", "mode": "0644", "contents": "0"}]},
        )
        for number in range(2)
    ]
    devices = [
        configs.managed_device_create(
            organization=organization,
            name=f"ap{number}",
            mac_address=f"02:00:00:00:01:{number:02X}",
            config={"context": {"n": str(number)}},
        )
        for number in range(12)
    ]

    def turn(number: int) -> str:
        choice = random.Random(number)
        device = devices[number % len(devices)]
        config = Config.objects.only("pk").get(device=device)
        match number % 6:
            case 0 | 1:
                edited = Template.objects.get(pk=made[number % 2].pk)
                contents = [{"path": f"/t{number % 2}", "mode": "0644", "contents": str(choice.random())}]
                templates.template_update(edited, config={"files": contents})
            case 2:
                recompute.recompute_chunk(5)
            case 3:
                recompute.recompute_one(config.pk)
            case 4:
                batch = [reports.Report(Config.objects.get(device=d).pk, d.pk, "applied") for d in devices]
                reports.take_many(batch)
            case _:
                configs.managed_device_update(
                    Device.objects.get(pk=device.pk), config={"context": {"n": str(choice.random())}}
                )
        return "done"

    def safely(number: int) -> str:
        try:
            return turn(number)
        except DatabaseError as error:
            return str(error)

    assert set(together(safely, 90)) == {"done"}
    recompute.drain()
    assert not recompute.stale_configs().exists()
    for config in Config.objects.select_related("revision"):
        numbers = sorted(ConfigRevision.objects.filter(config=config).values_list("number", flat=True))
        assert numbers == list(range(1, config.revision_number + 1))
        assert config.revision.number == config.revision_number
        assert config.revision.checksum == config.checksum
        assert config.status in (Status.MODIFIED, Status.APPLIED)
        Config.objects.filter(pk=config.pk).update(generation=config.generation + 1)
    before = dict(Config.objects.values_list("pk", "checksum"))
    recompute.drain()
    assert dict(Config.objects.values_list("pk", "checksum")) == before


@needs_row_locks
def test_reports_of_many_wait_for_a_writer_of_devices_before_they_hold_anything(
    organization: Organization,
) -> None:
    """Among them one that is leaving: its report writes to the device, and devices come before configurations."""
    here, leaving = (factories.configured(organization) for _ in range(2))
    recompute.drain()
    first, second = (Config.objects.get(device=device) for device in (here, leaving))
    reports.take(reports.Report(second.pk, leaving.pk, "applied"))
    configs.config_update(second, config={"general": {"hostname": "other"}})
    recompute.drain()
    reports.take(reports.Report(second.pk, leaving.pk, "applied"))
    duty.devices_deactivate([leaving.pk])
    assert Config.objects.get(pk=second.pk).status == Status.DEACTIVATING
    said = [reports.Report(first.pk, here.pk, "applied"), reports.Report(second.pk, leaving.pk, "applied")]

    def edit() -> Iterator[None]:
        list(locked(Device.objects.order_by("pk")))
        yield
        Config.objects.filter(pk=first.pk).update(error_reason="written")

    assert beside(edit(), lambda: reports.take_many(said)) == ["applied", "deactivated"]


@needs_row_locks
@pytest.mark.parametrize("how", ["hello", "answer", "words"])
def test_what_devices_say_waits_for_an_edit_of_the_fleet_before_it_holds_anything(
    organization: Organization, how: str
) -> None:
    pairs = [(device, factories.config_of(device)) for device in _with_tasks(organization, 2)]
    given = {task.device_id: task for task in ConfigTask.objects.all()}

    def say() -> Any:
        if how == "hello":
            return open_device_links(
                [device for device, _ in pairs], [config.checksum for _, config in pairs]
            )
        if how == "answer":
            told = [(given[d.pk].pk, d.pk, 1, config.checksum, answers.Said.APPLIED) for d, config in pairs]
            return answers.take([answers.Answer(*each) for each in told])
        steps = [words.Step(given[device.pk].pk, device.pk, 1, "written") for device, _ in pairs]
        return words.take([*steps, *(words.Ended(d.pk, "applied", config.checksum) for d, config in pairs)])

    def edit() -> Iterator[None]:
        in_turn(stale.FLEET)
        yield
        Config.objects.update(error_reason="")

    beside(edit(), say)
    assert set(ConfigTask.objects.values_list("state", flat=True)) == {State.APPLIED}


@needs_row_locks
def test_steps_and_ends_together_hold_configurations_before_tasks(organization: Organization) -> None:
    one, other = _with_tasks(organization, 2)
    task, config = ConfigTask.objects.get(device=one), factories.config_of(other)

    def edit() -> Iterator[None]:
        Config.objects.filter(pk=config.pk).update(error_reason="")
        yield
        ConfigTask.objects.filter(pk=task.pk).update(error="")

    said = [words.Step(task.pk, one.pk, 1, "written"), words.Ended(other.pk, "applied", config.checksum)]
    beside(edit(), lambda: words.take(said))
    assert ConfigTask.objects.get(device=other).state == State.APPLIED


def _with_tasks(organization: Organization, count: int) -> list[Device]:
    """Return devices whose configurations were sent to them."""
    devices = [factories.configured(organization) for _ in range(count)]
    recompute.drain()
    ConfigTask.objects.update(
        state=State.SENT, attempt=1, sent_at=now(), lease_until=now() + timedelta(hours=1)
    )
    assert ConfigTask.objects.count() == count
    return devices


def beside(edit: Iterator[None], work: Callable[[], Any]) -> Any:
    """Begin an edit, let `work` come to where it waits for it, and end the edit; returns what `work` does."""

    def in_thread() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            next(edit)
            working = pool.submit(in_thread)
            until = time.monotonic() + 20
            while not _somebody_waits() and not working.done() and time.monotonic() < until:
                time.sleep(0.02)
            assert next(edit, None) is None
        return working.result(20)


def _somebody_waits() -> bool:
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(cursor.fetchone()[0])


def open_device_links(devices: Sequence[Device], applied: Sequence[str]) -> Any:
    """Write links down whose devices say what they have applied."""
    openings = [
        Opening(device_id=device.pk, epoch=uuid4(), key_digest=device.key_digest, applied=checksum)
        for device, checksum in zip(devices, applied, strict=True)
    ]
    return presence.links_open(uuid4(), openings)
