"""Checksum and download: list A of the peer's acceptance list (spec section 4)."""

import dataclasses
import hashlib
import io
import tarfile
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge.agent import presence
from config_merge.models import Config
from config_merge.services import configs, recompute, templates
from devices.models import Device
from devices.services import fleet_settings_update, group_create
from tenancy.models import Organization
from tenancy.services import organization_create, organization_update
from tests.config_merge.agent.conftest import Agent, ThinDoor

HEADER = "x-openwisp-controller"


def test_a_checksum_is_32_hex_digits_without_newline(registered: Agent) -> None:
    answered = registered.get("checksum")
    assert (answered.status, answered.headers[HEADER], answered.headers["content-type"]) == (
        200,
        "true",
        "text/plain",
    )
    assert len(answered.body) == 32
    int(answered.body, 16)


@pytest.mark.parametrize("prefix", ["/controller/", "/controller/device/"])
@pytest.mark.parametrize("dashed", [False, True])
@pytest.mark.parametrize("slash", ["/", ""])
def test_both_paths_and_both_id_forms_answer_without_redirect(
    registered: Agent, prefix: str, dashed: bool, slash: str
) -> None:
    name = str(registered.device.pk) if dashed else registered.device.pk.hex
    for what in ("checksum", "download-config"):
        answered = registered.send("GET", f"{prefix}{what}/{name}{slash}", {"key": registered.key})
        assert answered.status == 200


def test_head_answers_with_an_empty_body(registered: Agent) -> None:
    answered = registered.send("HEAD", f"/controller/checksum/{registered.id}/", {"key": registered.key})
    assert (answered.status, answered.body) == (200, b"")


@pytest.mark.parametrize("junk", ["x", "/more", "0"])
def test_junk_after_an_id_is_404_with_the_header(registered: Agent, junk: str) -> None:
    answered = registered.send("GET", f"/controller/checksum/{registered.id}{junk}/", {"key": registered.key})
    assert (answered.status, answered.headers[HEADER]) == (404, "true")


def test_the_key_is_asked_for_and_compared(registered: Agent) -> None:
    path = f"/controller/checksum/{registered.id}/"
    missing, empty = registered.send("GET", path), registered.send("GET", path, {"key": ""})
    wrong, method = (
        registered.send("GET", path, {"key": "no"}),
        registered.send("POST", path, {"key": registered.key}),
    )
    assert (missing.status, missing.body) == (400, b'error: missing required parameter "key"\n')
    assert empty.status == 400
    assert (wrong.status, wrong.body) == (403, b"error: wrong key\n")
    assert (method.status, method.headers["allow"]) == (405, "GET, HEAD")
    assert all(a.headers[HEADER] == "true" for a in (missing, empty, wrong, method))


def test_the_key_may_come_in_a_header(registered: Agent) -> None:
    path = f"/controller/checksum/{registered.id}/"
    assert registered.send("GET", path, headers={"X-Device-Key": registered.key}).status == 200
    assert registered.send("GET", path, headers={"X-Device-Key": "no"}).status == 403


def test_addresses_are_recorded_and_a_missing_management_ip_clears_it(registered: Agent) -> None:
    registered.get("checksum", management_ip="10.0.0.7")
    assert (registered.device.last_ip, registered.device.management_ip) == ("10.9.9.9", "10.0.0.7")
    registered.get("checksum")
    assert registered.device.management_ip is None


def test_a_malformed_management_ip_is_not_stored(registered: Agent) -> None:
    assert registered.get("checksum", management_ip="notanip").status == 200
    assert registered.device.management_ip is None


def test_the_archive_has_the_checksum_and_stays_the_same(registered: Agent) -> None:
    checksum = registered.get("checksum").body.decode()
    first, second = registered.get("download-config"), registered.get("download-config")
    assert hashlib.md5(first.body).hexdigest() == checksum
    assert first.body == second.body
    assert first.headers["content-type"] == "application/octet-stream"
    assert first.headers["content-disposition"] == f"attachment; filename={registered.device.name}.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(first.body)) as archive:
        assert archive.getnames() == ["etc/config/system"]
        assert b"00-11-22-AA-44-55" in archive.extractfile("etc/config/system").read()


