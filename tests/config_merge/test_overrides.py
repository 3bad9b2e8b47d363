"""Which devices of a site do not follow it, and where."""

from typing import Any

import pytest

from config_merge.models import Managed, Site, SiteDevice
from config_merge.queries import overrides_of
from config_merge.services import places, sites
from tests import factories

WIFI = "wireless/1000000001"


def entry(value: str | None, origin: str = "site-device") -> dict[str, Any]:
    return {"value": value, "origin": origin}


@pytest.fixture
def site(db: None) -> Site:
    site = sites.site_create(organization=factories.organization(), name="s")
    changes = {
        key: {"value": "1"}
        for key in (
            "ntp/server",
            "ntp/enable",
            f"{WIFI}/",
            f"{WIFI}/ssid",
            f"{WIFI}/key",
            "wireless/1000000002/ssid",
        )
    }
    sites.site_settings_change(site, changes, version=None)
    return site


def device(site: Site, changes: dict[str, Any]) -> SiteDevice:
    number = SiteDevice.objects.count()
    place = places.place_create(site, serial=f"s{number}", mac_address=factories.mac(), name=f"ap-{number}")
    places.place_settings_change(place, changes, version=None)
    return place


def test_scalars_entities_and_what_was_taken_away(site: Site) -> None:
    whole = device(
        site, {f"{WIFI}/ssid": entry("x"), "ntp/server": entry("y"), "own/key": entry("z", "device")}
    )
    gone = device(site, {"wireless/1000000002/": entry(None, "device"), "ntp/enable": entry(None, "device")})
    device(site, {"other/key": entry("1", "device"), "wireless/5/ssid": entry("own", "device")})
    device(site, {})
    found = overrides_of(site)
    assert found.is_complete
    assert [(each.device_id, each.name, each.number, each.keys) for each in found.devices] == [
        (whole.device_id, "ap-0", whole.number, ("ntp/server", f"{WIFI}/")),
        (gone.device_id, "ap-1", gone.number, ("ntp/enable", "wireless/1000000002/")),
    ]


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("ntp/server", ["ap-0"]), (f"{WIFI}/key", ["ap-0", "ap-1"]), (f"{WIFI}/", ["ap-0", "ap-1"]), ("ntp/enable", []),
        ("no/such", []),
    ],
)  # fmt: skip
def test_those_of_one_key(site: Site, key: str, names: list[str]) -> None:
    device(site, {"ntp/server": entry("y"), f"{WIFI}/ssid": entry("x")})
    device(site, {f"{WIFI}/ssid": entry("x")})
    assert [each.name for each in overrides_of(site, key).devices] == names


def test_only_those_the_site_reaches(site: Site) -> None:
    apart = device(site, {"ntp/server": entry("y")})
    places.place_update(apart, inherits=False)
    places.device_manage(device(site, {"ntp/server": entry("y")}).device, by=Managed.TEMPLATES)
    places.place_update(device(site, {"ntp/server": entry("y")}), is_retired=True)
    assert overrides_of(site).devices == ()


def test_one_query_and_no_more_devices_than_asked(site: Site, django_assert_num_queries: Any) -> None:
    for _ in range(3):
        device(site, {"ntp/server": entry("y")})
    with django_assert_num_queries(1):
        found = overrides_of(site, most=2)
    assert (len(found.devices), found.is_complete) == (2, False)
    assert overrides_of(site, most=3).is_complete
