"""Devices of a site at the agent's door: expected by serial number, suspended, blocked, decommissioned."""

import io
import tarfile
from typing import Any

import pytest

from config_merge.delivery.states import OPEN
from config_merge.models import Cause, Config, ConfigRevision, ConfigTask, Hold, Managed, SiteDevice, Status
from config_merge.pub_v1 import answers
from config_merge.services import configs, places, recompute, sites
from core.errors import Forbidden
from devices.models import Device
from devices.queries import with_presence
from tenancy.models import AuditEvent, Organization
from tests import factories
from tests.config_merge.agent.conftest import MAC, Agent, ThinDoor

NTP = "etc/config/ntp"


@pytest.fixture
def place(organization: Organization) -> SiteDevice:
    """A device that was added by serial number and MAC address, and never called."""
    site = sites.site_create(organization=organization, name="Vilnius")
    sites.site_settings_change(site, {"ntp/server": {"value": "one"}}, version=None)
    return places.place_create(site, serial="0000022", mac_address=MAC, name="ap")


@pytest.fixture
def calling(agent: Agent, place: SiteDevice) -> Agent:
    """The agent of that device, which has applied what it was given."""
    assert agent.register(key=place.device.key, name="ap").status == 201
    assert agent.get("checksum").status == 200
    assert agent.post("report-status", status="applied").status == 200
    return agent


def site_says(place: SiteDevice, value: str) -> None:
    place.site.refresh_from_db()
    sites.site_settings_change(place.site, {"ntp/server": {"value": value}}, version=None)
    recompute.drain()


def files(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]


def fresh(place: SiteDevice) -> SiteDevice:
    rows = SiteDevice.objects.select_related("site", "device__config")
    return with_presence(rows, path="device__").get(pk=place.pk)


# --- registration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knows_its_key", [True, False])
def test_an_expected_device_registers(agent: Agent, place: SiteDevice, knows_its_key: bool) -> None:
    assert answers.device_body(fresh(place))["state_id"] == "STATE_PENDING"
    given = {"key": place.device.key} if knows_its_key else {}
    answered = agent.register(name="ap", mac_address=MAC.lower(), **given)
    assert answered.status == 201
    assert "is-new: 0" in answered.lines
    assert agent.device.pk == place.device_id
    assert agent.key == place.device.key
    assert answers.device_body(fresh(place))["state_id"] == "STATE_REGISTERED"
    assert fresh(place).registered_at is not None
    assert "'one'" in files(agent.get("download-config").body)[NTP]
    events = AuditEvent.objects.filter(action="device.registered", target_id=str(place.device_id))
    assert events.count() == 1
    first = fresh(place).registered_at
    assert agent.register(name="ap", key=agent.key).status == 201
    assert (fresh(place).registered_at, events.count()) == (first, 1)


def test_an_expected_device_is_called_what_people_called_it(agent: Agent, place: SiteDevice) -> None:
    """Devices out of one box call themselves alike; the second would be refused for a name that is taken."""
    factories.configured(place.site.organization, name="openwrt-ap")
    for _ in range(2):
        assert agent.register(name="openwrt-ap", key=place.device.key, os="OpenWrt 23.05.2").status == 201
        assert (agent.device.pk, agent.device.name) == (place.device_id, "ap")
        assert agent.device.os == "OpenWrt 23.05.2"


def test_who_has_called_is_not_found_by_its_address_alone(calling: Agent) -> None:
    answered = calling.register(name="thief")
    assert answered.status == 400
    assert b"already exists" in answered.body


def test_another_organizations_secret_does_not_find_it(agent: Agent, place: SiteDevice) -> None:
    agent.organization = factories.organization("other")
    assert "is-new: 1" in agent.register(name="ap").lines
    assert agent.device.pk != place.device_id
    assert fresh(place).registered_at is None


# --- suspended --------------------------------------------------------------------------------------------------------


