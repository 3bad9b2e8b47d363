"""A task under arbitrary sequences of what people, devices, links and lost processes do."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config_merge.delivery import again, answers, claims, outcomes, queue, sweep, words
from config_merge.delivery.answers import Answer, Said
from config_merge.delivery.outcomes import Step
from config_merge.delivery.states import OPEN, TRANSITIONS, UNDER_WAY, State, sources_of
from config_merge.models import Config, ConfigTask, Site, SiteDevice, Status
from config_merge.services import configs, places, recompute, reports, sites
from core.clock import now
from core.errors import Conflict, Forbidden
from devices.events import Opening
from devices.link import presence
from devices.models import Device, LinkServer
from tests import factories

FINAL = frozenset(State.values) - frozenset(OPEN)


class Life(RuleBasedStateMachine):
    """One device of a site, with a link or without, and everything that can happen to it."""

    @initialize()
    def begin(self) -> None:
        Device.objects.all().delete()
        Site.objects.all().delete()
        LinkServer.objects.all().delete()
        organization = factories.organization()
        self.site = sites.site_create(organization=organization, name="here")
        self.place = places.place_create(self.site, serial="1", mac_address=factories.mac())
        self.device_id = self.place.device_id
        self.server: UUID | None = None
        self.epoch: UUID | None = None
        self.confirmed: set[str] = set()
        self.holds = ""
        self.received: list[tuple[UUID, int, str]] = []
        self.busy: UUID | None = None
        self.states: dict[UUID, str] = {}

    @property
    def config(self) -> Config:
        return Config.objects.get(device_id=self.device_id)

    def task(self, task_id: UUID) -> ConfigTask:
        return ConfigTask.objects.get(pk=task_id)

    # --- people

    @rule(value=st.sampled_from("ABC"))
    def edit(self, value: str) -> None:
        sites.site_settings_change(self.site, {"locale/code": {"value": value}}, version=None)

    @rule()
    def work(self) -> None:
        recompute.drain()

    @rule()
    def push_again(self) -> None:
        try:
            again.push_again(Device.objects.get(pk=self.device_id))
        except (Conflict, Forbidden):
            assert self.config.revision_id is None or self.suspended

    @rule()
    def cancel(self) -> None:
        for task in ConfigTask.objects.filter(state__in=OPEN):
            try:
                queue.cancel(task)
            except Conflict:
                assert self.task(task.pk).state == State.RUNNING

    @property
    def suspended(self) -> bool:
        return SiteDevice.objects.get(pk=self.place.pk).is_suspended

    @rule(suspended=st.booleans())
    def suspend(self, suspended: bool) -> None:
        places.place_update(SiteDevice.objects.get(pk=self.place.pk), is_suspended=suspended)

    # --- links

    @rule(dies=st.booleans())
    def dial(self, dies: bool) -> None:
        self.server, self.epoch = uuid4(), uuid4()
        opening = Opening(
            device_id=self.device_id, epoch=self.epoch, key_digest="k", capabilities=("config.apply",),
            applied=self.holds, busy=self.busy,
        )  # fmt: skip
        if self.holds:
            self.confirmed.add(self.holds)
        (welcome,) = presence.links_open(self.server, [opening])
        wanted = self.config.applied_checksum if self.suspended else self.config.checksum
        assert welcome is not None and welcome.answer["wanted"] == wanted
        if dies:
            LinkServer.objects.filter(pk=self.server).update(beat_at=now() - timedelta(minutes=1))

    @precondition(lambda self: self.epoch)
    @rule()
    def hang_up(self) -> None:
        presence.links_close([self.epoch])  # type: ignore[list-item]
        self.server = self.epoch = None

    @rule()
    def sweep_links(self) -> None:
        presence.servers_sweep()

    # --- delivery

    @precondition(lambda self: self.server)
    @rule(reaches=st.booleans())
    def claim(self, reaches: bool) -> None:
        ConfigTask.objects.filter(state=State.PENDING).update(due_at=now() - timedelta(seconds=1))
        for push in claims.claimed(self.server, 10):  # type: ignore[arg-type]
            assert push.device_id == self.device_id
            assert not self.suspended
            if reaches:
                self.received.append((push.task_id, push.attempt, push.checksum))

    @precondition(lambda self: self.received)
    @rule(said=st.sampled_from(["running", Said.BUSY, Said.ERROR, Said.FAILED, Said.GONE]))
    def answer(self, said: Any) -> None:
        task_id, attempt, checksum = self.received.pop()
        if said == "running":
            if self.busy is None:
                self.busy = task_id
            outcomes.progressed([Step(task_id, self.device_id, attempt, "accepted", "", True, 60)])
        else:
            answers.take([Answer(task_id, self.device_id, attempt, checksum, said, "why")])

    @precondition(lambda self: self.busy)
    @rule(
        how=st.sampled_from(["applied", "failed", "rolled_back"]), arrives=st.booleans(), twice=st.booleans()
    )
    def end(self, how: str, arrives: bool, twice: bool) -> None:
        task = ConfigTask.objects.filter(pk=self.busy).first()
        self.busy = None
        if task is None:
            return
        if how == "applied":
            self.holds = task.checksum
        item = words.Ended(self.device_id, how, task.checksum, task.pk, "why")
        for _ in range((1 + twice) * arrives):
            if how == "applied":
                self.confirmed.add(task.checksum)
            words.ended([item])

    @rule(status=st.sampled_from(["applied", "error"]), says_which=st.booleans())
    def poll(self, status: str, says_which: bool) -> None:
        config = self.config
        if not config.checksum:
            return
        if status == "applied":
            self.holds = config.checksum
            self.confirmed.add(config.checksum)
        told = config.checksum if says_which else ""
        reports.take(reports.Report(config.pk, self.device_id, status, checksum=told))

    @rule()
    def time_passes(self) -> None:
        past = now() - timedelta(seconds=1)
        ConfigTask.objects.filter(state__in=UNDER_WAY).update(lease_until=past)
        sweep.leases_end()

    @rule()
    def years_pass(self) -> None:
        ConfigTask.objects.filter(state=State.PENDING).update(deadline=now() - timedelta(days=1))
        sweep.deadlines_end()

    @rule()
    def sweep(self) -> None:
        sweep._looked_at = float("-inf")
        sweep.run()

    # --- what is true of every life

    @invariant()
    def moves_are_in_the_table(self) -> None:
        if not hasattr(self, "states"):
            return
        for task_id, state in ConfigTask.objects.values_list("pk", "state"):
            before = self.states.get(task_id, State.PENDING)
            assert state == before or self._reachable(before, state), (before, state)
            self.states[task_id] = state

    @staticmethod
    def _reachable(before: str, state: str) -> bool:
        """One step of the machine may move a task several times."""
        seen, todo = {before}, [before]
        while todo:
            for target in TRANSITIONS[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        return state in seen

    @invariant()
    def applied_is_the_device_s_word(self) -> None:
        for checksum in ConfigTask.objects.filter(state=State.APPLIED).values_list("checksum", flat=True):
            assert checksum in self.confirmed

    @invariant()
    def ends_are_stamped(self) -> None:
        assert not ConfigTask.objects.filter(state__in=FINAL, finished_at=None).exists()
        assert not ConfigTask.objects.filter(state__in=UNDER_WAY, lease_until=None).exists()
        assert not ConfigTask.objects.filter(state__in=FINAL).exclude(lease_until=None).exists()

    @invariant()
    def nothing_wanted_is_forgotten(self) -> None:
        """What the device has yet to get is on its way, or ended in a way a person can see."""
        if not hasattr(self, "device_id"):
            return
        config = self.config
        if config.status != Status.MODIFIED or config.revision_id is None or config.is_stale:
            return
        if config.checksum == config.applied_checksum or self.suspended:
            return
        tasks = ConfigTask.objects.filter(device_id=self.device_id)
        is_open = tasks.filter(state__in=OPEN).exists()
        ended = tasks.filter(revision_id=config.revision_id, state__in=FINAL).exists()
        if not (is_open or ended):
            queue_missing = queue.missing(Config.objects.filter(pk=config.pk))
            assert queue_missing.exists(), "neither on its way, nor will the sweep find it"


@pytest.mark.slow
def test_every_life_of_a_task(transactional_db: None) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Life,
        settings=settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=slow),
    )  # type: ignore[no-untyped-call]


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State.values)
    assert {target for targets in TRANSITIONS.values() for target in targets} <= set(State.values)
    assert sources_of(State.RUNNING) == [State.SENT]
    assert not TRANSITIONS[State.APPLIED]


@pytest.mark.parametrize("attempt", range(1, 20))
def test_pauses_grow_and_are_bounded(attempt: int) -> None:
    seconds = [answers.pause(attempt).total_seconds() for _ in range(50)]
    middle = min(300, 5 * 2 ** (attempt - 1))
    assert all(middle * 0.74 < each < middle * 1.26 for each in seconds)
    assert len(set(seconds)) > 1


def test_a_deactivated_device_is_sent_the_empty_configuration_and_then_nothing(
    transactional_db: None,
) -> None:
    site = sites.site_create(organization=factories.organization(), name="here")
    sites.site_settings_change(site, {"locale/code": {"value": "LT"}}, version=None)
    place = places.place_create(site, serial="1", mac_address=factories.mac())
    config = Config.objects.get(device_id=place.device_id)
    reports.take(reports.Report(config.pk, place.device_id, "applied"))
    configs.device_deactivate(place.device)
    (task,) = ConfigTask.objects.filter(state=State.PENDING)
    assert task.number == 2
    words.ended([words.Ended(place.device_id, "applied", task.checksum, task.pk)])
    assert ConfigTask.objects.get(pk=task.pk).state == State.APPLIED
    assert Config.objects.get(pk=config.pk).status == Status.DEACTIVATED
    with pytest.raises(Forbidden):
        again.push_again(place.device)