def test_a_device_without_configuration_is_404(registered: Agent) -> None:
    Config.objects.all().delete()
    for answered in (
        registered.get("checksum"),
        registered.get("download-config"),
        registered.post("report-status", status="applied"),
    ):
        assert (answered.status, answered.headers[HEADER]) == (404, "true")


def test_a_disabled_organization_is_404_at_once(registered: Agent) -> None:
    assert registered.get("checksum").status == 200
    organization_update(registered.organization, is_active=False)
    assert registered.get("checksum").status == 404
    assert registered.get("download-config").status == 404
    organization_update(registered.organization, is_active=True)
    assert registered.get("checksum").status == 200


def test_deactivating_is_served_and_deactivated_is_not(registered: Agent) -> None:
    template = templates.template_create(
        organization=registered.organization, name="tz", default=True, config={"general": {"timezone": "UTC"}}
    )
    recompute.drain()
    before = registered.get("checksum").body
    configs.device_deactivate(registered.device)
    leaving = registered.get("checksum")
    assert leaving.status == 200
    assert leaving.body != before
    registered.post("report-status", status="applied")
    assert registered.get("checksum").status == 404
    assert template.pk


def other(registered: Agent, *, organization: Organization, mac: str) -> Agent:
    agent = Agent(registered.door, organization)
    assert agent.register(name=mac, mac_address=mac).status == 201
    return agent


def test_a_private_last_ip_belongs_to_the_latest_device(registered: Agent) -> None:
    second = other(registered, organization=registered.organization, mac="00:11:22:AA:44:66")
    registered.get("checksum")
    second.ip = "10.1.1.1"
    second.get("checksum")
    second.ip = registered.ip
    second.get("checksum")
    assert (registered.device.last_ip, second.device.last_ip) == (None, "10.9.9.9")


def test_a_public_last_ip_may_be_shared(registered: Agent) -> None:
    second = other(registered, organization=registered.organization, mac="00:11:22:AA:44:66")
    for agent in (registered, second):
        agent.ip = "1.1.1.1"
        agent.get("checksum")
    assert (registered.device.last_ip, second.device.last_ip) == ("1.1.1.1", "1.1.1.1")


@pytest.mark.parametrize("shared", [True, False])
def test_a_management_ip_is_unique_among_all_organizations_or_within_one(
    registered: Agent, settings: Any, shared: bool
) -> None:
    settings.MUSTER = dataclasses.replace(settings.MUSTER, shared_management_ip=shared)
    second = other(registered, organization=organization_create(slug="b"), mac="00:11:22:AA:44:66")
    registered.get("checksum", management_ip="10.0.0.7")
    second.get("checksum", management_ip="10.0.0.7")
    assert registered.device.management_ip == (None if shared else "10.0.0.7")
    assert second.device.management_ip == "10.0.0.7"


def test_a_warm_poll_costs_one_statement(registered: Agent, django_assert_num_queries: Any) -> None:
    registered.get("checksum")
    registered.get("download-config")
    # The thin door reads on a connection of its own, which Django does not count.
    allowed = 0 if isinstance(registered.door, ThinDoor) else 1
    with django_assert_num_queries(allowed):
        registered.get("checksum")
    with django_assert_num_queries(allowed):
        registered.get("download-config")


