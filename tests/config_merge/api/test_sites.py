"""Sites and a device's place in one, over REST."""

from typing import Any

import pytest

from config_merge import job_tasks
from config_merge.api import previews
from config_merge.models import Config, Managed, Site, SiteDevice
from config_merge.services import places, recompute, sites
from core.redaction import is_mark
from devices.models import Device
from tenancy.models import AuditEvent, Membership, Organization, Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as
from tests.config_merge.api.documented import fault

WIFI = "wireless/1000000001"


@pytest.fixture
def site(org: Organization) -> Site:
    site = sites.site_create(organization=org, name="Vilnius")
    changes = {
        key: {"value": value}
        for key, value in {
            "ntp/server": "one", f"{WIFI}/": "1000000001", f"{WIFI}/ssid": "Office", f"{WIFI}/key": "sitepass1",
        }.items()
    }  # fmt: skip
    sites.site_settings_change(site, changes, version=None)
    return site


@pytest.fixture
def place(site: Site) -> SiteDevice:
    return places.place_create(site, serial="22", mac_address="00:00:00:00:00:16", name="ap")


def documented(answer: Any, method: str, path: str) -> Any:
    """Return an answer's body, which is as the API document says."""
    assert fault(method, f"/api/v1/controller/{path}", answer.status_code, answer.content) == ""
    return answer.json()


def version(api: Api, path: str) -> str:
    return str(api.get(f"{path}/settings/").json()["version"])


def change(api: Api, path: str, changes: Any) -> Any:
    return api.patch(f"{path}/settings/", {"version": version(api, path), "changes": changes})


def at(device: Any) -> str:
    return f"device/{device.pk}/site"


# --- sites ------------------------------------------------------------------------------------------------------------


def test_a_site_is_made_changed_and_deleted(operator: Api, org: Organization) -> None:
    made = operator.post("site/", {"name": "Riga", "organization": str(org.pk)})
    body = documented(made, "POST", "site/")
    assert made.status_code == 201
    assert set(body["defaults"]) == {"ssid", "user", "lan"}
    assert (body["is_initialised"], body["number"]) == (False, str(Site.objects.get().number))
    path = f"site/{body['id']}/"
    changed = operator.patch(path, {"context": {"floor": "1"}, "name": "Riga 2"})
    assert documented(changed, "PATCH", "site/{id}/")["context"] == {"floor": "1"}
    assert operator.get(path).json()["name"] == "Riga 2"
    assert [each["name"] for each in operator.get("site/", search="riga").json()["results"]] == ["Riga 2"]
    assert operator.get("site/", name="x").json()["count"] == 0
    assert operator.delete(path).status_code == 204
    assert not Site.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"), ({"name": "Vilnius"}, "non_field_errors"), ({"defaults": []}, "defaults"),
        ({"defaults": {"a/b": 1}}, "defaults"), ({"defaults": {"ssid": "x"}}, "defaults"), ({"context": 5}, "context"),
        ({"organization": "00000000-0000-4000-8000-000000000000"}, "organization"),
    ],
)  # fmt: skip
def test_a_site_that_is_refused(operator: Api, org: Organization, site: Site, body: Any, field: str) -> None:
    answer = operator.post("site/", {"name": "Other", "organization": str(org.pk), **body})
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert Site.objects.count() == 1


def test_a_site_with_devices_stays_and_in_its_organization(
    operator: Api, other: Organization, place: SiteDevice
) -> None:
    path = f"site/{place.site_id}/"
    refused = operator.delete(path)
    assert refused.status_code == 400
    assert "has devices" in refused.content.decode()
    # The organization is not among what can be changed.
    assert operator.patch(path, {"organization": str(other.pk)}).status_code == 200
    assert Site.objects.get().organization_id == place.site.organization_id


