"""The audit trail for its readers: over REST, in the admin, and by the command that checks it."""

import io
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from core.acting import Actor, acting_as, request_id
from core.db import uuid_parameter
from tenancy import audit, audit_chain, services
from tenancy.models import AuditEvent, Organization, Role
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
TRAIL = f"{USERS}audit/"


@pytest.fixture
def trail(org: Organization, other: Organization) -> list[AuditEvent]:
    """Five events of Ann's in `org`, one in `other`, one of nobody's organization; all sealed."""
    AuditEvent.objects.all().delete()
    ann = Actor(name="ann", via="rest", user_id=uuid4(), reason="because of the storm")
    token = request_id.set("request-1")
    AuditEvent.objects.all().delete()
    with acting_as(ann):
        for number in range(5):
            changes = {"name": ("a", f"b{number}"), "key": ("", "very-secret")}
            audit.record("organization.changed", org, organization_id=org.pk, changes=changes)
        audit.record("organization.changed", other, organization_id=other.pk, name="foreign")
    request_id.reset(token)
    audit.record("installation.started", organization_id=None)
    audit_chain.seal_all()
    return list(AuditEvent.objects.order_by("sequence"))


DONE = ("organization.changed", "installation.started")


def member(org: Organization, role: str) -> Any:
    return client_of(factories.user(role=role, organization=org))


def test_managers_read_what_happened_in_their_organizations(
    trail: list[AuditEvent], org: Organization, other: Organization
) -> None:
    client = member(org, Role.MANAGER)
    assert client.get(TRAIL).json()["count"] == 6, "and that the manager became one"
    listed = client.get(TRAIL, {"action": "organization.changed"}).json()
    assert listed["count"] == 5
    assert "foreign" not in str(listed) and "very-secret" not in str(listed)
    assert list(listed["results"][0]) == [
        "id", "created", "organization", "actor_id", "actor_name", "via", "address", "request_id", "reason",
        "action", "target_type", "target_id", "target_name", "changes", "sequence", "seal",
    ]  # fmt: skip
    one = f"{TRAIL}{trail[0].pk}/"
    assert client.get(one).json()["changes"]["name"] == ["a", "b0"]
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(one).status_code == 405
        assert getattr(client, method)(TRAIL).status_code == 405
    assert client.get(f"{TRAIL}{trail[5].pk}/").status_code == 404
    root = client_of(factories.superuser())
    assert root.get(TRAIL, {"action": "organization.changed"}).json()["count"] == 6
    assert member(org, Role.OPERATOR).get(TRAIL).status_code == 403


def test_events_are_found_and_ordered(trail: list[AuditEvent], org: Organization) -> None:
    client = client_of(factories.superuser())

    def found(**query: Any) -> int:
        answer = client.get(TRAIL, query)
        assert answer.status_code == 200, answer.json()
        # Not what making the people of this test wrote.
        return len([row for row in answer.json()["results"] if row["action"] in DONE])

    assert found(actor="ann") == found(actor=str(trail[0].actor_id)) == found(request_id="request-1") == 6
    assert found(organization=str(org.pk)) == found(organization_slug=org.slug) == 5
    assert (
        found(action="installation.started")
        == found(via="system", actor="system", search="installation")
        == 1
    )
    assert found(target_type="organization", target_id=str(org.pk)) == found(search="storm org-a") == 5
    assert found(created__gte=trail[3].created.isoformat()) == 4
    assert found(created__lte=trail[3].created.isoformat()) == 4
    audit_chain.seal_all()
    numbers = [row["sequence"] for row in client.get(TRAIL, {"ordering": "sequence"}).json()["results"]]
    assert numbers == sorted(numbers)
    for query in ({"ordering": "key"}, {"created__gte": "soon"}, {"actor": "a\x00"}, {"organization": "x"}):
        assert client.get(TRAIL, query).status_code == 400, query


