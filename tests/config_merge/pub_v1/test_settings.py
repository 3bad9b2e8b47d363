"""Settings through the cloud dialect: read, changed from a timestamp, merged, rendered."""

import io
import tarfile
from typing import Any

import pytest
from django.test import Client

from config_merge.models import Config, ConfigRevision, Managed, Site, SiteDevice
from config_merge.services import configs, places, recompute, revisions, sites
from core.redaction import is_mark
from tenancy.models import AuditEvent, Membership, Organization, Role
from tests import factories
from tests.config_merge.pub_v1.conftest import Cloud, cloud_of
from tests.config_merge.pub_v1.test_rooms import text

SSID = "wireless/1000000584"
OFFICE = {
    f"{SSID}/": {"value": "1000000584", "origin": "site"},
    f"{SSID}/ssid": {"value": "Office", "origin": "site"},
    f"{SSID}/key": {"value": "sitepass1", "origin": "site"},
}


def entry(value: Any, origin: str = "device") -> dict[str, Any]:
    return {"value": value, "origin": origin}


def at_site(cloud: Cloud, site: Site, changes: Any) -> Any:
    return cloud.change(f"site/{site.number}", changes)


def at_device(cloud: Cloud, place: SiteDevice, changes: Any) -> Any:
    return cloud.change(f"device/{place.number}", changes)


def files_of(place: SiteDevice) -> dict[str, str]:
    """Return what the device would download."""
    recompute.drain()
    archive = Config.objects.get(device_id=place.device_id).revision.artefact  # type: ignore[union-attr]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]


# --- the flow of the source document ----------------------------------------------------------------------------------


def test_a_device_overrides_a_setting(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    at_site(cloud, site, {"hotspot/landingURL": entry("https://a.example/", "site")})
    before = cloud.get(f"device/{place.number}/config-changes").json()
    assert list(before) == [
        "unfinishedTaskCount", "configSuspended", "configResync", "timestamp", "serverSideChanged", "site", "device",
        "defaults",
    ]  # fmt: skip
    assert before["device"] == {"hotspot/landingURL": entry("https://a.example/", "site")}
    sent = {
        "timestamp ": before["timestamp"],
        "changes": {"hotspot/landingURL": {"value ": "https://www/.ignitenet.com", "origin": "site-device"}},
    }
    after = cloud.ask("POST", f"device/{place.number}/config-changes", sent)
    assert after.status_code == 200
    assert after.json()["serverSideChanged"] is False
    assert after.json()["timestamp"] != before["timestamp"]
    assert after.json()["unfinishedTaskCount"] == 1
    assert files_of(place) == {
        "etc/config/hotspot": "config hotspot 'main'\n\toption landingURL 'https://www/.ignitenet.com'\n\n"
    }
    # What the site says from now on does not reach it.
    at_site(cloud, site, {"hotspot/landingURL": entry("https://b.example/", "site")})
    assert "www/" in files_of(place)["etc/config/hotspot"]
    assert cloud.get(f"devices/{place.number}/config").json() == {
        "hotspot/landingURL": entry("https://www/.ignitenet.com", "site-device")
    }


def test_a_site_reaches_its_devices(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    apart = places.place_create(site, serial="2", mac_address="00:00:00:00:00:18", inherits=False)
    # Neither has called yet.
    assert at_site(cloud, site, OFFICE).json()["unfinishedTaskCount"] == 2
    assert "option ssid 'Office'" in files_of(place)["etc/config/wireless"]
    assert files_of(apart) == {}
    assert ConfigRevision.objects.filter(config__device=place.device).count() == 2
    at_site(cloud, site, {f"{SSID}/": None})
    assert files_of(place) == {}


def test_a_new_site_offers_a_beginning(cloud: Cloud, site: Site) -> None:
    before = cloud.get(f"site/{site.number}/config-changes").json()
    assert before["initial"]["locale/code"] == entry("US", "site")
    assert at_site(cloud, site, before["initial"]).status_code == 200
    after = cloud.get(f"site/{site.number}/config-changes").json()
    assert "initial" not in after
    assert after["site"] == before["initial"]
    assert set(after["defaults"]) == {"ssid", "user", "lan"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"a/b": {"value": "1"}}, {"a/b": entry("1", "devcie")}, {"a/b": entry(True)}, {"a/b": entry(1)},
        {"a/b": entry({})}, {"/a/b": entry("1")}, {"a//b": entry("1")}, {"a b/c": entry("1")}, {"": entry("1")},
        {"wireless/guest-lan/x": entry("1")}, {"wireless/x/__uid": entry("1")},
        {"wireless/1000000009/ssid": entry("x")}, {"users/1/name": entry("root")},
        {"a/b": {"value": "1", "value ": "2", "origin": "device"}}, {"a/b": entry("\x01")}, {"a/b": entry(["1"])},
        [], "x", None,
    ],
)  # fmt: skip
def test_a_change_of_a_device_is_refused_whole(cloud: Cloud, place: SiteDevice, changes: Any) -> None:
    sent = {"ok/ok": entry("1"), **changes} if isinstance(changes, dict) else changes
    code, words = text(at_device(cloud, place, sent))
    assert code == 400
    assert words
    place.refresh_from_db()
    assert place.settings == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"a/b": entry("1", "device")}, {"wireless/12/ssid": entry("x", "site")},
        {"wireless/1000000000/ssid": entry("x", "site")}, {"users/1/name": entry("root", "site")},
        {"a/b": {"value": None}}, {"a/b": "1"}, {"a/b": {"value": True}}, {"a/b": {"value": 1}}, {"a/b": {"value": {}}},
        {"/a/b": {"value": "1"}}, {"a//b": {"value": "1"}}, {"a b/c": {"value": "1"}}, {"": {"value": "1"}},
        {"wireless/guest-lan/x": {"value": "1"}}, {"wireless/x/__uid": {"value": "1"}}, {"a/b": {"value": "\x01"}},
        {"wireless/007/ssid": {"value": "1"}}, {"a/b": {"value": "1", "value ": "2"}}, {"a/b": entry("1", "devcie")},
        {"a/b": entry("1", "site-device")}, {"a/b": {"value": "1", "color": "red"}},
    ],
)  # fmt: skip
def test_a_change_of_a_site_is_refused_whole(cloud: Cloud, site: Site, changes: Any) -> None:
    assert text(at_site(cloud, site, {"ok/ok": {"value": "1"}, **changes}))[0] == 400
    site.refresh_from_db()
    assert (site.settings, site.is_initialised) == ({}, False)