def test_every_rendered_change_changes_the_checksum_and_notes_do_not(registered: Agent) -> None:
    organization = registered.organization
    template = templates.template_create(
        organization=organization,
        name="vars",
        default=True,
        default_values={"tz": "UTC", "a": "0"},
        config={"general": {"timezone": "{{ tz }}", "description": "{{ a }} {{ os }}"}},
    )
    recompute.drain()
    group = group_create(organization=organization, name="g", context={"a": "group"})
    seen = {registered.get("checksum").body}

    def changed() -> bool:
        recompute.drain()
        body = registered.get("checksum").body
        fresh = body not in seen
        seen.add(body)
        return fresh

    configs.managed_device_update(registered.device, notes="only words")
    assert not changed()
    configs.managed_device_update(registered.device, name="renamed")
    assert changed()
    configs.managed_device_update(registered.device, group=group)
    assert changed()
    configs.managed_device_update(registered.device, config={"context": {"a": "device"}})
    assert changed()
    configs.managed_device_update(registered.device, config={"config": {"general": {"hostname": "own"}}})
    assert changed()
    fleet_settings_update(organization.fleet_settings, context={"tz": "Europe/Rome"})
    assert changed()
    templates.template_update(template, config={"general": {"timezone": "Asia/Tokyo"}})
    assert changed()
    bridge = {"interfaces": [{"type": "bridge", "name": "br0", "bridge_members": ["eth0"]}]}
    templates.template_update(template, config=bridge)
    assert changed()
    configs.managed_device_update(registered.device, os="OpenWrt 19.07.1 r10911")
    assert changed()


def test_equal_tags_answer_304(registered: Agent) -> None:
    for what in ("checksum", "download-config"):
        tag = registered.get(what).headers["etag"]
        path = f"/controller/{what}/{registered.id}/"
        again = registered.send("GET", path, {"key": registered.key}, {"If-None-Match": tag})
        assert (again.status, again.body, again.headers[HEADER]) == (304, b"", "true")
        other_tag = registered.send("GET", path, {"key": registered.key}, {"If-None-Match": '"no"'})
        assert other_tag.status == 200
        no_key = registered.send("GET", path, {}, {"If-None-Match": tag})
        assert no_key.status == 400


def test_polls_are_spread_by_a_hint(registered: Agent) -> None:
    hints = {int(registered.get("checksum").headers["x-muster-poll-after"]) for _ in range(40)}
    assert len(hints) > 3
    assert all(108 <= hint <= 132 for hint in hints)


def test_who_polls_is_seen_after_the_next_flush(registered: Agent) -> None:
    Device.objects.update(last_seen=None)
    registered.get("checksum")
    presence.flush()
    assert registered.device.last_seen is not None


def test_a_wrong_key_does_not_count_as_seen(registered: Agent) -> None:
    presence.flush()
    Device.objects.update(last_seen=None)
    registered.send("GET", f"/controller/checksum/{registered.id}/", {"key": "no"})
    presence.flush()
    assert registered.device.last_seen is None


def test_a_stale_configuration_is_computed_by_the_poll_itself(registered: Agent) -> None:
    before = registered.get("checksum").body
    templates.template_create(
        organization=registered.organization,
        name="tz",
        default=True,
        config={"general": {"timezone": "Asia/Tokyo"}},
    )
    assert registered.config.is_stale
    assert registered.get("checksum").body != before
    assert not registered.config.is_stale


@pytest.mark.parametrize(
    "path", ["", "nothing", "checksum", "checksum/", "register/x", "vpn/checksum/x", "%00", "é"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_unknown_paths_are_404_with_the_header(agent: Agent, path: str, method: str) -> None:
    answered = agent.send(method, f"/controller/{path}")
    assert (answered.status, answered.headers[HEADER]) == (404, "true")


def test_devices_behind_one_private_address_do_not_take_turns_writing_it(registered: Agent) -> None:
    second = other(registered, organization=registered.organization, mac="00:11:22:AA:44:66")
    for agent in (registered, second):
        agent.ip = "10.3.3.3"
        agent.get("checksum")
    assert (registered.device.last_ip, second.device.last_ip) == (None, "10.3.3.3")
    with CaptureQueriesContext(connection) as captured:
        for agent in (registered, second) * 3:
            assert agent.get("checksum").status == 200
    assert not [query for query in captured if "UPDATE" in query["sql"]]
    assert (registered.device.last_ip, second.device.last_ip) == (None, "10.3.3.3")
    registered.ip = "10.3.3.4"
    registered.get("checksum")
    assert registered.device.last_ip == "10.3.3.4"