def test_a_suspended_device_stays_with_what_it_applied(calling: Agent, place: SiteDevice) -> None:
    applied = calling.get("checksum").body
    places.place_update(place, is_suspended=True)
    site_says(place, "two")
    assert calling.config.hold == Hold.SUSPENDED
    assert calling.get("checksum").body == applied
    assert "'one'" in files(calling.get("download-config").body)[NTP]
    places.place_update(place, is_suspended=False)
    assert calling.config.hold == ""
    assert calling.get("checksum").body != applied
    assert "'two'" in files(calling.get("download-config").body)[NTP]


def test_a_change_on_its_way_stops_at_the_suspension(calling: Agent, place: SiteDevice) -> None:
    applied = calling.get("checksum").body
    site_says(place, "two")
    assert calling.config.checksum != applied.decode()
    places.place_update(place, is_suspended=True)
    for _ in range(2):
        assert calling.get("checksum").body == applied
        assert "'one'" in files(calling.get("download-config").body)[NTP]
    etag = f'"{applied.decode()}"'
    path = f"/controller/download-config/{calling.id}/"
    assert calling.send("GET", path, {"key": calling.key}, {"If-None-Match": etag}).status == 304


def test_what_a_suspended_device_applied_may_be_gone(calling: Agent, place: SiteDevice) -> None:
    applied = calling.get("checksum").body
    site_says(place, "two")
    places.place_update(place, is_suspended=True)
    ConfigRevision.objects.filter(checksum=applied.decode()).delete()
    assert calling.get("checksum").body == applied
    answered = calling.get("download-config")
    assert (answered.status, answered.headers["retry-after"]) == (503, "60")


def test_a_suspended_device_that_has_applied_nothing_gets_nothing(agent: Agent, place: SiteDevice) -> None:
    places.place_update(place, is_suspended=True)
    assert agent.register(key=place.device.key, name="elsewhere").status == 201
    assert agent.device.name == "ap"
    for what in ("checksum", "download-config"):
        answered = agent.get(what)
        assert (answered.status, answered.headers["retry-after"]) == (503, "60")


def test_nothing_a_suspended_device_says_is_processed(calling: Agent, place: SiteDevice) -> None:
    site_says(place, "two")
    places.place_update(place, is_suspended=True)
    before = calling.config
    for form in (
        {"status": "applied"},
        {"status": "error", "error_reason": "no"},
        {"status": "applied", "checksum": "0" * 32},
    ):
        answered = calling.post("report-status", **form)
        assert answered.status == 200
        assert answered.lines[:2] == ["report-result: success", f"current-status: {Status.MODIFIED}"]
    assert calling.post("report-status", status="nonsense").status == 403
    assert calling.post("update-info", model="other").status == 200
    after = calling.config
    assert (after.status, after.applied_checksum, after.error_reason) == (
        before.status, before.applied_checksum, before.error_reason,
    )  # fmt: skip
    assert calling.device.model == ""


def test_a_suspension_holds_templates_too(calling: Agent, place: SiteDevice) -> None:
    places.device_manage(place.device, by=Managed.TEMPLATES)
    calling.post("report-status", status="applied")
    applied = calling.get("checksum").body
    places.place_update(place, is_suspended=True)
    configs.config_update(calling.config, config={"general": {"timezone": "UTC"}})
    assert calling.config.checksum != applied.decode()
    assert calling.get("checksum").body == applied


def test_a_warm_poll_of_a_suspended_device_costs_one_statement(
    calling: Agent, place: SiteDevice, django_assert_num_queries: Any
) -> None:
    site_says(place, "two")
    places.place_update(place, is_suspended=True)
    calling.get("checksum")
    with django_assert_num_queries(0 if isinstance(calling.door, ThinDoor) else 1):
        assert calling.get("checksum").status == 200