def test_what_is_accepted(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    user = {
        "users/385153371/": entry("385153371", "site"),
        "users/385153371/name": entry("root", "site"),
        "users/385153371/passwd": entry("s1", "site"),
    }
    assert at_site(cloud, site, {"wireless/1000000001/ssid": {"value": "x"}, **user}).status_code == 200
    assert at_device(cloud, place, {"wireless/12/": entry("12")}).status_code == 200
    changed = at_device(cloud, place, {"users/385153371/passwd": entry("d", "site-device")}).json()["device"]
    assert {
        key: each["origin"] for key, each in changed.items() if key.startswith("users/")
    } == dict.fromkeys(user, "site-device")


@pytest.mark.parametrize(
    "body", [{}, {"changes": {}}, {"timestamp": None, "changes": {}}, {"timestamp": "x"}, [], 5]
)
def test_a_change_needs_both_members(cloud: Cloud, site: Site, place: SiteDevice, body: Any) -> None:
    for path in (f"site/{site.number}", f"device/{place.number}"):
        assert text(cloud.ask("POST", f"{path}/config-changes", body))[0] == 400


def test_an_old_timestamp_changes_nothing(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    for path in (f"site/{site.number}", f"device/{place.number}"):
        old = cloud.get(f"{path}/config-changes").json()["timestamp"]
        origin = "site" if path.startswith("site") else "device"
        assert cloud.change(path, {"a/b": entry("1", origin)}).json()["serverSideChanged"] is False
        for stale in (old, "nonsense"):
            sent = {"timestamp": stale, "changes": {"a/b": entry("2", origin)}}
            late = cloud.ask("POST", f"{path}/config-changes", sent)
            assert late.status_code == 200
            assert late.json()["serverSideChanged"] is True
            assert late.json()["timestamp"] not in (old, stale)
            assert late.json()[origin]["a/b"]["value"] == "1"


def test_a_suspended_device_changes_nothing(cloud: Cloud, place: SiteDevice) -> None:
    places.place_update(place, is_suspended=True)
    answer = at_device(cloud, place, {"a/b": entry("1")})
    assert answer.status_code == 200
    assert (answer.json()["configSuspended"], answer.json()["device"]) == (True, {})


def test_a_suspended_device_keeps_what_it_has(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    at_site(cloud, site, {"ntp/server": entry("a", "site")})
    before = files_of(place)
    assert cloud.ask("PUT", f"device/{place.number}", {"suspend_config": True}).status_code == 200
    at_site(cloud, site, {"ntp/server": entry("b", "site")})
    assert files_of(place) == before
    assert cloud.ask("PUT", f"device/{place.number}", {"suspend_config": False}).status_code == 200
    assert "'b'" in files_of(place)["etc/config/ntp"]


def test_a_device_that_moves_to_another_organization_leaves_its_site(site: Site, place: SiteDevice) -> None:
    sites.site_settings_change(site, {"ntp/server": {"value": "secret.example"}}, version=None)
    other = factories.organization("cloud-b")
    configs.managed_device_update(place.device, organization=other)
    assert not SiteDevice.objects.exists()
    config = Config.objects.get(device=place.device)
    assert config.managed_by == Managed.TEMPLATES
    recompute.drain()
    assert b"secret.example" not in ConfigRevision.objects.get(config=config).artefact


def test_an_organization_is_deleted_with_its_sites(organization: Organization, place: SiteDevice) -> None:
    organization.delete()
    assert not Site.objects.exists()


def test_the_explanation_of_a_device_names_the_level_of_each_setting(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    at_site(cloud, site, {**OFFICE, "ntp/server": entry("a", "site")})
    at_device(cloud, place, {"ntp/server": entry("b", "site-device")})
    client = Client(**factories.bearer(factories.superuser()))
    body = client.get(f"/api/v1/controller/device/{place.device_id}/effective/").json()
    (leaf,) = [each for each in body["leaves"] if each["path"] == "/ntp~1server"]
    assert (leaf["value"], leaf["source"]["layer"]) == ("b", "device")
    assert [(each["source"]["layer"], each["value"]) for each in leaf["shadowed"]] == [("site", "a")]
    blind = Client(**factories.bearer(factories.user(role=Role.VIEWER, organization=cloud.organization)))
    shown = blind.get(f"/api/v1/controller/device/{place.device_id}/effective/").content.decode()
    assert "sitepass1" not in shown
    assert "Office" in shown
    browser = Client()
    browser.force_login(factories.superuser())
    page = browser.get(f"/admin/devices/device/{place.device_id}/effective/")
    assert page.status_code == 200
    assert "Vilnius" in page.content.decode()


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_who_may_not_see_secrets_sees_marks_and_sends_them_back(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    at_site(cloud, site, OFFICE)
    guest = cloud_of(cloud.organization, Role.VIEWER)
    blind = cloud_of(cloud.organization, Role.OPERATOR)
    Membership.objects.filter(role=Role.OPERATOR).update(can_reveal=False)
    for path in (
        f"site/{site.number}/config-changes",
        f"device/{place.number}/config-changes",
        f"device/{place.number}/config",
    ):
        assert "sitepass1" in cloud.get(path).content.decode()
        for other in (guest, blind):
            assert "sitepass1" not in other.get(path).content.decode()
    shown = blind.get(f"device/{place.number}/config-changes").json()["device"]
    assert is_mark(shown[f"{SSID}/key"]["value"])
    posted = {key: entry(each["value"], "site-device") for key, each in shown.items()}
    assert at_device(blind, place, posted).status_code == 200
    place.refresh_from_db()
    assert place.settings[f"{SSID}/key"]["value"] == "sitepass1"
    moved = at_device(blind, place, {"ntp/server": entry(shown[f"{SSID}/key"]["value"])})
    assert text(moved)[0] == 400
    assert AuditEvent.objects.filter(action="secret.revealed").exists()
    assert "sitepass1" not in str(list(AuditEvent.objects.values_list("changes", flat=True)))


# --- what a device is made of -----------------------------------------------------------------------------------------


def test_between_templates_and_site(cloud: Cloud, site: Site) -> None:
    device = factories.configured(cloud.organization, config={"config": {"general": {"timezone": "UTC"}}})
    place = places.device_join(device, site)
    at_site(cloud, site, {"ntp/server": entry("a", "site")})
    recompute.drain()
    assert "etc/config/system" in files_of(place)
    places.device_manage(device, by=Managed.SITE)
    assert set(files_of(place)) == {"etc/config/ntp"}
    places.device_manage(device, by=Managed.TEMPLATES)
    assert "etc/config/system" in files_of(place)
    restored = revisions.revision_restore(device, number=2)
    assert restored.identical
    assert set(files_of(place)) == {"etc/config/ntp"}


def test_variables_of_a_site_reach_its_devices_with_templates(cloud: Cloud, site: Site) -> None:
    template = factories.template(cloud.organization, config={"general": {"description": "{{ place }}"}})
    device = factories.device(cloud.organization, config={"templates": [template]})
    place = places.device_join(device, site)
    sites.site_update(site, context={"place": "ground floor"})
    assert "ground floor" in files_of(place)["etc/config/system"]


def test_reading_costs_the_same_for_any_number_of_settings(
    cloud: Cloud, site: Site, place: SiteDevice, django_assert_max_num_queries: Any
) -> None:
    at_site(cloud, site, {f"a/b{number}": {"value": "1"} for number in range(200)})
    cloud.get(f"device/{place.number}/config")
    with django_assert_max_num_queries(5):
        assert len(cloud.get(f"device/{place.number}/config").json()) == 200
    for number in range(5):
        places.place_create(site, serial=f"x{number}", mac_address=f"00:00:00:00:02:0{number}")
    with django_assert_max_num_queries(5):
        assert len(cloud.get(f"site/{site.number}/devices").json()) == 6
