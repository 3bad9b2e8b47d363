"""Keys, limits, sites and devices of the cloud dialect."""

import time
from itertools import product
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from config_merge.models import Config, Managed, Site, SiteDevice
from config_merge.pub_v1 import door
from config_merge.services import configs, places, sites
from core import rates
from devices.models import Device
from tenancy import api_keys
from tenancy.models import ApiKey, Membership, Role
from tests import factories
from tests.config_merge.pub_v1.conftest import Cloud, cloud_of

DEVICE_MEMBERS = [
    "id", "name", "site_id", "sn", "mac", "status_id", "state_id", "health_id", "blocked", "last_contact",
    "created_at", "updated_at", "product_brand_id", "type", "hostname", "suspend_config", "decomm", "license_type",
]  # fmt: skip


def text(response: Any) -> tuple[int, str]:
    assert response["Content-Type"].startswith("text/plain")
    return response.status_code, response.content.decode()


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "nonsense", "abcdefgh.secret", "\xff", "x" * 5000])
def test_a_bad_key(cloud: Cloud, key: str) -> None:
    answer = cloud.get("sites", HTTP_X_API_KEY=key)
    assert text(answer) == (401, "x-api-key header is not valid")


def test_no_key_revoked_key_and_lost_membership(cloud: Cloud) -> None:
    assert cloud.get("sites").status_code == 200
    cloud.client.defaults = {}
    assert text(cloud.client.get("/pub/v1/sites")) == (401, "x-api-key header is not valid")
    Membership.objects.all().delete()
    assert cloud.get("sites").status_code == 401
    other = cloud_of(cloud.organization)
    row = ApiKey.objects.get(key_id=other.key[:8])
    api_keys.api_key_revoke(row, by=row.user)
    assert other.get("sites").status_code == 401