# --- blocked and decommissioned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["is_blocked", "is_retired"])
def test_who_is_blocked_or_decommissioned_is_not_known(calling: Agent, place: SiteDevice, flag: str) -> None:
    seen = calling.device.last_seen
    places.place_update(place, **{flag: True})
    for answered in (
        calling.get("checksum"),
        calling.get("download-config"),
        calling.post("report-status", status="applied"),
        calling.post("update-info", model="x"),
    ):
        assert (answered.status, answered.body) == (404, b"error: not found\n")
    assert calling.device.last_seen == seen
    places.place_update(place, **{flag: False})
    assert calling.config.hold == ""
    assert calling.get("checksum").status == 200


@pytest.mark.parametrize("how", ["managed", "edited"])
def test_the_first_configuration_of_a_blocked_device_is_not_sent(
    organization: Organization, how: str
) -> None:
    """What holds it stands before the configuration is computed."""
    device = factories.device(organization)
    site = sites.site_create(organization=organization, name="Vilnius")
    places.placement_change(device, site=site)
    places.placement_change(device, is_blocked=True)
    if how == "managed":
        places.device_manage(device, by=Managed.SITE)
    else:
        configs.managed_device_update(device, config={"config": factories.interface()})
    assert factories.config_of(device).hold == Hold.BLOCKED
    assert not ConfigTask.objects.exists()
    places.placement_change(device, is_blocked=False)
    assert ConfigTask.objects.filter(device=device, state__in=OPEN).count() == 1


def test_a_blocked_device_cannot_register_again(calling: Agent, place: SiteDevice) -> None:
    places.place_update(place, is_blocked=True)
    assert calling.register(key=calling.key, name="ap").status == 403
    places.place_update(place, is_suspended=True)
    assert calling.config.hold == Hold.BLOCKED
    places.place_update(place, is_blocked=False)
    assert calling.config.hold == Hold.SUSPENDED
    assert calling.register(key=calling.key, name="ap").status == 201


def test_the_serial_and_the_address_of_a_decommissioned_device_are_free(
    calling: Agent, place: SiteDevice
) -> None:
    key = calling.key
    places.place_update(place, is_retired=True)
    old = calling.device
    assert (old.mac_address, old.name, old.is_retired) == (MAC, "ap", True)
    again = places.place_create(place.site, serial="0000022", mac_address=MAC, name="ap")
    assert again.device_id != place.device_id
    assert calling.register(key=key, name="ap").status == 201
    assert calling.device.pk == again.device_id
    assert calling.get("checksum").status == 200
    # Its history is kept; it cannot come back while another has its place.
    assert ConfigRevision.objects.filter(config__device=old).exists()
    with pytest.raises(Exception, match="serial number"):
        places.place_update(fresh(place), is_retired=False)
    configs.device_delete(again.device, force=True)
    places.place_update(fresh(place), is_retired=False)
    assert calling.register(key=key, name="ap").status == 201
    assert calling.device.pk == old.pk


def test_a_decommissioned_device_can_register_as_a_new_one(calling: Agent, place: SiteDevice) -> None:
    key = calling.key
    places.place_update(place, is_retired=True)
    assert "is-new: 1" in calling.register(key=key, name="ap").lines
    assert Device.objects.filter(mac_address=MAC).count() == 2


def test_a_decommissioned_device_is_read_only_and_takes_no_licence(calling: Agent, place: SiteDevice) -> None:
    factories.fleet_of(calling.organization, device_limit=1)
    places.place_update(place, is_retired=True)
    row = fresh(place)
    for change in (
        lambda: places.place_update(row, name="x"),
        lambda: places.place_update(row, is_suspended=True),
        lambda: places.place_settings_change(row, {}, version=None),
        lambda: places.device_manage(row.device, by=Managed.TEMPLATES),
        lambda: places.device_join(row.device, row.site),
        lambda: configs.managed_device_update(row.device, notes="x"),
        lambda: configs.config_update(Config.objects.get(device=row.device), context={"a": "b"}),
    ):
        with pytest.raises(Forbidden, match="decommissioned"):
            change()
    # To say again what it is, is no change; a PUT may be repeated.
    places.place_update(row, is_retired=True, name="ap")
    number = calling.config.revision_number
    site_says(place, "two")
    assert calling.config.revision_number == number
    factories.device(calling.organization)
    configs.device_delete(row.device)
    assert not SiteDevice.objects.filter(pk=place.pk).exists()


