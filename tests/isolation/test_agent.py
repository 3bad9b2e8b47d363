"""The agent protocol knows keys, not people: nobody's sign-in opens it, and a key opens one device only."""

from typing import Any

import pytest
from django.test import Client

from config_merge.agent.messages import METHODS
from devices.models import Device
from tests import factories
from tests.isolation.world import ANONYMOUS, ROLES, World, text_of, undone

pytestmark = pytest.mark.django_db
POLLS = [name for name in METHODS if name != "register"]
PREFIXES = ("/controller/", "/controller/device/")
_client = Client()


def ask(
    world: World, operation: str, pk: Any, *, role: str = ANONYMOUS, prefix: str = PREFIXES[0], **fields: str
) -> Any:
    """Send one request of the protocol, undone; returns status, text and whether rows changed."""
    headers = {} if role == ANONYMOUS else {"HTTP_AUTHORIZATION": f"Bearer {world.secrets[role]}"}
    call = _client.get if "GET" in METHODS[operation] else _client.post
    path = f"{prefix}{operation}/" + (f"{pk}/" if pk else "")
    with undone() as watch:
        response = call(path, fields, **headers)
        return response.status_code, text_of(response), watch.changed(world.rows)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("operation", POLLS)
def test_being_somebody_opens_nothing(world: World, operation: str, prefix: str) -> None:
    for device, status in ((world.own.device.pk, 400), (world.foreign.device.pk, 400), (world.unknown, 404)):
        answers = {ask(world, operation, device, role=role, prefix=prefix) for role in ROLES}
        assert len(answers) == 1
        got, text, changed = answers.pop()
        assert (got, changed, world.leaked(text)) == (status, False, [])


@pytest.mark.parametrize("operation", POLLS)
def test_a_key_opens_its_own_device_only(world: World, operation: str) -> None:
    fields = {"status": "applied"} if operation == "report-status" else {}
    key = world.own.device.key
    for device, status in ((world.own.device.pk, 200), (world.foreign.device.pk, 403), (world.unknown, 404)):
        got, text, changed = ask(world, operation, device, key=key, **fields)
        assert (got, world.leaked(text)) == (status, [])
        assert not changed or status == 200


def test_a_secret_registers_into_its_own_organization_only(world: World) -> None:
    fields = {
        "secret": world.own.fleet.shared_secret,
        "name": "newcomer",
        "mac_address": factories.mac(),
        "backend": "netjsonconfig.OpenWrt",
        "organization": str(world.foreign.organization.pk),
        "organization_id": str(world.foreign.organization.pk),
        "group": str(world.foreign.group.pk),
        "tags": "bravo",
        "id": str(world.foreign.device.pk),
    }
    with undone():
        response = _client.post("/controller/register/", fields)
        assert response.status_code == 201
        assert world.leaked(text_of(response)) == []
        newcomer = Device.objects.get(name="newcomer")
        assert newcomer.organization == world.own.organization
        assert newcomer.group is None
        assert (
            not factories.config_of(newcomer)
            .templates.filter(organization=world.foreign.organization)
            .exists()
        )


def test_a_key_of_another_organization_is_not_taken_over(world: World) -> None:
    fields = {
        "secret": world.own.fleet.shared_secret,
        "key": world.foreign.device.key,
        "name": "taken-over",
        "mac_address": factories.mac(),
        "backend": "netjsonconfig.OpenWrt",
    }
    status, text, changed = ask(world, "register", None, **fields)
    assert (status >= 400, world.leaked(text), changed) == (True, [], False), text


@pytest.mark.parametrize("path", ["", "nothing/", "checksum/", "checksum/x/", "device/", "vpn/checksum/x/"])
def test_other_paths_are_nothing_at_all(world: World, path: str) -> None:
    for role in (ANONYMOUS, "owner"):
        headers = {} if role == ANONYMOUS else {"HTTP_AUTHORIZATION": f"Bearer {world.secrets[role]}"}
        assert _client.get(f"/controller/{path}", **headers).status_code == 404