def test_a_key_follows_its_users_role(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    guest = cloud_of(cloud.organization, Role.VIEWER)
    for path in (f"site/{site.number}", f"device/{place.number}"):
        assert guest.get(path).status_code == 200
        assert guest.get(f"{path}/config-changes").status_code == 200
        code, _ = text(guest.ask("PUT", path, {"name": "x"}))
        assert code == 403
        assert text(guest.change(path, {"a/b": {"value": "1", "origin": "device"}}))[0] == 403
    assert (
        text(guest.ask("POST", f"site/{site.number}/devices", {"sn": "1", "mac": "00:11:22:33:44:55"}))[0]
        == 403
    )
    assert Device.objects.count() == 1


def test_a_read_only_key_reads(cloud: Cloud, site: Site) -> None:
    user = factories.user(role=Role.OWNER, organization=cloud.organization)
    reading = Cloud(
        cloud.organization, factories.api_key(user, cloud.organization, read_only=True)[1], cloud.client
    )
    assert reading.get("sites").status_code == 200
    assert text(reading.ask("PUT", f"site/{site.number}", {"name": "x"}))[0] == 403


# --- limits -----------------------------------------------------------------------------------------------------------


def test_two_hundred_in_ten_seconds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    assert [cloud.get("sites").status_code for _ in range(201)] == [200] * 200 + [429]
    refused = cloud.get("sites")
    assert text(refused) == (429, "Too Many Requests")
    assert 1 <= int(refused["Retry-After"]) <= 10
    clock[0] += 10.5
    assert cloud.get("sites").status_code == 200


def test_the_limit_is_of_the_key_and_of_the_address(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LIMIT", rates.per_seconds(3, 10))
    assert [cloud.get("sites", REMOTE_ADDR=f"192.0.2.{n}").status_code for n in range(5)] == [200] * 3 + [
        429
    ] * 2
    others = [cloud_of(cloud.organization) for _ in range(4)]
    codes = [other.get("sites", REMOTE_ADDR="192.0.2.99").status_code for other in others]
    assert codes == [200] * 3 + [429]
    assert [cloud.get("sites", HTTP_X_API_KEY="x", REMOTE_ADDR="192.0.2.98").status_code for _ in range(4)] == [
        401, 401, 401, 429,
    ]  # fmt: skip


# --- sites and devices ------------------------------------------------------------------------------------------------


def test_every_form_of_a_path(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    for plural, end, slash in product(("", "s"), ("", "s"), ("", "/")):
        for path in (
            f"site{plural}{slash}",
            f"site{plural}/{site.number}{slash}",
            f"site{plural}/{site.number}/device{end}{slash}",
            f"site{plural}/{site.number}/config-change{end}{slash}",
            f"device{plural}{slash}",
            f"device{plural}/{place.number}{slash}",
            f"device{plural}/{place.number}/config{slash}",
            f"device{plural}/{place.number}/config-change{end}{slash}",
            f"device{plural}/{place.number}/task{end}{slash}",
        ):
            assert cloud.get(path).status_code == 200, path


def test_a_device(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    (body,) = cloud.get(f"site/{site.number}/devices").json()
    assert list(body) == DEVICE_MEMBERS
    assert body["id"] == str(place.number)
    assert int(body["id"]) >= 2**48
    assert body["site_id"] == str(site.number)
    assert (body["sn"], body["mac"]) == ("0000022", "00:00:00:00:00:16")
    assert (body["status_id"], body["state_id"], body["health_id"]) == (
        "STATUS_UNKNOWN", "STATE_PENDING", "HEALTH_UNKNOWN",
    )  # fmt: skip
    assert (body["type"], body["license_type"]) == ("NET_ENTERPRISE", "LICENSE_TYPE_FREE")
    assert body["created_at"].endswith("Z")
    assert len(body["created_at"]) == len("2017-03-22T15:14:35.000Z")
    assert cloud.get(f"device/{place.number}").json() == body


def test_lists_are_bare_arrays_with_optional_pages(cloud: Cloud, site: Site) -> None:
    for number in range(3):
        places.place_create(site, serial=str(number), mac_address=f"00:00:00:00:01:0{number}")
    other = sites.site_create(organization=cloud.organization, name="Kaunas")
    whole = cloud.get("devices").json()
    assert len(whole) == 3
    assert cloud.get("devices?limit=2&offset=1").json() == whole[1:]
    assert cloud.get(f"devices?site_id={other.number}").json() == []
    assert [each["name"] for each in cloud.get("sites").json()] == ["Kaunas", "Vilnius"]
    for query in ("limit=x", "limit=-1", "offset=1.5", "limit=99999999999999999999"):
        assert text(cloud.get(f"devices?{query}"))[0] == 400
    assert text(cloud.get("devices?site_id=12"))[0] == 404


def test_registration(cloud: Cloud, site: Site) -> None:
    body = {"sn": "S1", "mac": "00:11:22:33:44:5a", "name": "ap", "inherit": False}
    made = cloud.ask("POST", f"site/{site.number}/devices", body)
    assert made.status_code == 201
    assert (made.json()["type"], made.json()["mac"]) == ("NET_INDIVIDUAL", "00:11:22:33:44:5A")
    config = Config.objects.get(device__mac_address="00:11:22:33:44:5A")
    assert config.managed_by == Managed.SITE
    again = cloud.ask(
        "POST", f"site/{site.number}/devices", {**body, "mac": "00:11:22:33:44:5B", "name": "b"}
    )
    assert text(again) == (400, "sn: A device with this serial number exists already.")
    assert text(cloud.ask("PUT", f"device/{made.json()['id']}", {"name": ""})) == (
        400,
        "name: This field cannot be blank.",
    )
    for wrong in (
        {},
        {"sn": "2"},
        {**body, "mac": "x"},
        {**body, "sn": 5},
        {**body, "other": 1},
        [],
        "x",
        {**body, "inherit": "1"},
        {**body, "sn": " "},
        {**body, "sn": "9\x00"},
        {**body, "sn": "9" * 65},
        {**body, "sn": "9", "name": "a b"},
    ):
        assert text(cloud.ask("POST", f"site/{site.number}/devices", wrong))[0] == 400
    assert Device.objects.count() == 1


def test_put(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    assert cloud.ask("PUT", f"site/{site.number}", {"name": " Riga "}).json()["name"] == "Riga"
    sites.site_create(organization=cloud.organization, name="Kaunas")
    for name in ("", " ", "a\x00b", "x" * 65, "Kaunas", None, 5):
        assert text(cloud.ask("PUT", f"site/{site.number}", {"name": name}))[0] == 400
    whole = cloud.get(f"device/{place.number}").json()
    changed = cloud.ask(
        "PUT", f"device/{place.number}", {**whole, "name": "new-name", "suspend_config": True}
    )
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["suspend_config"]) == ("new-name", True)
    # PUT is safe to repeat, and to send the whole object with.
    for flag in ("blocked", "decomm"):
        for _ in range(2):
            whole = cloud.get(f"device/{place.number}").json()
            assert cloud.ask("PUT", f"device/{place.number}", {**whole, flag: True}).json()[flag] is True
    assert text(cloud.ask("PUT", f"device/{place.number}", {"name": "x"}))[0] == 403
    again = {"sn": "0000022", "mac": "00:00:00:00:00:16", "name": "new-name"}
    assert cloud.ask("POST", f"site/{site.number}/devices", again).status_code == 201
    assert text(cloud.ask("PUT", f"device/{place.number}", {"decomm": False}))[0] == 400
    Device.objects.exclude(pk=place.device_id).delete()
    back = {"decomm": False, "blocked": False, "suspend_config": False}
    assert cloud.ask("PUT", f"device/{place.number}", back).json() | back == {
        **cloud.get(f"device/{place.number}").json(),
        **back,
    }
    for wrong in (
        {"sn": "2"},
        {"blocked": 1},
        {"decomm": "true"},
        {"suspend_config": None},
        {"state_id": "STATE_REGISTERED"},
        {"name": 5},
        {"name": "???"},
        {"id": "1"},
    ):
        assert text(cloud.ask("PUT", f"device/{place.number}", wrong))[0] == 400
    with pytest.raises(ValidationError):
        places.place_create(site, serial="0000022", mac_address="00:00:00:00:00:17")


@pytest.mark.parametrize("number", ["1", "0", "x", "-1", "9" * 40, "1.5", "%00", "２"])
def test_what_is_not_there(cloud: Cloud, number: str) -> None:
    for path in (
        f"site/{number}",
        f"device/{number}",
        f"site/{number}/config-changes",
        f"devices/{number}/config",
    ):
        assert text(cloud.get(path)) == (404, "Not found.")


def test_what_a_client_accepts_changes_nothing(cloud: Cloud, site: Site) -> None:
    for accept in ("application/xml", "text/html", "nonsense"):
        assert cloud.get(f"site/{site.number}", HTTP_ACCEPT=accept)["Content-Type"] == "application/json"
        assert text(cloud.get("site/1?format=xml", HTTP_ACCEPT=accept)) == (404, "Not found.")


def test_what_nobody_expected_is_plain_text_too(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError("secret words")

    monkeypatch.setattr("config_merge.pub_v1.views.answers.site_body", fail)
    cloud.client.raise_request_exception = False
    sites.site_create(organization=cloud.organization, name="s")
    code, words = text(cloud.get("sites"))
    assert code == 500
    assert "secret words" not in words


def test_other_routes_and_methods(cloud: Cloud, site: Site) -> None:
    assert text(cloud.get("nothing"))[0] == 404
    assert text(cloud.ask("DELETE", f"site/{site.number}"))[0] == 405
    assert text(cloud.ask("POST", f"site/{site.number}/devices", "{"))[0] == 400
    answer = cloud.client.post(f"/pub/v1/site/{site.number}/devices", {"sn": "1"}, HTTP_X_API_KEY=cloud.key)
    assert text(answer)[0] == 415


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_device_may_be_called_what_is_no_host_name(cloud: Cloud, site: Site) -> None:
    sent = {"sn": "7", "mac": "00:00:00:00:00:07", "name": "Mock Device-9"}
    body = cloud.ask("POST", f"site/{site.number}/devices", sent).json()
    assert (body["name"], body["hostname"]) == ("Mock Device-9", "mock-device-9")
    path = f"device/{body['id']}"
    device = Device.objects.get(mac_address=sent["mac"])
    assert device.name == "mock-device-9"
    # The whole device may be sent as it was read.
    assert cloud.ask("PUT", path, cloud.get(path).json()).json()["name"] == "Mock Device-9"
    assert cloud.ask("PUT", path, {"name": " Lobby (east) "}).json()["name"] == "Lobby (east)"
    device.refresh_from_db()
    assert device.name == "lobby-east"
    assert cloud.ask("PUT", path, {"name": "lobby-east"}).json()["name"] == "lobby-east"
    assert SiteDevice.objects.get(device=device).label == ""


def test_who_renames_a_device_elsewhere_has_named_it(cloud: Cloud, place: SiteDevice) -> None:
    path = f"device/{place.number}"
    assert cloud.ask("PUT", path, {"name": "The Attic"}).status_code == 200
    configs.managed_device_update(Device.objects.get(pk=place.device_id), name="cellar")
    body = cloud.get(path).json()
    assert (body["name"], body["hostname"]) == ("cellar", "cellar")
    assert cloud.ask("PUT", path, {**body, "decomm": True}).json()["decomm"] is True
    assert cloud.ask("PUT", path, cloud.get(path).json()).status_code == 200


@pytest.mark.parametrize("name", ["", "???", "a" * 70, "a b" * 30, "a\x00b"])
def test_a_name_that_no_host_can_have(cloud: Cloud, place: SiteDevice, name: str) -> None:
    before = cloud.get(f"device/{place.number}").json()["name"]
    assert text(cloud.ask("PUT", f"device/{place.number}", {"name": name}))[0] == 400
    assert cloud.get(f"device/{place.number}").json()["name"] == before