def test_what_holds_a_device_is_copied_wherever_it_changes(organization: Organization) -> None:
    site = sites.site_create(organization=organization, name="s")
    bare = factories.device(organization)
    place = places.device_join(bare, site)
    places.place_update(place, is_blocked=True)
    configs.managed_device_update(bare, config={"context": {"a": "b"}})
    assert factories.config_of(bare).hold == Hold.BLOCKED
    other = factories.device(organization)
    places.place_update(places.device_join(other, site), is_suspended=True)
    places.device_manage(other, by=Managed.SITE)
    assert factories.config_of(other).hold == Hold.SUSPENDED
    configs.managed_device_update(other, organization=factories.organization())
    assert factories.config_of(other).hold == ""
    assert factories.config_of(other).stale_cause in Cause.values


# --- out of service ---------------------------------------------------------------------------------------------------

HOLDS = ("is_suspended", "is_blocked", "is_retired")


@pytest.mark.parametrize("managed_by", [Managed.SITE, Managed.TEMPLATES])
@pytest.mark.parametrize("flag", HOLDS)
@pytest.mark.parametrize("held_first", [True, False])
def test_a_held_device_that_is_deactivated_is_not_waited_for(
    calling: Agent, place: SiteDevice, managed_by: str, flag: str, held_first: bool
) -> None:
    config = Config.objects.get(device=place.device)
    configs.config_update(config, config={"general": {"description": "by hand"}})
    places.device_manage(place.device, by=managed_by)
    assert calling.get("checksum").status == 200
    calling.post("report-status", status="applied")
    Device.objects.filter(pk=place.device_id).update(management_ip="10.0.0.7")
    applied = Config.objects.get(pk=config.pk).applied_checksum
    if held_first:
        places.place_update(place, **{flag: True})
        configs.device_deactivate(place.device)
    else:
        configs.device_deactivate(place.device)
        assert Config.objects.get(pk=config.pk).status == Status.DEACTIVATING
        places.place_update(place, **{flag: True})
    after = Config.objects.get(pk=config.pk)
    assert (after.status, after.applied_checksum) == (Status.DEACTIVATED, applied)
    assert Device.objects.get(pk=place.device_id).management_ip is None
    assert not ConfigTask.objects.filter(device=place.device, state__in=OPEN).exists()
    assert calling.get("checksum").status == 404
    configs.device_delete(Device.objects.get(pk=place.device_id))


def test_a_device_that_is_deactivated_and_not_held_is_waited_for(calling: Agent, place: SiteDevice) -> None:
    configs.device_deactivate(place.device)
    places.place_update(place, inherits=False)
    config = Config.objects.get(device=place.device)
    assert config.status == Status.DEACTIVATING
    assert calling.get("checksum").body.decode() == config.checksum
    calling.post("report-status", status="applied")
    assert Config.objects.get(pk=config.pk).status == Status.DEACTIVATED


def test_who_was_deactivated_while_suspended_gets_everything_when_it_is_back(
    calling: Agent, place: SiteDevice
) -> None:
    places.place_update(place, is_suspended=True)
    configs.device_deactivate(place.device)
    places.place_update(place, is_suspended=False)
    assert calling.get("checksum").status == 404
    site_says(place, "two")
    configs.device_activate(Device.objects.get(pk=place.device_id))
    assert "two" in files(calling.get("download-config").body)[NTP]
    calling.post("report-status", status="applied")
    assert Config.objects.get(device=place.device).status == Status.APPLIED
