"""Sentences of the source document (seeds/003), one test each, in its order; what reaches a device is tested elsewhere.

Each test begins with the sentence. Where the document prints an example, the example is what is sent.
"""

import binascii
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from config_merge.models import Managed, Site, SiteDevice
from config_merge.services import places, sites
from core.clock import now
from devices.models import Device
from tenancy import api_keys
from tenancy.models import ApiKey, Membership, Role
from tenancy.services import membership_set
from tests import factories
from tests.config_merge.pub_v1.conftest import Cloud, cloud_of
from tests.config_merge.pub_v1.test_rooms import text
from tests.config_merge.pub_v1.test_settings import at_device, at_site, entry, files_of

SSID = "wireless/1000000584"
OFFICE = {
    f"{SSID}/": {"value": "1000000584"},
    f"{SSID}/ssid": {"value": "Office"},
    f"{SSID}/key": {"value": "sitepass1"},
}


def config(cloud: Cloud, place: SiteDevice) -> Any:
    return cloud.get(f"devices/{place.number}/config").json()


def changes(cloud: Cloud, place: SiteDevice) -> Any:
    return cloud.get(f"device/{place.number}/config-changes").json()


# --- API Key Permissions ----------------------------------------------------------------------------------------------


def test_the_permissions_of_the_user_are_the_actions_of_the_key(cloud: Cloud, site: Site) -> None:
    """The permissions of your Cloud's user account will be associated with the available actions of the API key."""
    membership = Membership.objects.get(user__api_keys__key_id=cloud.key[:8])
    for role, status in ((Role.VIEWER, 403), (Role.OPERATOR, 200), (Role.OWNER, 200)):
        Membership.objects.filter(pk=membership.pk).update(role=role)
        assert cloud.get("sites").status_code == 200
        assert cloud.ask("PUT", f"site/{site.number}", {"name": f"of {role}"}).status_code == status


