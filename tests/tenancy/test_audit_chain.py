"""The audit trail's chain: whatever is done to it behind our back is found and named."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db.models import F

from core.acting import Actor, acting_as
from tenancy import audit, audit_chain
from tenancy.models import AuditEvent, AuditHead
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def trail() -> list[AuditEvent]:
    organization = factories.organization()
    AuditEvent.objects.all().delete()
    for number in range(5):
        with acting_as(Actor(name=f"ann-{number}", via="test")):
            audit.record(
                "device.changed", organization, organization_id=organization.pk, changes={"name": ("a", "b")}
            )
    audit_chain.seal_all()
    return list(AuditEvent.objects.order_by("sequence"))


def faults() -> list[str]:
    return [fault.text for fault in audit_chain.verify()]


def test_an_untouched_trail_has_no_faults(trail: list[AuditEvent]) -> None:
    assert faults() == []
    assert [row.actor_name for row in trail] == [f"ann-{number}" for number in range(5)]


def _third(**changes: object) -> None:
    AuditEvent.objects.filter(sequence=AuditEvent.objects.order_by("sequence")[2].sequence).update(**changes)


def _wiped() -> None:
    AuditEvent.objects.all().delete()
    AuditHead.objects.all().delete()


def _inserted() -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    AuditEvent(created=long_ago, actor_name="eve", via="rest", action="forged").save(force_insert=True)


TAMPERING: dict[str, tuple[Callable[[], object], str]] = {
    "actor": (lambda: _third(actor_name="eve"), "was changed"),
    "changes": (lambda: _third(changes={"name": ["a", "c"]}), "was changed"),
    "time": (lambda: _third(created=F("created")) or _third(request_id="x"), "was changed"),
    "organization": (lambda: _third(organization_id=None), "was changed"),
    "removed": (lambda: AuditEvent.objects.filter(actor_name="ann-2").delete(), "is missing"),
    "cut": (lambda: AuditEvent.objects.filter(actor_name="ann-4").delete(), "the end is missing"),
    "unsealed": (
        lambda: AuditEvent.objects.filter(actor_name="ann-4").update(sequence=None),
        "the end is missing",
    ),
    "head": (lambda: AuditHead.objects.update(sequence=F("sequence") - 1), "head of the chain was changed"),
    "no head": (lambda: AuditHead.objects.all().delete(), "head of the chain is missing"),
    "wiped": (lambda: _wiped(), "head of the chain is missing"),
    "wiped and begun anew": (
        lambda: (_wiped(), audit.record("x", organization_id=None), audit_chain.seal_all()),
        "begun anew",
    ),
    "inserted": (lambda: (_inserted(), audit_chain.seal_all()), "time long past"),
}


@pytest.mark.parametrize("how", sorted(TAMPERING))
def test_tampering_is_found(trail: list[AuditEvent], how: str) -> None:
    tamper, words = TAMPERING[how]
    tamper()
    assert any(words in text for text in faults())


def test_one_changed_row_is_one_fault(trail: list[AuditEvent]) -> None:
    _third(reason="none")
    assert len(faults()) == 1


def test_a_forged_event_is_found(trail: list[AuditEvent]) -> None:
    last = trail[-1]
    forged = AuditEvent(
        created=last.created,
        actor_name="eve",
        via="rest",
        action="x",
        sequence=(last.sequence or 0) + 1,
        seal=last.seal,
    )
    forged.save(force_insert=True)
    assert faults()


def test_secrets_are_written_as_marks(trail: list[AuditEvent]) -> None:
    organization = factories.organization()
    changes = {"key": ("old-key", "new-key"), "config": ({}, {"encryption": {"key": "hunter22"}})}
    audit.record("device.changed", organization, organization_id=organization.pk, changes=changes)
    row = AuditEvent.objects.latest("created")
    assert "new-key" not in str(row.changes) and "hunter22" not in str(row.changes)
    assert "redacted:" in str(row.changes["key"])