def test_variables_of_a_site_reach_its_devices_with_templates(operator: Api, org: Organization) -> None:
    template = factories.template(org, config={"general": {"description": "{{ floor }}"}})
    device = factories.device(org, config={"templates": [template]})
    made = operator.post("site/", {"name": "s", "organization": str(org.pk), "context": {"floor": "ground"}})
    joined = operator.put(f"{at(device)}/", {"site": made.json()["id"]})
    assert joined.json()["managed_by"] == Managed.TEMPLATES
    effective = operator.get(f"device/{device.pk}/effective/").json()
    assert effective["tree"]["general"]["description"] == "ground"
    (told,) = [each for each in effective["variables"] if each["name"] == "floor"]
    assert (told["source"]["layer"], told["source"]["name"]) == ("site", "s")
    proposed = operator.post(f"site/{made.json()['id']}/preview/", {"context": {"floor": "first"}})
    body = documented(proposed, "POST", "site/{id}/preview/")
    assert (body["total"], body["changed"]) == (1, 1)
    assert "+\toption description 'first'" in body["groups"][0]["diff"]
    assert operator.get(f"device/{device.pk}/effective/").json()["tree"]["general"]["description"] == "ground"
    operator.patch(f"site/{made.json()['id']}/", {"context": {"floor": "first"}})
    assert operator.get(f"device/{device.pk}/effective/").json()["tree"]["general"]["description"] == "first"


# --- settings of a site -----------------------------------------------------------------------------------------------


def test_settings_of_a_site(operator: Api, org: Organization) -> None:
    site = sites.site_create(organization=org, name="s")
    path = f"site/{site.pk}"
    before = documented(operator.get(f"{path}/settings/"), "GET", "site/{id}/settings/")
    assert before["settings"] == {}
    assert before["initial"]["locale/code"] == {"value": "US", "origin": "site"}
    sent = {"version": before["version"], "changes": {"ntp/server": {"value": "a"}}}
    after = documented(operator.patch(f"{path}/settings/", sent), "PATCH", "site/{id}/settings/")
    assert after["settings"] == {"ntp/server": {"value": "a", "origin": "site"}}
    assert "initial" not in after
    late = operator.patch(f"{path}/settings/", {**sent, "changes": {"ntp/server": {"value": "b"}}})
    assert late.status_code == 409
    assert "read them again" in documented(late, "PATCH", "site/{id}/settings/")["detail"]
    assert operator.get(f"{path}/settings/").json() == after
    for nonsense in ("nonsense", "0" * 32):
        assert operator.patch(f"{path}/settings/", {**sent, "version": nonsense}).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"version": "x"}, {"changes": {}}, {"version": None, "changes": {}}, {"version": "x", "changes": []},
        {"version": "x", "changes": "y"},
    ],
)  # fmt: skip
def test_a_change_needs_a_version_and_changes(operator: Api, site: Site, body: Any) -> None:
    assert operator.patch(f"site/{site.pk}/settings/", body).status_code == 400


def test_a_refused_change_says_why_and_changes_nothing(operator: Api, site: Site) -> None:
    answer = change(
        operator, f"site/{site.pk}", {"ok/ok": {"value": "1"}, "wireless/12/ssid": {"value": "x"}}
    )
    assert answer.status_code == 400
    assert answer.json()["changes"] == ["wireless/12/ssid: the number of a site's entity is above 1000000000"]
    before = dict(site.settings)
    site.refresh_from_db()
    assert site.settings == before


def test_a_preview_of_settings_says_what_the_change_does(operator: Api, place: SiteDevice) -> None:
    places.place_create(
        place.site, serial="23", mac_address="00:00:00:00:00:17", name="other", inherits=False
    )
    own = {"ntp/server": {"value": "mine", "origin": "site-device"}}
    stubborn = places.place_create(place.site, serial="24", mac_address="00:00:00:00:00:18", name="stubborn")
    places.place_settings_change(stubborn, own, version=None)
    held = places.place_create(place.site, serial="25", mac_address="00:00:00:00:00:19", name="held")
    places.place_update(held, is_suspended=True)
    recompute.drain()
    path = f"site/{place.site_id}/settings"
    asked = {"changes": {"ntp/server": {"value": "two"}}}
    body = documented(operator.post(f"{path}/preview/", asked), "POST", "site/{id}/settings/preview/")
    assert (body["total"], body["changed"], body["unchanged"], body["failed"]) == (2, 1, 1, 0)
    assert [each["name"] for each in body["groups"][0]["devices"]] == ["ap"]
    assert body["groups"][0]["diff"].splitlines()[-2:] == ["-\toption server 'one'", "+\toption server 'two'"]
    assert Site.objects.get().settings["ntp/server"]["value"] == "one"
    checksums = dict(Config.objects.values_list("device__name", "checksum"))
    change(operator, f"site/{place.site_id}", asked["changes"])
    recompute.drain()
    now = dict(Config.objects.values_list("device__name", "checksum"))
    assert {name for name in now if now[name] != checksums[name]} == {"ap"}
    refused = operator.post(f"{path}/preview/", {"changes": {"a b/c": {"value": "1"}}})
    assert (refused.status_code, list(refused.json())) == (400, ["changes"])