def test_an_owners_key_performs_all_actions(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """You must have ownership level permissions in order to perform all available API actions."""
    new = {"sn": "1", "mac": "00:11:22:33:44:55"}
    done = [
        cloud.get("sites"),
        cloud.get(f"site/{site.number}/devices"),
        cloud.ask("POST", f"site/{site.number}/devices", new),
        cloud.ask("PUT", f"site/{site.number}", {"name": "x"}),
        cloud.ask("PUT", f"device/{place.number}", {"name": "x"}),
        at_site(cloud, site, {"a/b": {"value": "1"}}),
        at_device(cloud, place, {"a/b": entry("2", "site-device")}),
        cloud.get(f"devices/{place.number}/config"),
    ]
    assert [each.status_code for each in done] == [200, 200, 201, 200, 200, 200, 200, 200]


def test_a_guests_key_is_restricted(cloud: Cloud, site: Site) -> None:
    """Create a limited user (guest) and generate an API key from that user account."""
    guest = cloud_of(cloud.organization, Role.VIEWER)
    assert guest.get(f"site/{site.number}").status_code == 200
    assert text(guest.ask("PUT", f"site/{site.number}", {"name": "x"}))[0] == 403


def test_a_key_for_cloud_a_does_not_open_cloud_b(cloud: Cloud) -> None:
    """If you generate an API key for Cloud A, you will not be able to access the data in Cloud B."""
    b = factories.organization("cloud-b")
    other = sites.site_create(organization=b, name="B")
    device = places.place_create(other, serial="1", mac_address="00:11:22:33:44:55")
    user = ApiKey.objects.get(key_id=cloud.key[:8]).user
    membership_set(user=user, organization=b, role=Role.OWNER)
    assert cloud.get("sites").json() == cloud.get("devices").json() == []
    for path in (f"site/{other.number}", f"device/{device.number}", f"devices/{device.number}/config"):
        assert text(cloud.get(path)) == (404, "Not found.")
    key_of_b = Cloud(b, factories.api_key(user, b)[1], cloud.client)
    assert [each["name"] for each in key_of_b.get("sites").json()] == ["B"]


# --- Generating API Keys ----------------------------------------------------------------------------------------------


def test_the_part_before_the_first_period_is_the_keys_id(cloud: Cloud) -> None:
    """The 8 characters before the first period is the API key ID and can be used to identify the API key."""
    assert cloud.key.index(".") == 8
    user = ApiKey.objects.get(key_id=cloud.key.split(".")[0]).user
    shown = cloud.client.get("/api/v1/users/api-key/", **factories.bearer(user)).json()["results"]
    assert [each["key_id"] for each in shown] == [cloud.key[:8]]


def test_a_key_is_not_stored(cloud: Cloud) -> None:
    """We do not store it in our database!"""
    secret = cloud.key[9:]
    for row in ApiKey.objects.values():
        assert not any(secret in str(value) for value in row.values())


def test_a_key_is_revoked_or_another_generated_at_any_time(cloud: Cloud) -> None:
    """You can revoke an API key, or generate additional API keys, at any time."""
    row = ApiKey.objects.get(key_id=cloud.key[:8])
    additional = Cloud(cloud.organization, factories.api_key(row.user, cloud.organization)[1], cloud.client)
    assert (cloud.get("sites").status_code, additional.get("sites").status_code) == (200, 200)
    api_keys.api_key_revoke(row, by=row.user)
    assert (cloud.get("sites").status_code, additional.get("sites").status_code) == (401, 200)


# --- Basic API Instructions -------------------------------------------------------------------------------------------


def test_two_headers_make_a_request(cloud: Cloud, site: Site) -> None:
    """Set a header called x-api-key to your API key; set a header called content-type to application/json."""
    headers = {"HTTP_X_API_KEY": cloud.key, "content_type": "application/json"}
    assert cloud.client.get("/pub/v1/sites", **headers).status_code == 200
    assert cloud.client.put(f"/pub/v1/site/{site.number}", {"name": "x"}, **headers).status_code == 200


def test_all_devices_in_a_given_site(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Here's an example showing how to use curl to GET all devices in a given site."""
    other = sites.site_create(organization=cloud.organization, name="other")
    places.place_create(other, serial="1", mac_address="00:11:22:33:44:55")
    Device.objects.filter(pk=place.device_id).update(last_seen=now())
    (body,) = cloud.get(f"site/{site.number}/devices").json()
    assert {name: type(value) for name, value in body.items()} == {
        "id": str, "name": str, "site_id": str, "sn": str, "mac": str, "status_id": str, "state_id": str,
        "health_id": str, "blocked": bool, "last_contact": str, "created_at": str, "updated_at": str,
        "product_brand_id": str, "type": str, "hostname": str, "suspend_config": bool, "decomm": bool,
        "license_type": str,
    }  # fmt: skip
    said = {
        "name": "mock-device-9", "site_id": str(site.number), "sn": "0000022", "mac": "00:00:00:00:00:16",
        "status_id": "STATUS_ONLINE", "state_id": "STATE_REGISTERED", "health_id": "HEALTH_NORMAL", "blocked": False,
        "product_brand_id": "1", "type": "NET_ENTERPRISE", "hostname": "mock-device-9", "suspend_config": False,
        "decomm": False, "license_type": "LICENSE_TYPE_FREE",
    }  # fmt: skip
    assert body | said == body


def test_an_invalid_key_is_told_in_plain_text(cloud: Cloud) -> None:
    """Error responses are always returned as a plain text message: x-api-key header is not valid."""
    assert text(cloud.get("sites", HTTP_X_API_KEY="wrong")) == (401, "x-api-key header is not valid")


ERRORS: dict[str, Callable[[Cloud, Site], Any]] = {
    "400": lambda cloud, site: cloud.ask("PUT", f"site/{site.number}", {"name": ""}),
    "400 json": lambda cloud, site: cloud.ask("PUT", f"site/{site.number}", "{"),
    "401": lambda cloud, _site: cloud.get("sites", HTTP_X_API_KEY=""),
    "403": lambda cloud, site: cloud_of(cloud.organization, Role.VIEWER).ask(
        "PUT", f"site/{site.number}", {"name": "x"}
    ),
    "404": lambda cloud, _site: cloud.get("site/1"),
    "404 route": lambda cloud, _site: cloud.get("no/such/route"),
    "405": lambda cloud, site: cloud.ask("DELETE", f"site/{site.number}"),
    "413": lambda cloud, site: cloud.ask("PUT", f"site/{site.number}", {"name": "x" * 3_000_000}),
    "415": lambda cloud, site: cloud.client.put(
        f"/pub/v1/site/{site.number}", "name=x", content_type="text/plain", HTTP_X_API_KEY=cloud.key
    ),
}


@pytest.mark.parametrize("status", ERRORS)
def test_errors_are_never_json(cloud: Cloud, site: Site, status: str) -> None:
    """Error responses are always returned as a plain text message, not JSON-formatted."""
    code, words = text(ERRORS[status](cloud, site))
    assert str(code) == status[:3]
    assert words
    assert words[0] not in '{["'


# --- Changing Configuration via the API -------------------------------------------------------------------------------


@pytest.mark.parametrize("inherit", [True, False])
def test_the_origin_may_be_any_whatever_the_policy(cloud: Cloud, site: Site, inherit: bool) -> None:
    """Nothing prevents to change the ORIGIN to a completely custom rules, different from existing policies."""
    body = {"sn": "1", "mac": "00:11:22:33:44:55", "inherit": inherit}
    made = cloud.ask("POST", f"site/{site.number}/devices", body).json()
    place = SiteDevice.objects.get(number=made["id"])
    for origin in ("device", "site-device", "site"):
        assert at_device(cloud, place, {"a/b": entry("1", origin)}).status_code == 200
    # The policy is still set, for who looks at the device in the front end.
    assert cloud.get(f"device/{place.number}").json()["type"] == (
        "NET_ENTERPRISE" if inherit else "NET_INDIVIDUAL"
    )


def test_settings_are_merged_and_become_uci(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """After they're merged together, the final result is translated to the local configuration format (UCI)."""
    at_site(cloud, site, {"locale/deviceLang": {"value": "auto"}, "network/lan/enable": {"value": "1"}})
    at_device(cloud, place, {"radio/r5/enable": entry("0")})
    assert files_of(place) == {
        "etc/config/locale": "config locale 'main'\n\toption deviceLang 'auto'\n\n",
        "etc/config/network": "config network 'lan'\n\toption enable '1'\n\n",
        "etc/config/radio": "config radio 'r5'\n\toption enable '0'\n\n",
    }


def test_config_changes_are_posted(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Config changes are POSTed via API."""
    for path, sent in (
        (f"site/{site.number}", {"a/b": {"value": "1"}}), (f"device/{place.number}", {"c/d": entry("2")}),
    ):  # fmt: skip
        answer = cloud.change(path, sent)
        assert answer.json()["unfinishedTaskCount"] >= 1
    assert {key: each["value"] for key, each in config(cloud, place).items()} == {"a/b": "1", "c/d": "2"}


# --- Configuration Structure ------------------------------------------------------------------------------------------


def test_the_example_of_a_configuration_object(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """The configuration object is a very simple JSON object with a key/value pair for each key/value."""
    at_site(cloud, site, {"locale/deviceLang": {"value": "en"}})
    printed = {
        "locale/deviceLang": {"value": "auto", "origin": "site-device"},
        "radio/r5/enable": {"value ": "1", "origin": "device"},
        "network/lan/enable": {"value ": "1", "origin": "site"},
    }
    assert at_device(cloud, place, printed).status_code == 200
    # The third says that the site's value is in force, and the site has none.
    assert config(cloud, place) == {
        "locale/deviceLang": entry("auto", "site-device"), "radio/r5/enable": entry("1", "device"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("radio/r5/enable", 200), ("radio/enable", 200), ("radio/r5/ht/mode/enable", 200), ("radio/r5/", 200),
        ("radio/", 200), ("radio", 400), ("/r5/enable", 400), ("radio//enable", 400), ("", 400),
    ],
)  # fmt: skip
def test_a_key_is_a_root_nodes_and_at_most_one_property(
    cloud: Cloud, place: SiteDevice, key: str, status: int
) -> None:
    """The key is made up of one root node, zero or more additional nodes, and zero or one properties."""
    assert at_device(cloud, place, {key: entry("1")}).status_code == status


def test_numeric_nodes_are_entities_and_others_are_not(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """The first key, the one with the id after the root node, is a numeric node, and what we refer to as entities."""
    at_site(
        cloud,
        site,
        {f"{SSID}/broadcastSSID": {"value": "1"}, f"{SSID}/ssid": {"value": "x"}}
        | {"radio/global/bandSteering": {"value": "1"}, "radio/global/mode": {"value": "x"}},
    )
    own = {f"{SSID}/ssid": entry("y", "site-device"), "radio/global/mode": entry("y", "site-device")}
    stored = at_device(cloud, place, own).json()["device"]
    assert stored[f"{SSID}/broadcastSSID"]["origin"] == "site-device"
    assert stored["radio/global/bandSteering"]["origin"] == "site"


def test_a_user_creates_any_number_of_entities_each_with_a_numeric_id(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    """The user is allowed to create an indeterminate number of items. All entities are assigned a numeric id."""
    numbers = range(1_000_000_001, 1_000_000_041)
    at_site(cloud, site, {f"wireless/{number}/ssid": {"value": f"n{number}"} for number in numbers})
    sections = files_of(place)["etc/config/wireless"].split("\n\n")
    assert [each.splitlines()[0] for each in sections if each] == [
        f"config wireless '{number}'" for number in numbers
    ]


@pytest.mark.parametrize(
    ("level", "number", "status"),
    [
        ("site", 1_000_000_001, 200), ("site", 1_000_000_000, 400), ("site", 999_999_999, 400),
        ("device", 999_999_999, 200), ("device", 1_000_000_000, 400), ("device", 1_000_000_001, 400),
    ],
)  # fmt: skip
def test_ids_of_devices_are_below_and_those_of_sites_above(
    cloud: Cloud, site: Site, place: SiteDevice, level: str, number: int, status: int
) -> None:
    """IDs < 1000000000 are reserved for device level entities, and IDs > 1000000000 for site level entities."""
    path = f"site/{site.number}" if level == "site" else f"device/{place.number}"
    assert cloud.change(path, {f"wireless/{number}/ssid": entry("x", level)}).status_code == status


def test_ids_become_the_property_uid(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """These translate into UCI property "__uid" in the configuration that ends up on the device."""
    at_site(cloud, site, OFFICE)
    assert files_of(place)["etc/config/wireless"].startswith(
        "config wireless '1000000584'\n\toption __uid '1000000584'\n"
    )


def test_uids_of_users_are_checksums_of_their_names(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Some UIDs are generated with crc32 algorithm: preventing duplicate user names and overriding them by name."""
    number = binascii.crc32(b"admin")
    user = {f"users/{number}/name": {"value": "admin"}, f"users/{number}/passwd": {"value": "s"}}
    assert at_site(cloud, site, user).status_code == 200
    assert text(at_site(cloud, site, {"users/1000000001/name": {"value": "admin"}}))[0] == 400
    mine = {key: entry(each["value"], "site-device") for key, each in user.items()}
    mine[f"users/{number}/passwd"]["value"] = "d"
    assert at_device(cloud, place, mine).status_code == 200
    assert config(cloud, place)[f"users/{number}/passwd"] == entry("d", "site-device")


def test_only_the_whole_entity_is_overridden(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Once you change the network name of an inherited SSID you'll want to create an override for that whole SSID;
    you could change the passkey at the site level, and it would not apply to the device level SSID.
    """
    at_site(cloud, site, OFFICE)
    at_device(cloud, place, {f"{SSID}/ssid": entry("Lab", "site-device")})
    at_site(cloud, site, {f"{SSID}/key": {"value": "sitepass2"}})
    assert {key: each["value"] for key, each in config(cloud, place).items()} == {
        f"{SSID}/": "1000000584", f"{SSID}/ssid": "Lab", f"{SSID}/key": "sitepass1",
    }  # fmt: skip


# --- Configuration Merging --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site_key", "device_key", "origin", "result"),
    [
        (None, "device_value", "device", "device_value"),
        ("site_value", "device_value", "site-device", "device_value"),
        ("site_value", "device_value", "site", "site_value"),
        ("site_value", None, "site", "site_value"),
    ],
)
def test_the_table(
    cloud: Cloud,
    site: Site,
    place: SiteDevice,
    site_key: str | None,
    device_key: str | None,
    origin: str,
    result: str,
) -> None:
    """To determine which setting will take precedence, please refer to this table."""
    if site_key:
        assert at_site(cloud, site, {"a/b": {"value": site_key}}).status_code == 200
    if device_key:
        assert at_device(cloud, place, {"a/b": entry(device_key, origin)}).status_code == 200
    assert config(cloud, place) == {"a/b": entry(result, origin)}
    assert files_of(place) == {"etc/config/a": f"config a 'main'\n\toption b '{result}'\n\n"}


@pytest.mark.parametrize("origin", [None, "", "devcie", 5])
def test_a_device_must_say_how_to_merge_and_a_site_need_not(
    cloud: Cloud, site: Site, place: SiteDevice, origin: Any
) -> None:
    """You will be responsible in setting the proper merge behavior for a key. This is not true for sites."""
    sent = {"a/b": {"value": "1", **({"origin": origin} if origin is not None else {})}}
    assert text(at_device(cloud, place, sent))[0] == 400
    assert at_site(cloud, site, {"a/b": {"value": "1"}}).status_code == 200


def test_settings_of_a_site_always_have_the_origin_site(cloud: Cloud, site: Site) -> None:
    """Site configuration keys will always have ORIGIN set to "site"."""
    stored = at_site(cloud, site, {"a/b": {"value": "1"}, "c/d": {"value": "2", "origin": "site"}}).json()
    assert {each["origin"] for each in stored["site"].values()} == {"site"}
    for origin in ("device", "site-device"):
        assert text(at_site(cloud, site, {"a/b": entry("1", origin)}))[0] == 400


def test_the_merge_knows_the_keys_origins_and_no_policy(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """The merger module knows nothing about the device's configuration policy."""
    at_site(cloud, site, {"a/b": {"value": "s"}})
    at_device(cloud, place, {"a/b": entry("d", "site-device"), "c/d": entry("e", "device")})
    inherited = config(cloud, place)
    # Without inheritance the device's own keys merge as before; only nothing of the site comes in.
    places.place_update(place, inherits=False)
    assert config(cloud, place) == inherited


# --- Additional Examples ----------------------------------------------------------------------------------------------


def test_the_config_call_tells_what_changed(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Fetch the device's config object via the /devices/{deviceId}/config call and figure out what changed."""
    at_site(cloud, site, OFFICE)
    before = config(cloud, place)
    at_device(cloud, place, {"hotspot/landingURL": entry("https://x.example/")})
    after = config(cloud, place)
    assert {key: after[key] for key in after if after[key] != before.get(key)} == {
        "hotspot/landingURL": entry("https://x.example/")
    }


def test_what_was_fetched_is_passed_back_with_changes(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Fetch the current config object and apply whatever changes you want to it, then pass the object back."""
    at_site(cloud, site, {**OFFICE, "ntp/server": {"value": "a"}, "log/size": {"value": "1"}})
    fetched = changes(cloud, place)["device"]
    fetched["ntp/server"] = entry("b", "site-device")
    assert at_device(cloud, place, fetched).status_code == 200
    place.refresh_from_db()
    # What came from the site is still the site's affair.
    assert place.settings == {"ntp/server": entry("b", "site-device")}
    whole = cloud.get(f"site/{site.number}/config-changes").json()["site"]
    whole["log/size"]["value"] = "2"
    assert at_site(cloud, site, whole).json()["site"] == whole


def test_defaults_form_new_entities(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Always use existing values, or provided defaults to form new entities in config."""
    form = changes(cloud, place)["defaults"]["ssid"]
    assert form["ssid"] == ""
    new = {f"wireless/12/{name}": entry(value) for name, value in form.items()}
    new |= {"wireless/12/": entry("12"), "wireless/12/ssid": entry("Guests")}
    assert at_device(cloud, place, new).status_code == 200
    assert "\toption ssid 'Guests'\n" in files_of(place)["etc/config/wireless"]


def test_the_answer_to_the_first_request_of_the_example(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """You'll see a response like this."""
    at_site(cloud, site, {"a/b": {"value": "1"}})
    body = changes(cloud, place)
    assert list(body) == [
        "unfinishedTaskCount", "configSuspended", "configResync", "timestamp", "serverSideChanged", "site", "device",
        "defaults",
    ]  # fmt: skip
    assert (body["configSuspended"], body["configResync"], body["serverSideChanged"]) == (False, False, False)
    assert len(body["timestamp"]) == len("5d478d10-4313-11e8-ba24-2de5f1a646e0")
    assert body["timestamp"][14] == "1"
    assert body["site"] == {"a/b": entry("1", "site")}


def test_the_timestamp_of_the_answer_is_needed(cloud: Cloud, place: SiteDevice) -> None:
    """Make sure to include the timestamp from the GET response when forming the body."""
    path = f"device/{place.number}/config-changes"
    sent = {"changes": {"a/b": entry("1")}}
    assert text(cloud.ask("POST", path, sent)) == (400, "timestamp is needed.")
    first = changes(cloud, place)["timestamp"]
    assert cloud.ask("POST", path, {"timestamp": first, **sent}).json()["serverSideChanged"] is False
    late = cloud.ask("POST", path, {"timestamp": first, "changes": {"a/b": entry("2")}}).json()
    assert (late["serverSideChanged"], late["device"]["a/b"]["value"]) == (True, "1")


def test_the_override_of_the_example(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Future changes to the site-level value will not have an effect on the device's config due to the override."""
    at_site(cloud, site, {"hotspot/landingURL": {"value": "https://a.example/"}})
    sent = {
        "timestamp ": changes(cloud, place)["timestamp"],
        "changes": {"hotspot/landingURL": {"value": "https://www/.ignitenet.com", "origin": "site-device"}},
    }
    path = f"device/{place.number}/config-changes"
    assert cloud.ask("POST", path, sent).status_code == 200
    at_site(cloud, site, {"hotspot/landingURL": {"value": "https://b.example/"}})
    overridden = entry("https://www/.ignitenet.com", "site-device")
    assert config(cloud, place) == {"hotspot/landingURL": overridden}
    # "You can login to the Cloud UI and see a new override exists."
    assert changes(cloud, place)["device"] == {"hotspot/landingURL": overridden}


# --- Timeouts and Errors ----------------------------------------------------------------------------------------------


def test_more_than_two_hundred_requests_in_ten_seconds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 Too Many Requests: there is a limit of 200 HTTP requests per 10s, from your network."""
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    codes = []
    for number in range(220):
        # A steady 20 in a second stay within the limit for as long as one likes.
        clock[0] += 0.0501
        codes.append(cloud.get("sites", HTTP_X_API_KEY=f"x{number}").status_code)
    assert set(codes) == {401}
    assert text(cloud.get("sites")) == (429, "Too Many Requests")
    assert cloud.get("sites", HTTP_X_API_KEY="another").status_code == 429
    clock[0] += 0.05
    assert [cloud.get("sites").status_code for _ in range(2)] == [200, 429]
    assert cloud.get("sites", REMOTE_ADDR="192.0.2.7").status_code == 200


def test_a_busy_service_says_503(cloud: Cloud, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 Service Unavailable; inspect the request or retry it later."""

    def locked(*_args: Any, **_options: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(sites, "site_settings_change", locked)
    answer = at_site(cloud, site, {"a/b": {"value": "1"}})
    code, words = text(answer)
    assert code == 503
    assert "locked" not in words
    assert int(answer["Retry-After"]) > 0


def test_get_and_put_are_safe_to_retry(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """It's generally safe to retry GET and PUT methods."""
    for path in (f"site/{site.number}", f"device/{place.number}", f"devices/{place.number}/config"):
        assert cloud.get(path).json() == cloud.get(path).json()
    for path, body in (
        (f"site/{site.number}", {"name": "x"}),
        (f"device/{place.number}", {"name": "x", "suspend_config": True}),
        (f"device/{place.number}", {"decomm": True}),
    ):
        first, second = cloud.ask("PUT", path, body), cloud.ask("PUT", path, body)
        assert (first.status_code, second.json()) == (200, first.json())


def test_a_device_is_managed_by_its_site_from_the_start(cloud: Cloud, site: Site) -> None:
    """Common actions, such as device registration."""
    body = {"sn": "7", "mac": "00:11:22:33:44:55", "name": "ap"}
    made = cloud.ask("POST", f"site/{site.number}/devices", body)
    assert made.status_code == 201
    place = SiteDevice.objects.select_related("device__config").get(number=made.json()["id"])
    assert place.device.config.managed_by == Managed.SITE
