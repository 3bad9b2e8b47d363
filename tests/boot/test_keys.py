"""Keys that fleets carry already, and the demo key: who makes them, what they look like, when they are not made."""

import dataclasses
import io
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from boot.models import BootConfig
from controller.env import Environment
from controller.provisioning import DEMO_KEY, first_run
from core.clock import now
from core.errors import Forbidden
from tenancy.api_keys import api_key_import
from tenancy.key_rows import key_facts
from tenancy.models import ApiKey, AuditEvent, Role, User
from tests import factories

UUID = "0c6d64c5-5a8a-4b0e-9f3a-4d7b6f9f2c11"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", ["", "short", "a b c d e", "x" * 129, "with/a/slash", "ümläute-ü", "abcdefgh." + "x" * 43, "line\nend-xx"]
)  # fmt: skip
def test_a_text_that_cannot_be_a_foreign_key_is_refused(text: str) -> None:
    root, org = factories.superuser(), factories.organization()
    user = factories.operator(org)
    with pytest.raises(ValidationError):
        api_key_import(by=root, user=user, organization=org, name="x", text=text)
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_only_superusers_import_only_for_members_and_each_text_once() -> None:
    root, org, other = factories.superuser(), factories.organization(), factories.organization()
    owner = factories.user(role=Role.OWNER, organization=org)
    with pytest.raises(Forbidden):
        api_key_import(by=owner, user=owner, organization=org, name="x", text=UUID)
    with pytest.raises(ValidationError):
        api_key_import(by=root, user=owner, organization=other, name="x", text=UUID)
    row = api_key_import(by=root, user=owner, organization=org, name="x", text=UUID)
    with pytest.raises(ValidationError, match="exists already"):
        api_key_import(by=root, user=root, organization=other, name="x", text=UUID)
    found = key_facts(UUID, at=now())
    assert found is not None and (found.id, found.organization_id, found.role) == (row.pk, org.pk, "owner")
    event = AuditEvent.objects.get(action="api_key.imported")
    assert UUID not in str(event.changes) and row.digest not in str(event.changes)


@pytest.mark.django_db
def test_the_command_reads_the_key_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.superuser()
    org = factories.organization("fleet")
    factories.user("pia", role=Role.OPERATOR, organization=org)
    for text, refused in ((UUID, False), (UUID, True), ("x", True)):
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
        out = io.StringIO()
        call = ("import_api_key", "--organization", "fleet", "--user", "pia", "--read-only")
        if refused:
            with pytest.raises(CommandError):
                call_command(*call, stdout=out)
        else:
            call_command(*call, stdout=out)
            assert ApiKey.objects.get(key_id=out.getvalue().strip()).read_only
    with pytest.raises(CommandError, match="no such organization"):
        call_command("import_api_key", "--organization", "nowhere", "--user", "pia")


@pytest.mark.django_db
@pytest.mark.parametrize("wanted", [True, False])
def test_the_first_start_makes_the_demo_key_when_it_is_wanted(settings: Any, wanted: bool) -> None:
    settings.MUSTER = dataclasses.replace(settings.MUSTER, demo_key=wanted)
    first_run("a long enough password")
    found = key_facts(DEMO_KEY, at=now())
    if not wanted:
        assert found is None and not BootConfig.objects.exists()
        return
    assert found is not None and found.is_read_only
    assert list(BootConfig.objects.values_list("api_key", "device")) == [(found.id, "default")]
    User.objects.all().delete()
    first_run("another password")
    assert key_facts(DEMO_KEY, at=now()) is not None


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, True), ({"MUSTER_DEMO_KEY": "no"}, False), ({"MUSTER_REDIS_URL": "redis://r:1/0"}, False),
        ({"MUSTER_REDIS_URL": "redis://r:1/0", "MUSTER_DEMO_KEY": "yes"}, True),
    ],
)  # fmt: skip
def test_the_demo_key_is_wanted_in_the_default_mode_only(variables: dict[str, str], wanted: bool) -> None:
    secrets = {
        "MUSTER_SECRET_KEY": "k3Jd93jd-2kd8Wq1l0pQz7Xv5bN6mA4sD",
        "MUSTER_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "MUSTER_PUBLIC_URL": "https://muster.example.org",
    }
    assert Environment.from_mapping(secrets | variables).demo_key_wanted is wanted