@pytest.mark.parametrize("what", ["settings", "defaults"])
def test_a_preview_of_many_devices_becomes_a_job(
    operator: Api, place: SiteDevice, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.place_create(place.site, serial="23", mac_address="00:00:00:00:00:17", name="other")
    recompute.drain()
    monkeypatch.setattr(previews, "WAITED_FOR", 1)
    path, asked = (
        ("settings/preview", {"changes": {"ntp/server": {"value": "two"}}})
        if what == "settings"
        else ("preview", {"defaults": {"ntp/pool": "p"}})
    )
    answer = operator.post(f"site/{place.site_id}/{path}/", asked)
    assert answer.status_code == 202
    job = answer.json()["job"]
    job_tasks.run_job(job)
    told = operator.get(f"batch/{job}/").json()
    assert (told["state"], told["result"]["changed"]) == ("finished", 2)
    assert len(told["result"]["groups"]) == 1


def test_what_a_site_comes_to(operator: Api, site: Site) -> None:
    sites.site_update(site, defaults={"ntp/server": "unheard", "log/size": "9"})
    body = documented(operator.get(f"site/{site.pk}/effective/"), "GET", "site/{id}/effective/")
    assert body["settings"]["ntp/server"] == {
        "value": "one", "source": "site", "shadowed": [{"source": "default", "value": "unheard"}],
    }  # fmt: skip
    assert body["settings"]["log/size"]["source"] == "default"
    assert "\toption server 'one'\n" in body["uci"]
    assert (body["warnings"], body["unheard"]) == ([], [])


def test_who_overrides_a_site(operator: Api, place: SiteDevice) -> None:
    places.place_create(place.site, serial="23", mac_address="00:00:00:00:00:17", name="other")
    own = {f"{WIFI}/ssid": {"value": "Lab", "origin": "site-device"}}
    places.place_settings_change(place, own, version=None)
    path = f"site/{place.site_id}/overrides/"
    body = documented(operator.get(path), "GET", "site/{id}/overrides/")
    assert body == {
        "devices": [
            {"id": str(place.device_id), "number": str(place.number), "name": "ap", "keys": [f"{WIFI}/"]}
        ],
        "is_complete": True,
    }
    assert operator.get(path, key=f"{WIFI}/key").json() == body
    assert operator.get(path, key="ntp/server").json()["devices"] == []


# --- a device's place -------------------------------------------------------------------------------------------------


def test_a_device_joins_moves_and_leaves(operator: Api, org: Organization, site: Site) -> None:
    device = factories.configured(org)
    path = f"{at(device)}/"
    assert operator.get(path).status_code == 404
    assert operator.patch(path, {"is_blocked": True}).status_code == 404
    assert operator.delete(path).status_code == 404
    joined = operator.put(path, {"site": str(site.pk), "managed_by": "site", "serial": "S9"})
    body = documented(joined, "PUT", "device/{id}/site/")
    assert (body["managed_by"], body["serial"], body["hold"]) == (Managed.SITE, "S9", "")
    assert operator.get(path).json() == body
    config = Config.objects.get(device=device)
    # One computation for all of it.
    assert (config.revision_number, config.status) == (2, "modified")
    elsewhere = sites.site_create(organization=org, name="Kaunas")
    moved = operator.patch(path, {"site": str(elsewhere.pk)})
    assert documented(moved, "PATCH", "device/{id}/site/")["site"] == str(elsewhere.pk)
    assert operator.delete(path).status_code == 204
    assert factories.config_of(device).managed_by == Managed.TEMPLATES
    assert factories.config_of(device).checksum == config.revisions.get(number=1).checksum
    assert not SiteDevice.objects.exists()
    assert AuditEvent.objects.filter(action="device.left_site").count() == 1


def test_what_holds_a_device(operator: Api, place: SiteDevice) -> None:
    path = f"{at(place.device)}/"
    for flag, hold in (("is_suspended", "suspended"), ("is_blocked", "blocked"), ("is_retired", "retired")):
        assert operator.patch(path, {flag: True}).json()["hold"] == hold
        assert factories.config_of(place.device).hold == hold
    refused = operator.patch(path, {"is_blocked": False})
    assert (refused.status_code, refused.json()) == (403, {"detail": "The device is decommissioned."})
    for method in (operator.delete, operator.get):
        assert method(path).status_code == (403 if method == operator.delete else 200)
    back = operator.patch(path, {"is_retired": False, "is_blocked": False, "is_suspended": False})
    assert (back.status_code, back.json()["hold"]) == (200, "")
    assert operator.patch(f"device/{place.device_id}/", {"notes": "x"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"site": "x"}, {"site": None}, {"managed_by": "magic"}, {"inherits": "perhaps"}, {"license_type": "GOLD"},
        {"serial": "x" * 65},
    ],
)  # fmt: skip
def test_a_place_that_is_refused(operator: Api, place: SiteDevice, body: Any) -> None:
    answer = operator.patch(f"{at(place.device)}/", body)
    assert (answer.status_code, list(answer.json())) == (400, list(body))