def test_the_admin_shows_before_and_after_and_changes_nothing(
    trail: list[AuditEvent], org: Organization
) -> None:
    client = Client()
    client.force_login(factories.user(role=Role.MANAGER, organization=org, is_staff=True))
    listed = client.get(reverse("admin:tenancy_auditevent_changelist")).content.decode()
    assert "organization.changed" in listed and "foreign" not in listed
    assert "tenancy/audit.css" in listed
    path = reverse("admin:tenancy_auditevent_change", args=[trail[2].pk])
    text = client.get(path).content.decode()
    assert '<td class="mu-audit__after">b2</td>' in text
    assert "because of the storm" in text and "very-secret" not in text
    assert client.post(path, {"action": "x"}).status_code == 403
    assert client.get(reverse("admin:tenancy_auditevent_add")).status_code == 403
    assert client.post(reverse("admin:tenancy_auditevent_delete", args=[trail[2].pk])).status_code == 403
    for query in ({"action": "a\x00"}, {"actor_name__icontains": "\x00"}, {"e": "1"}, {"o": "9.x"}):
        assert client.get(reverse("admin:tenancy_auditevent_changelist"), query).status_code in (
            200,
            302,
            400,
        )
    client.force_login(factories.user(role=Role.OPERATOR, organization=org, is_staff=True))
    assert client.get(path).status_code in (302, 403)


def test_what_stands_in_the_trail_is_text_and_not_markup(org: Organization) -> None:
    changes = {"name": ("<b>old</b>", "<script>x</script>")}
    audit.record("x.changed", org, organization_id=org.pk, changes=changes)
    client = Client()
    client.force_login(factories.superuser())
    row = AuditEvent.objects.get(action="x.changed")
    text = client.get(reverse("admin:tenancy_auditevent_change", args=[row.pk])).content.decode()
    assert "<script>x" not in text and "&lt;script&gt;x" in text


def verify(*arguments: str) -> tuple[int, str]:
    """Run the command; returns its exit status and what it printed."""
    printed = io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=printed)
    except CommandError as error:
        return error.returncode, printed.getvalue()
    return 0, printed.getvalue()


def test_the_command_seals_what_waits_and_prints_the_head(trail: list[AuditEvent], org: Organization) -> None:
    audit.record("x.done", org, organization_id=org.pk)
    status, text = verify()
    last = AuditEvent.objects.get(action="x.done")
    assert (status, text.splitlines()) == (0, ["8 events", f"head 8:{last.seal}"])


def test_an_empty_trail_is_whole() -> None:
    assert verify() == (0, "0 events\nhead 0:\n")
    assert verify("--head", "0:")[0] == 0


def raw(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


TAMPERING: dict[str, tuple[str, str]] = {
    "actor": ("UPDATE tenancy_auditevent SET actor_name = 'eve' WHERE id = %s", "event 3"),
    "changes": ("UPDATE tenancy_auditevent SET changes = '{}' WHERE id = %s", "event 3"),
    "removed": ("DELETE FROM tenancy_auditevent WHERE id = %s", "event 3 is missing"),
    "cut": ("DELETE FROM tenancy_auditevent WHERE sequence > 2 OR id = %s", "the end is missing"),
    "seal": (f"UPDATE tenancy_auditevent SET seal = '{'0' * 64}' WHERE id = %s", "event 3"),
}


@pytest.mark.parametrize("how", sorted(TAMPERING))
def test_tampering_in_the_database_is_found(trail: list[AuditEvent], how: str) -> None:
    sql, words = TAMPERING[how]
    raw(sql, uuid_parameter(trail[2].pk))
    status, text = verify()
    assert status == 1
    assert any(line.startswith("FAULT") and words in line for line in text.splitlines()), text


def test_a_head_kept_elsewhere_pins_the_trail(trail: list[AuditEvent], org: Organization) -> None:
    pinned = verify()[1].splitlines()[-1].removeprefix("head ")
    services.organization_update(org, description="later")
    audit.record("x.done", org, organization_id=org.pk)
    assert verify("--head", pinned)[0] == 0
    # A chain that is begun anew says so, and does not hold the head that was kept elsewhere.
    raw("DELETE FROM tenancy_auditevent WHERE id = %s", uuid_parameter(trail[2].pk))
    raw("UPDATE tenancy_auditevent SET sequence = NULL, seal = ''")
    raw("DELETE FROM tenancy_audithead")
    assert verify()[0] == 1
    status, text = verify("--head", pinned)
    assert (status, "is not the one of the given head" in text) == (1, True)
    assert "is missing" in verify("--head", f"99:{'0' * 64}")[1]


@pytest.mark.parametrize("text", ["", "x", "1", "1:", "0:" + "a" * 64, "-1:" + "a" * 64, "1:" + "g" * 64])
def test_a_garbled_head_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        call_command("verify_audit", f"--head={text}")
