"""The boot dialect knows keys, and a key sees what is its own alone: every route, every method, every role."""

import json
from typing import Any

import pytest
from django.test import Client

from boot import services
from boot.messages import METHODS as ROUTES
from core import quotas
from core.clock import now
from tenancy.models import ApiKey, Organization, Role, User
from tests import factories
from tests.isolation.walker import METHODS
from tests.isolation.world import ANONYMOUS, MEMBERS, ROLES, World, snapshot, text_of, undone
from tracking import services as tracking

pytestmark = pytest.mark.django_db
PATHS = {
    "ping": "/ping", "boot": "/boot/{device}/config", "images": "/images/own/{device}", "track_list": "/track",
    "track": "/track/{device}",
}  # fmt: skip
_client = Client()


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    quotas.windows().storage.reset()


def filled(user: User, organization: Organization, *, name: str) -> tuple[ApiKey, str]:
    """Return a key under which a device is configured and tracked, both saying the organization's name."""
    row, text = factories.api_key(user, organization)
    for device in ("shared", f"only-{name}"):
        services.boot_config_set(api_key_id=row.pk, device=device, document={"config": f"secret of {name}"})
        tracking.track(
            api_key_id=row.pk,
            organization_id=organization.pk,
            device=device,
            info=f"hello of {name}",
            at=now(),
        )
    return row, text


def ask(method: str, name: str, device: str, rows: Any, **headers: str) -> tuple[int, str, bool]:
    """Send one request and undo it; returns status, text and whether it changed anything."""
    body = {"boot": {"config": "x"}, "track": {"info": "x"}}.get(name, {})
    sent = "" if method in ("GET", "HEAD", "TRACE", "DELETE") else json.dumps(body)
    with undone() as watch:
        path = PATHS[name].format(device=device)
        answer = _client.generic(method, path, sent, content_type="application/json", **headers)
        return answer.status_code, text_of(answer), watch.changed(rows)


def test_every_route_of_the_dialect_is_walked() -> None:
    assert PATHS.keys() == ROUTES.keys()


@pytest.mark.parametrize("name", sorted(PATHS))
def test_being_somebody_opens_nothing(world: World, name: str) -> None:
    filled(world.people[Role.OWNER], world.own.organization, name="own")
    rows = snapshot()
    for role in ROLES:
        headers = {} if role == ANONYMOUS else {"HTTP_AUTHORIZATION": f"Bearer {world.secrets[role]}"}
        for method in METHODS:
            status, text, changed = ask(method, name, "shared", rows, **headers)
            allowed = method in ROUTES[name]
            assert status == (405 if not allowed else 200 if name == "ping" else 400), (role, method)
            assert not changed and "secret" not in text and "hello" not in text


@pytest.mark.parametrize("name", sorted(set(PATHS) - {"ping"}))
def test_a_key_opens_its_own_rows_only(world: World, name: str) -> None:
    owner = factories.user(role=Role.OWNER, organization=world.foreign.organization)
    filled(owner, world.foreign.organization, name="foreign")
    neighbour = factories.user(role=Role.OWNER, organization=world.own.organization)
    filled(neighbour, world.own.organization, name="neighbour")
    keys = {role: filled(world.people[role], world.own.organization, name=role)[1] for role in MEMBERS}
    ApiKey.objects.update(last_used=now())
    rows = snapshot()
    for role, key in keys.items():
        for method in METHODS:
            for device in ("shared", "only-foreign", "only-neighbour", "nobodys"):
                status, text, changed = ask(method, name, device, rows, HTTP_X_API_KEY=key)
                assert "foreign" not in text and "neighbour" not in text, (role, method, device)
                assert world.leaked(text) == []
                if method not in ROUTES[name]:
                    assert (status, changed) == (405, False)
                elif name == "boot" and method in ("POST", "DELETE"):
                    may = role != Role.VIEWER
                    assert (status, changed) == (200 if may else 403, may), (role, method, device)
                elif name == "boot":
                    assert status == (200 if device == "shared" else 404)
                elif name == "images":
                    assert status == 404
                else:
                    assert status == 200


def test_what_a_key_does_to_an_id_leaves_that_id_of_others_alone(world: World) -> None:
    one, text = filled(world.people[Role.OWNER], world.own.organization, name="own")
    owner = factories.user(role=Role.OWNER, organization=world.foreign.organization)
    other, theirs = filled(owner, world.foreign.organization, name="foreign")
    for method, body in (("POST", '{"config": "mine"}'), ("DELETE", "")):
        _client.generic(
            method, "/boot/shared/config", body, content_type="application/json", HTTP_X_API_KEY=text
        )
    assert _client.get("/boot/shared/config", HTTP_X_API_KEY=theirs).json()["config"] == "secret of foreign"
    assert len(_client.get("/track/shared", HTTP_X_API_KEY=theirs).json()) == 2
    assert len(_client.get("/track/shared", HTTP_X_API_KEY=text).json()) == 3
    assert one.pk != other.pk