def test_a_site_of_another_organization_of_the_same_person(
    root: Api, place: SiteDevice, other: Organization
) -> None:
    away = sites.site_create(organization=other, name="away")
    for method, path in ((root.patch, f"{at(place.device)}/"), (root.post, f"{at(place.device)}/preview/")):
        answer = method(path, {"site": str(away.pk)})
        assert (answer.status_code, list(answer.json())) == (400, ["site"])


def test_a_deactivated_device_is_left_alone(operator: Api, org: Organization, site: Site) -> None:
    device = factories.configured(org)
    places.device_join(device, site)
    operator.post(f"device/{device.pk}/deactivate/")
    assert operator.patch(f"{at(device)}/", {"managed_by": "site"}).status_code == 403
    assert operator.post(f"{at(device)}/preview/", {"managed_by": "site"}).status_code == 403
    assert operator.delete(f"{at(device)}/").status_code == 403


def test_own_settings_are_changed_and_reverted(operator: Api, place: SiteDevice) -> None:
    path = at(place.device)
    own = {
        "ntp/server": {"value": "two", "origin": "site-device"},
        f"{WIFI}/ssid": {"value": "Lab", "origin": "site-device"},
        "log/size": {"value": "5", "origin": "device"},
    }
    body = documented(change(operator, path, own), "PATCH", "device/{id}/site/settings/")
    assert set(body["settings"]) == {*own, f"{WIFI}/", f"{WIFI}/key"}
    assert body["site"]["ntp/server"]["value"] == "one"
    settled = documented(operator.get(f"{path}/effective/"), "GET", "device/{id}/site/effective/")["settings"]
    assert settled["ntp/server"] == {
        "value": "two", "source": "device", "shadowed": [{"source": "site", "value": "one"}],
    }  # fmt: skip
    # A key, an entity by any of its keys, then the rest.
    reverted = operator.delete(f"{path}/settings/?key=ntp/server")
    assert "ntp/server" not in documented(reverted, "DELETE", "device/{id}/site/settings/")["settings"]
    assert set(operator.delete(f"{path}/settings/?key={WIFI}/ssid").json()["settings"]) == {"log/size"}
    refused = operator.delete(f"{path}/settings/?key=ntp/server")
    assert (refused.status_code, list(refused.json())) == (400, ["key"])
    old = operator.get(f"{path}/settings/").json()["version"]
    change(operator, path, {"log/ip": {"value": "1", "origin": "device"}})
    assert operator.delete(f"{path}/settings/?version={old}").status_code == 409
    assert operator.delete(f"{path}/settings/").json()["settings"] == {}
    assert operator.get(f"{path}/effective/").json()["settings"]["ntp/server"]["source"] == "site"


