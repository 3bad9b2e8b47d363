"""Registration: list B of the peer's acceptance list (spec section 4)."""

import dataclasses
import hashlib
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge.models import Config, Template
from config_merge.services import configs, templates
from devices.models import Device
from devices.services import device_create, fleet_settings_update
from tenancy.models import Notification
from tenancy.services import organization_create, organization_update
from tests.config_merge.agent.conftest import MAC, Agent, django_door

HEADER = "x-openwisp-controller"


# The transaction itself, and the lock PostgreSQL needs to keep single devices and fleet-wide edits apart.
NOT_COUNTED = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SELECT pg_advisory")


def option(settings: Any, **changes: Any) -> None:
    settings.MUSTER = dataclasses.replace(settings.MUSTER, **changes)


def consistent(agent: Agent, identity: str = MAC) -> str:
    return hashlib.md5(f"{identity}+{agent.organization.fleet_settings.shared_secret}".encode()).hexdigest()


def test_a_new_device_gets_five_lines(agent: Agent) -> None:
    answered = agent.register(model="TP", os="OpenWrt 23.05", system="MT")
    device = agent.device
    assert (answered.status, answered.headers["content-type"], answered.headers[HEADER]) == (
        201,
        "text/plain",
        "true",
    )
    assert answered.lines == [
        "registration-result: success",
        f"uuid: {device.pk.hex}",
        f"key: {device.key}",
        f"hostname: {device.name}",
        "is-new: 1",
        "",
    ]
    assert (device.last_ip, device.model, device.os, device.system) == (
        "10.9.9.9",
        "TP",
        "OpenWrt 23.05",
        "MT",
    )
    assert agent.config.backend == "netjsonconfig.OpenWrt"


@pytest.mark.parametrize(
    "path", ["/controller/register", "/controller/device/register/", "/controller/register/"]
)
def test_every_form_of_the_path_registers(agent: Agent, path: str) -> None:
    data = {
        "secret": agent.organization.fleet_settings.shared_secret,
        "name": "ap1",
        "mac_address": MAC,
        "backend": "netjsonconfig.OpenWisp",
    }
    assert agent.send("POST", path, data).status == 201
    assert Config.objects.get().backend == "netjsonconfig.OpenWisp"


@pytest.mark.parametrize("name", ["secret", "name", "mac_address", "backend"])
@pytest.mark.parametrize("value", [None, ""])
def test_required_parameters_are_named(agent: Agent, name: str, value: str | None) -> None:
    answered = agent.register(**{name: value})
    assert (answered.status, answered.body) == (400, f'error: missing required parameter "{name}"\n'.encode())
    assert answered.headers[HEADER] == "true"


def test_get_is_405(agent: Agent) -> None:
    answered = agent.send("GET", "/controller/register/")
    assert (answered.status, answered.headers[HEADER], answered.headers["allow"]) == (405, "true", "POST")


def test_wrong_secret_and_disabled_organization_answer_alike(agent: Agent) -> None:
    wrong = agent.register(secret="nonsense")
    organization_update(agent.organization, is_active=False)
    disabled = agent.register()
    assert (
        (wrong.status, wrong.body) == (disabled.status, disabled.body) == (403, b"error: unrecognized secret")
    )


def test_registration_can_be_switched_off_for_one_organization_or_for_all(
    agent: Agent, settings: Any
) -> None:
    fleet_settings_update(agent.organization.fleet_settings, registration_enabled=False)
    assert (agent.register().status, agent.register().body) == (403, b"error: registration disabled")
    fleet_settings_update(agent.organization.fleet_settings, registration_enabled=True)
    option(settings, registration_enabled=False)
    assert (agent.register(secret=None).status, agent.register().body) == (
        403,
        b"error: registration disabled",
    )
    assert not Device.objects.exists()


def test_an_unknown_backend_is_refused(agent: Agent) -> None:
    answered = agent.register(backend="os.system")
    assert answered.status == 403
    assert b"backend" in answered.body


