"""The status machine under arbitrary sequences of what people, templates and devices do."""

import hashlib
from typing import Any

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

from config_merge.agent.endpoints import answer
from config_merge.agent.messages import AgentRequest, operation_of
from config_merge.models import Config, ConfigRevision, Status
from config_merge.services import configs, recompute, templates
from config_merge.status import TRANSITIONS, after_computation, after_report, clipped_reason, sources_of
from core.errors import Conflict, Forbidden
from devices.models import Device
from tenancy.models import Organization
from tenancy.services import organization_create

ZONES = ("UTC", "Europe/Rome", "Asia/Tokyo")


class Life(RuleBasedStateMachine):
    """One device, one default template, one agent that applies what it downloads."""

    @initialize()
    def begin(self) -> None:
        Device.objects.all().delete()
        Organization.objects.filter(slug="life").delete()
        organization = organization_create(slug="life")
        self.template = templates.template_create(
            organization=organization, name="tz", default=True, config={"general": {"timezone": "UTC"}}
        )
        device = configs.managed_device_create(
            organization=organization,
            name="ap1",
            mac_address="00:11:22:33:44:55",
            config={"context": {"a": "1"}},
        )
        self.device_id, self.key = device.pk, device.key
        self.holds = ""
        self.reported = False

    def ask(self, method: str, what: str, **fields: str) -> Any:
        operation = operation_of(f"{what}/{self.device_id}/")
        return answer(AgentRequest(method, operation, {"key": self.key} | fields, {}, "127.0.0.1"))

    @property
    def device(self) -> Device:
        return Device.objects.get(pk=self.device_id)

    @property
    def config(self) -> Config:
        return Config.objects.get(device_id=self.device_id)

    @rule(zone=st.sampled_from(ZONES))
    def edit_template(self, zone: str) -> None:
        templates.template_update(self.template, config={"general": {"timezone": zone}})

    @rule(zone=st.sampled_from((*ZONES, None)))
    def edit_device(self, zone: str | None) -> None:
        own = {"general": {"timezone": zone}} if zone else {}
        try:
            configs.managed_device_update(self.device, config={"config": own})
        except Forbidden:
            assert self.device.is_deactivated

    @rule()
    def work(self) -> None:
        recompute.drain()

    @rule()
    def deactivate(self) -> None:
        try:
            configs.device_deactivate(self.device)
        except Conflict:
            assert self.device.is_deactivated

    @rule()
    def activate(self) -> None:
        try:
            configs.device_activate(self.device)
        except Conflict:
            assert not self.device.is_deactivated

    @rule(ok=st.booleans())
    def cycle(self, ok: bool) -> None:
        """What an agent does when it polls: download what is new, apply it or fail, and say so."""
        polled = self.ask("GET", "checksum")
        if polled.status == 404:
            assert self.config.status == Status.DEACTIVATED
            return
        wanted = polled.body.decode()
        if wanted == self.holds:
            return
        archive = self.ask("GET", "download-config").body
        assert hashlib.md5(archive).hexdigest() == wanted
        if ok:
            self.holds = wanted
        self.ask("POST", "report-status", status="applied" if ok else "error")

    @precondition(lambda self: self.holds)
    @rule()
    def repeat_the_report(self) -> None:
        self.ask("POST", "report-status", status="applied", checksum=self.holds)

    @invariant()
    def revisions_are_numbered_without_gaps_and_the_last_one_is_current(self) -> None:
        if not hasattr(self, "device_id"):
            return
        config = self.config
        numbers = list(ConfigRevision.objects.filter(config=config).values_list("number", flat=True))
        assert sorted(numbers) == list(range(1, config.revision_number + 1))
        assert config.revision_id is None or config.revision.checksum == config.checksum
        for revision in ConfigRevision.objects.filter(config=config):
            assert hashlib.md5(bytes(revision.artefact)).hexdigest() == revision.checksum

    @invariant()
    def status_agrees_with_the_flag_and_the_reason(self) -> None:
        if not hasattr(self, "device_id"):
            return
        config = self.config
        leaving = config.status in (Status.DEACTIVATING, Status.DEACTIVATED)
        assert leaving == self.device.is_deactivated
        assert bool(config.error_reason) == (config.status == Status.ERROR)

    @invariant()
    def a_settled_device_never_waits_for_ever(self) -> None:
        """When the agent holds what it is told to hold and nothing is stale, nothing may stay `modified`."""
        if not hasattr(self, "device_id"):
            return
        config = self.config
        if not config.is_stale and self.holds and config.checksum == self.holds == config.applied_checksum:
            assert config.status != Status.MODIFIED


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_any_sequence_of_edits_reports_and_retirements_keeps_the_invariants() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )


def test_every_status_is_in_the_table_and_none_is_a_trap() -> None:
    assert set(TRANSITIONS) == set(Status.values)
    assert set().union(*TRANSITIONS.values()) == set(Status.values)
    assert sources_of(Status.DEACTIVATED) == [Status.DEACTIVATING]


@pytest.mark.parametrize("current", [Status.MODIFIED, Status.APPLIED, Status.ERROR])
def test_an_unchanged_checksum_moves_nothing(current: str) -> None:
    assert after_computation(current, checksum="a", previous="a", applied="") == current


@pytest.mark.parametrize("current", Status.values)
@pytest.mark.parametrize("applied", ["b", "c"])
def test_a_new_checksum_is_fetched_unless_the_device_has_it(current: str, applied: str) -> None:
    moved = after_computation(current, checksum="b", previous="a", applied=applied)
    retired = current in (Status.DEACTIVATING, Status.DEACTIVATED)
    assert moved == (current if retired else Status.APPLIED if applied == "b" else Status.MODIFIED)
    assert moved == current or moved in TRANSITIONS[current]


@pytest.mark.parametrize("reported", ["applied", "error"])
def test_reports_move_as_the_table_allows(reported: str) -> None:
    for current in (Status.MODIFIED, Status.APPLIED, Status.ERROR, Status.DEACTIVATING):
        assert after_report(current, reported) in TRANSITIONS[current]


def test_reasons_are_cut_at_the_columns_width() -> None:
    assert clipped_reason("  ") and clipped_reason("x") == "x"
    assert len(clipped_reason("x" * 1024)) == len(clipped_reason("x" * 5000)) == 1024
    assert clipped_reason("x" * 1025).endswith("[truncated]")