def test_settings_that_cannot_be_changed_now(operator: Api, place: SiteDevice) -> None:
    path = at(place.device)
    wanted = {"a/b": {"value": "1", "origin": "device"}}
    old = version(operator, path)
    assert change(operator, path, wanted).status_code == 200
    assert operator.patch(f"{path}/settings/", {"version": old, "changes": wanted}).status_code == 409
    operator.patch(f"{path}/", {"is_suspended": True})
    answer = change(operator, path, wanted)
    assert (answer.status_code, answer.json()["detail"]) == (
        409, "The device is suspended: its settings cannot be changed.",
    )  # fmt: skip
    assert operator.delete(f"{path}/settings/").status_code == 409
    operator.patch(f"{path}/", {"is_retired": True})
    assert change(operator, path, wanted).status_code == 403


# --- previews of a place ----------------------------------------------------------------------------------------------


def files(device: Device) -> str:
    recompute.drain()
    return str(Config.objects.get(device=device).checksum)


@pytest.mark.parametrize(
    ("proposed", "diff"),
    [
        ({"managed_by": "site"}, "+\toption server 'one'"),
        ({"managed_by": "site", "inherits": False}, "-\toption device 'eth0'"),
        (
            {"managed_by": "site", "changes": {"ntp/server": {"value": "own", "origin": "site-device"}}},
            "+\toption server 'own'",
        ),
    ],
)
def test_a_preview_of_a_move_to_a_site_is_what_happens(
    operator: Api, org: Organization, site: Site, proposed: Any, diff: str
) -> None:
    device = factories.configured(org)
    path = f"{at(device)}/preview/"
    before = files(device)
    asked = {"site": str(site.pk), **proposed}
    body = documented(operator.post(path, asked), "POST", "device/{id}/site/preview/")
    assert (body["total"], body["changed"]) == (1, 1)
    assert diff in body["groups"][0]["diff"]
    assert (files(device), SiteDevice.objects.exists()) == (before, False)
    changes = proposed.pop("changes", None)
    assert operator.put(f"{at(device)}/", {"site": str(site.pk), **proposed}).status_code == 200
    if changes:
        assert change(operator, at(device), changes).status_code == 200
    assert files(device) != before
    # Back again: to templates, and out of the site.
    for asked in ({"managed_by": "templates"}, {"site": None}):
        body = operator.post(path, asked).json()
        assert (body["changed"], body["failed"]) == (1, 0)
        assert "+\toption device 'eth0'" in body["groups"][0]["diff"]
    operator.delete(f"{at(device)}/")
    assert files(device) == before


def test_a_preview_without_effect_or_sense(operator: Api, org: Organization, place: SiteDevice) -> None:
    path = f"{at(place.device)}/preview/"
    assert operator.post(path, {}).json()["unchanged"] == 1
    assert operator.post(path, {"site": None, "changes": {}}).status_code == 400
    assert operator.post(path, {"site": None, "managed_by": "site"}).json() == {
        "managed_by": ["The device is in no site."]
    }
    bare = factories.device(org)
    assert operator.post(f"{at(bare)}/preview/", {"managed_by": "site"}).status_code == 400
    assert operator.post(f"{at(bare)}/preview/", {"site": str(place.site_id)}).json()["unchanged"] == 1
    asked = {"site": str(place.site_id), "managed_by": "site"}
    assert operator.post(f"{at(bare)}/preview/", asked).json()["changed"] == 1
    assert not Config.objects.filter(device=bare).exists()
    places.place_update(place, is_suspended=True)
    wanted = {"changes": {"ntp/server": {"value": "x", "origin": "site-device"}}}
    assert operator.post(path, wanted).json()["unchanged"] == 1
    places.place_update(place, is_retired=True)
    assert operator.post(path, wanted).status_code == 403


# --- secrets, roles, cost ---------------------------------------------------------------------------------------------