def test_only_the_allowed_fields_are_taken(agent: Agent) -> None:
    foreign = organization_create(slug="foreign")
    chosen = "11111111-1111-4111-8111-111111111111"
    agent.register(
        organization=str(foreign.pk), organization_id=str(foreign.pk), id=chosen, notes="x", group=chosen,
        is_deactivated="1", last_ip="1.2.3.4", created="2000-01-01",
    )  # fmt: skip
    device = Device.objects.get()
    assert device.organization == agent.organization
    assert (str(device.pk) == chosen, device.notes, device.group, device.is_deactivated) == (
        False,
        "",
        None,
        False,
    )
    assert device.last_ip == "10.9.9.9"


def test_a_taken_mac_is_refused_whole(agent: Agent) -> None:
    agent.register()
    again = agent.register(key="a" * 32, name="other")
    assert again.status == 400
    assert b"already exists" in again.body
    assert (Device.objects.count(), Config.objects.count(), Notification.objects.count()) == (1, 1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "no spaces allowed"}, {"mac_address": "00:11"}, {"key": "a b"}, {"key": "k" * 65}, {"model": "m" * 65},
        {"name": "x" * 65}, {"hardware_id": "h" * 33}, {"name": "a\x00b"}, {"tags": "\x00"},
    ],
)  # fmt: skip
def test_invalid_fields_are_400_and_nothing_is_kept(agent: Agent, bad: dict[str, str]) -> None:
    answered = agent.register(**bad)
    assert (answered.status, answered.headers["content-type"]) == (400, "text/plain")
    assert answered.body
    assert not Device.objects.exists()


def test_a_consistent_key_comes_back_as_the_same_device(agent: Agent) -> None:
    first = agent.register(key=consistent(agent))
    assert agent.device.key == consistent(agent)
    again = agent.register(key=consistent(agent), model="new", os="OpenWrt 24", system="ARM", name="renamed")
    assert (first.lines[4], again.status, again.lines[4]) == ("is-new: 1", 201, "is-new: 0")
    assert first.lines[1] == again.lines[1]
    device = agent.device
    assert (device.model, device.os, device.system, device.name) == ("new", "OpenWrt 24", "ARM", "renamed")


@pytest.mark.parametrize("name", [MAC, MAC.lower(), MAC.replace(":", "-"), MAC.replace(":", "").lower()])
def test_the_mac_as_name_does_not_rename(agent: Agent, name: str) -> None:
    agent.register(key=consistent(agent), name="ap1")
    agent.register(key=consistent(agent), name=name)
    assert agent.device.name == "ap1"


def test_without_a_sent_key_the_computed_one_is_given(agent: Agent) -> None:
    agent.register()
    assert agent.device.key == consistent(agent)


def test_a_key_of_another_organization_opens_nothing(agent: Agent) -> None:
    foreign = organization_create(slug="foreign")
    theirs = device_create(organization=foreign, name="theirs", mac_address="00:11:22:33:44:55")
    answered = agent.register(key=theirs.key, model="taken over")
    assert answered.status == 400
    theirs.refresh_from_db()
    assert theirs.model == ""
    assert Device.objects.count() == 1


def test_a_returning_device_without_configuration_gets_one(agent: Agent) -> None:
    device = device_create(organization=agent.organization, name="ap1", mac_address=MAC)
    assert device.key == consistent(agent)
    answered = agent.register(key=consistent(agent))
    assert (answered.status, answered.lines[1], answered.lines[4]) == (
        201,
        f"uuid: {device.pk.hex}",
        "is-new: 0",
    )
    assert agent.config.backend == "netjsonconfig.OpenWrt"
    assert agent.get("checksum").status == 200


def test_without_consistent_registration_the_sent_key_is_ignored(agent: Agent, settings: Any) -> None:
    option(settings, consistent_registration=False)
    agent.register(key=consistent(agent))
    assert agent.device.key != consistent(agent)
    assert agent.register(key=consistent(agent)).status == 400


def test_without_self_creation_only_known_devices_get_in(agent: Agent, settings: Any) -> None:
    option(settings, registration_self_creation=False)
    unknown = agent.register(key=consistent(agent))
    assert (unknown.status, unknown.headers["content-type"], unknown.headers[HEADER]) == (
        404,
        "text/plain",
        "true",
    )
    device_create(organization=agent.organization, name="ap1", mac_address=MAC)
    assert agent.register(key=consistent(agent)).status == 201


