"""Fleet settings over REST: limits, variables, the shared secret, and who sees secrets."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from core.redaction import mark_of
from devices.models import FleetSettings
from tenancy.models import AuditEvent, Membership, Organization, Role
from tests import factories

pytestmark = pytest.mark.django_db
CONTEXT = {"wifi_password": "hunter22hunter22", "country": "DE"}


@pytest.fixture
def org(db: None) -> Organization:
    return factories.organization("org-a", shared_secret="the-shared-secret", context=CONTEXT)


def client_of(org: Organization, role: str, *, reveal: bool) -> APIClient:
    user = factories.user(role=role, organization=org)
    Membership.objects.filter(user=user).update(can_reveal=reveal)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {factories.token_for(user)}")
    return client


def path(org: Organization, rest: str = "") -> str:
    return f"/api/v1/controller/organization/{org.pk}/settings/{rest}"


def stored(org: Organization) -> FleetSettings:
    return FleetSettings.objects.get(pk=org.pk)


def test_who_may_reveal_sees_secrets_and_every_look_is_written_down(org: Organization) -> None:
    factories.device(org)
    answer = client_of(org, Role.MANAGER, reveal=True).get(path(org))
    assert answer.json() == {
        "organization": str(org.pk),
        "registration_enabled": True,
        "device_limit": 0,
        "context": CONTEXT,
        "shared_secret": "the-shared-secret",
        "device_count": 1,
    }
    assert answer["Cache-Control"] == "no-store"
    assert AuditEvent.objects.filter(action="secret.revealed", organization=org).count() == 1


def test_others_see_marks_that_may_come_back(org: Organization) -> None:
    client = client_of(org, Role.MANAGER, reveal=False)
    shown = client.get(path(org)).json()
    assert shown["shared_secret"] == mark_of("the-shared-secret")
    assert shown["context"] == {"wifi_password": mark_of("hunter22hunter22"), "country": mark_of("DE")}
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()
    shown["context"]["country"] = "FR"
    answer = client.patch(path(org), shown, format="json")
    assert answer.status_code == 200, answer.json()
    assert stored(org).context == {**CONTEXT, "country": "FR"}
    assert stored(org).shared_secret == "the-shared-secret"


def test_a_mark_of_nothing_or_in_the_open_is_refused(org: Organization) -> None:
    client = client_of(org, Role.MANAGER, reveal=False)
    mark = mark_of("hunter22hunter22")
    for sent, key in (
        ({"shared_secret": mark}, "shared_secret"),
        ({"context": {"wifi_password": mark_of("other")}}, "context"),
        ({"shared_secret": "short"}, "shared_secret"),
        ({"shared_secret": "with space in it"}, "shared_secret"),
        ({"shared_secret": "x" * 33}, "shared_secret"),
        ({"shared_secret": None}, "shared_secret"),
        ({"device_limit": -1}, "device_limit"),
        ({"device_limit": 10**30}, "device_limit"),
        ({"device_limit": "many"}, "device_limit"),
        ({"registration_enabled": "perhaps"}, "registration_enabled"),
        ({"context": []}, "context"),
        ({"context": {"a": "\x00"}}, "context"),
    ):
        answer = client.patch(path(org), sent, format="json")
        assert answer.status_code == 400, sent
        assert key is None or list(answer.json()) == [key]
    # At a place that is not secret a mark stands for nothing but itself.
    client.patch(path(org), {"context": {**CONTEXT, "note": mark}}, format="json")
    assert "hunter22hunter22" not in str(stored(org).context.get("note"))


def test_limits_and_registration_change(org: Organization) -> None:
    client = client_of(org, Role.MANAGER, reveal=True)
    for _ in range(2):
        factories.device(org)
    assert list(client.patch(path(org), {"device_limit": 1}, format="json").json()) == ["device_limit"]
    sent = {"device_limit": None, "registration_enabled": False}
    assert client.patch(path(org), sent, format="json").json()["device_limit"] is None
    assert stored(org).registration_enabled is False


@pytest.mark.parametrize("reveal", [True, False])
def test_rotating_shows_the_new_secret_once(org: Organization, reveal: bool) -> None:
    client = client_of(org, Role.MANAGER, reveal=reveal)
    answer = client.post(path(org, "rotate-secret/"))
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    secret = answer.json()["shared_secret"]
    kept = stored(org).shared_secret
    assert kept != "the-shared-secret" and secret == (kept if reveal else mark_of(kept))
    assert (kept in client.get(path(org)).content.decode()) is reveal
    assert kept not in str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_settings_are_for_managers(org: Organization, role: str) -> None:
    client: Any = client_of(org, role, reveal=True)
    answers = (client.get(path(org)), client.patch(path(org)), client.post(path(org, "rotate-secret/")))
    assert [answer.status_code for answer in answers] == [403, 403, 403]