def test_secrets_are_marks_for_who_may_not_see_them(
    operator: Api, viewer: Api, org: Organization, place: SiteDevice
) -> None:
    site = place.site
    sites.site_update(
        site,
        defaults={"ssid": {"key": "formpass1"}, "wifi/psk": "flatpass1"},
        context={"wifi_key": "varpass1"},
    )
    blind = api_as(factories.without_reveal(factories.user(role=Role.OPERATOR, organization=org)))
    own = {f"{WIFI}/ssid": {"value": "it's sitepass1", "origin": "site-device"}}
    places.place_settings_change(place, own, version=None)
    paths = (
        f"site/{site.pk}/", "site/", f"site/{site.pk}/settings/", f"site/{site.pk}/effective/",
        f"{at(place.device)}/settings/", f"{at(place.device)}/effective/",
    )  # fmt: skip
    secrets = ("sitepass1", "formpass1", "flatpass1", "varpass1")
    for path in paths:
        seen = operator.get(path).content.decode()
        assert any(secret in seen for secret in secrets), path
        for api in (viewer, blind):
            shown = api.get(path).content.decode()
            if path.endswith("/settings/"):
                # What is no secret by its name is shown as it is; the merge of both hides it wherever it went.
                shown = shown.replace("it's sitepass1", "")
            assert not any(secret in shown for secret in secrets), path
    assert AuditEvent.objects.filter(action="secret.revealed").exists()
    # A mark that comes back leaves the secret; one at another place is refused.
    shown = blind.get(f"site/{site.pk}/settings/").json()["settings"]
    assert is_mark(shown[f"{WIFI}/key"]["value"])
    assert change(blind, f"site/{site.pk}", shown).status_code == 200
    site.refresh_from_db()
    assert site.settings[f"{WIFI}/key"]["value"] == "sitepass1"
    stolen = {"ntp/server": {"value": shown[f"{WIFI}/key"]["value"]}}
    assert change(blind, f"site/{site.pk}", stolen).status_code == 400
    for path in (f"site/{site.pk}/settings/preview/", f"{at(place.device)}/preview/"):
        assert blind.post(path, {"changes": stolen}).status_code == 400
    whole = blind.get(f"site/{site.pk}/").json()
    assert blind.patch(f"site/{site.pk}/", whole).status_code == 200
    site.refresh_from_db()
    assert (site.context, site.defaults["ssid"]) == ({"wifi_key": "varpass1"}, {"key": "formpass1"})
    asked = {"changes": {f"{WIFI}/key": {"value": "newpass99", "origin": "site-device"}}}
    assert "sitepass1" not in blind.post(f"{at(place.device)}/preview/", asked).content.decode()


def test_viewers_look_and_do_not_touch(viewer: Api, place: SiteDevice) -> None:
    site = f"site/{place.site_id}"
    for path in (f"{site}/", f"{site}/settings/", f"{site}/devices/", f"{at(place.device)}/"):
        assert viewer.get(path).status_code == 200
    assert change(viewer, site, {"a/b": {"value": "1"}}).status_code == 403
    assert viewer.post(f"{site}/settings/preview/", {"changes": {}}).status_code == 403
    assert viewer.put(f"{at(place.device)}/", {"site": str(place.site_id)}).status_code == 403
    assert viewer.delete(f"{at(place.device)}/settings/").status_code == 403
    Membership.objects.all().delete()
    assert viewer.get(f"{site}/").status_code == 403


def test_lists_cost_the_same_for_any_number(
    operator: Api, org: Organization, place: SiteDevice, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        extra = places.place_create(place.site, serial=f"x{number}", mac_address=f"00:00:00:00:02:0{number}")
        places.place_settings_change(
            extra, {"ntp/server": {"value": "x", "origin": "site-device"}}, version=None
        )
        sites.site_create(organization=org, name=f"s{number}", context={"wifi_key": "abcdefgh"})
    operator.get("site/")
    with django_assert_max_num_queries(5):
        assert operator.get("site/").json()["count"] == 7
    path = f"site/{place.site_id}"
    with django_assert_max_num_queries(5):
        body = documented(operator.get(f"{path}/devices/"), "GET", "site/{id}/devices/")
    assert [each["name"] for each in body["results"]][-1] == "ap"
    assert operator.get(f"{path}/devices/", search="x3").json()["count"] == 1
    assert operator.get(f"{path}/devices/", ordering="-serial").json()["results"][0]["serial"] == "x5"
    with django_assert_max_num_queries(4):
        assert len(operator.get(f"{path}/overrides/").json()["devices"]) == 6
    for room in (f"{path}/settings/", f"{at(place.device)}/", f"{at(place.device)}/effective/"):
        with django_assert_max_num_queries(5):
            assert operator.get(room).status_code == 200