def test_a_deactivated_device_is_refused_and_untouched(agent: Agent) -> None:
    agent.register(key=consistent(agent))
    configs.device_deactivate(agent.device)
    answered = agent.register(key=consistent(agent), model="new")
    assert (answered.status, answered.body) == (403, b"error: device deactivated")
    assert agent.device.model == ""


@pytest.mark.parametrize(("limit", "admitted"), [(0, True), (1, True), (None, False)])
def test_the_device_limit(agent: Agent, limit: int | None, admitted: bool) -> None:
    fleet_settings_update(agent.organization.fleet_settings, device_limit=limit)
    first = agent.register()
    assert (first.status == 201) == admitted
    second = agent.register(name="ap2", mac_address="00:11:22:33:44:66")
    assert (second.status == 201) == (limit == 0)
    if limit != 0:
        assert b"Acme" in second.body
        assert Device.objects.count() == int(admitted)


def test_tags_attach_own_and_shared_templates_only(agent: Agent) -> None:
    foreign = organization_create(slug="foreign")
    config = {"general": {"timezone": "UTC"}}
    for name, owner, tags in (
        ("own", agent.organization, ["mesh"]),
        ("shared", None, ["mesh", "x"]),
        ("foreign", foreign, ["mesh"]),
        ("untagged", agent.organization, []),
    ):
        templates.template_create(organization=owner, name=name, tags=tags, config=config)
    agent.register(tags="mesh  other")
    assert sorted(agent.config.templates.values_list("name", flat=True)) == ["own", "shared"]


def test_default_templates_come_by_backend_required_first(agent: Agent) -> None:
    config = {"general": {"hostname": "router", "timezone": "UTC"}}
    foreign = organization_create(slug="foreign")
    for name, changes in {
        "b-default": {"default": True}, "a-default": {"default": True}, "z-required": {"required": True},
        "y-shared": {"required": True, "organization": None},
        "wisp": {"default": True, "backend": "netjsonconfig.OpenWisp"},
        "foreign": {"default": True, "organization": foreign}, "plain": {}, "tagged": {"tags": ["t"]},
    }.items():  # fmt: skip
        templates.template_create(
            **({"organization": agent.organization, "name": name, "config": config} | changes)
        )
    agent.register(tags="t")
    names = [row.template.name for row in agent.config.config_templates.select_related("template")]
    assert names == ["y-shared", "z-required", "a-default", "b-default", "tagged"]
    assert Template.objects.get(name="z-required").default


def test_an_empty_hardware_id_is_null(agent: Agent) -> None:
    agent.register(hardware_id="")
    assert agent.device.hardware_id is None


def test_people_are_told(agent: Agent) -> None:
    agent.register(key=consistent(agent))
    agent.register(key=consistent(agent))
    told = list(Notification.objects.filter(kind="device_registered").order_by("created"))
    assert [row.target_id for row in told] == [agent.device.pk] * 2
    assert {row.organization_id for row in told} == {agent.organization.pk}


def test_a_new_device_costs_six_statements(organization: Any) -> None:
    templates.template_create(
        organization=organization, name="t", default=True, config={"general": {"timezone": "UTC"}}
    )
    agent = Agent(django_door, organization)
    assert organization.fleet_settings.shared_secret
    with CaptureQueriesContext(connection) as captured:
        assert agent.register(key="k" * 32).status == 201
    statements = [q["sql"] for q in captured if not q["sql"].startswith(NOT_COUNTED)]
    assert len(statements) <= 6, statements


def test_a_multipart_form_registers_too(organization: Any, client: Any) -> None:
    data = {
        "secret": organization.fleet_settings.shared_secret,
        "name": "ap1",
        "mac_address": MAC,
        "backend": "netjsonconfig.OpenWrt",
    }
    assert client.post("/controller/register/", data).status_code == 201


def test_an_oversized_body_is_refused(agent: Agent) -> None:
    assert agent.register(notes="x" * 100_000).status == 413
    assert not Device.objects.exists()
