"""Changes of settings: what is accepted, what is refused, what becomes of entities."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_merge.engine import InvalidSettings, Level, merge
from config_merge.engine.origins import entity_of
from config_merge.engine.settings_change import device_changed, site_changed, user_id

ROOT = {
    "users/385153371/": {"value": "385153371", "origin": "site"},
    "users/385153371/name": {"value": "root", "origin": "site"},
    "users/385153371/passwd": {"value": "s1", "origin": "site"},
}
OFFICE = {
    "wireless/1000000584/": {"value": "1000000584", "origin": "site"},
    "wireless/1000000584/ssid": {"value": "Office", "origin": "site"},
    "wireless/1000000584/key": {"value": "sitepass1", "origin": "site"},
}
SITE = ROOT | OFFICE


def entry(value: Any, origin: str = "device") -> dict[str, Any]:
    return {"value": value, "origin": origin}


@pytest.mark.parametrize(
    "key",
    [
        "/a/b", "a//b", "a b/c", "", "a", "wireless/guest-lan/x", "wireless/x/__uid", "wireless/007/ssid", "a/b ",
        "a/" + "b" * 300, "wireless/" + "1" * 21 + "/ssid",
    ],
)  # fmt: skip
def test_keys_that_are_refused(key: str) -> None:
    with pytest.raises(InvalidSettings):
        site_changed({}, {key: entry("1", "site")})
    with pytest.raises(InvalidSettings):
        device_changed({}, {key: entry("1")}, site=SITE)


@pytest.mark.parametrize(
    "members",
    [
        entry(True), entry(1), entry({}), entry([]), entry(["1"]), entry("\x01"), entry("a\x00"), entry("\ud800"),
        entry("x" * 70_000), "1", [], 1, {"value": "1", "value ": "2", "origin": "device"},
        {"value": "1", "origin": "device", "other": 1},
    ],
)  # fmt: skip
def test_entries_that_are_refused(members: Any) -> None:
    with pytest.raises(InvalidSettings):
        device_changed({}, {"ntp/server": members}, site={})
    without_origin = (
        {k: v for k, v in members.items() if k != "origin"} if isinstance(members, dict) else members
    )
    with pytest.raises(InvalidSettings):
        site_changed({}, {"ntp/server": without_origin})


@pytest.mark.parametrize("changes", [None, [], "x", 1])
def test_changes_are_an_object(changes: Any) -> None:
    with pytest.raises(InvalidSettings):
        site_changed({}, changes)
    with pytest.raises(InvalidSettings):
        device_changed({}, changes, site={})


def test_origins() -> None:
    assert site_changed({}, {"a/b": {"value": "1"}}) == {"a/b": entry("1", "site")}
    assert site_changed({}, {"a/b": {"value ": "1", "origin": " Site"}}) == {"a/b": entry("1", "site")}
    for origin in ("device", "site-device", "devcie"):
        with pytest.raises(InvalidSettings):
            site_changed({}, {"a/b": entry("1", origin)})
    for members in ({"value": "1"}, entry("1", "devcie"), entry("1", "")):
        with pytest.raises(InvalidSettings):
            device_changed({}, {"a/b": members}, site={})


def test_numbers_of_entities() -> None:
    for number, fits in ((12, False), (1_000_000_000, False), (1_000_000_001, True)):
        change = {f"wireless/{number}/ssid": entry("x", "site")}
        if fits:
            assert site_changed({}, change)
        else:
            with pytest.raises(InvalidSettings):
                site_changed({}, change)
    assert device_changed({}, {"wireless/12/": entry("12")}, site={})
    for origin in ("device", "site-device"):
        with pytest.raises(InvalidSettings):
            device_changed({}, {"wireless/1000000009/ssid": entry("x", origin)}, site={})
    with pytest.raises(InvalidSettings):
        device_changed({}, {"wireless/12/ssid": entry("x", "site-device")}, site={})


def test_numbers_of_logins_are_checksums_of_their_names() -> None:
    assert user_id("root") == "385153371"
    assert user_id("admin") == "2282622326"
    assert site_changed({}, ROOT) == ROOT
    for changes in (
        {"users/1/name": entry("root", "site")},
        {"users/385153371/passwd": entry("x", "site")},
        {"users/385153371/name": entry("röt", "site")},
    ):
        with pytest.raises(InvalidSettings):
            site_changed({}, changes)
    with pytest.raises(InvalidSettings, match="a login needs a name"):
        site_changed(ROOT, {"users/385153371/name": None})


def test_another_name_with_the_same_checksum_is_refused() -> None:
    # Both have the CRC-32 1774765869.
    first, second = "codding", "gnu"
    assert user_id(first) == user_id(second)
    key = f"users/{user_id(first)}/name"
    stored = site_changed({}, {key: entry(first, "site")})
    with pytest.raises(InvalidSettings, match="same number"):
        site_changed(stored, {key: entry(second, "site")})


def test_removal() -> None:
    assert site_changed(SITE, {"wireless/1000000584/": None}) == ROOT
    assert "wireless/1000000584/key" not in site_changed(SITE, {"wireless/1000000584/key": None})
    assert site_changed({}, {"a/b": None}) == {}
    own = {"a/b": entry("1")}
    assert device_changed(own, {"a/b": None}, site={}) == {}
    assert device_changed(own, {"a/b": entry("x", "site")}, site={}) == {}
    assert device_changed({}, {"a/b": entry(None)}, site={}) == {"a/b": entry(None)}
    with pytest.raises(InvalidSettings):
        device_changed({}, {"a/b": entry(None, "site-device")}, site={})
    with pytest.raises(InvalidSettings):
        site_changed({}, {"a/b": {"value": None}})


def test_an_override_of_one_property_copies_the_entity_first() -> None:
    stored = device_changed({}, {"users/385153371/passwd": entry("d", "site-device")}, site=SITE)
    assert stored == {
        "users/385153371/": entry("385153371", "site-device"),
        "users/385153371/name": entry("root", "site-device"),
        "users/385153371/passwd": entry("d", "site-device"),
    }
    later = {**SITE, "users/385153371/shell": entry("1", "site")}
    again = device_changed(stored, {"users/385153371/passwd": entry("e", "site-device")}, site=later)
    assert "users/385153371/shell" not in again


def test_a_whole_entity_posted_back_with_copies_is_frozen_whole() -> None:
    posted = {**OFFICE, "wireless/1000000584/ssid": entry("Lab", "site-device")}
    stored = device_changed({}, posted, site=SITE)
    assert {each["origin"] for each in stored.values()} == {"site-device"}
    assert stored["wireless/1000000584/key"]["value"] == "sitepass1"


def test_what_was_read_is_posted_back_unchanged() -> None:
    assert device_changed({}, SITE, site=SITE) == {}
    own = device_changed({}, {"users/385153371/passwd": entry("d", "site-device")}, site=SITE)
    assert device_changed(own, SITE | own, site=SITE) == own


def test_an_override_is_taken_back_whole() -> None:
    own = device_changed({}, {"wireless/1000000584/ssid": entry("Lab", "site-device")}, site=SITE)
    assert device_changed(own, {"wireless/1000000584/": None}, site=SITE) == {}
    assert device_changed(own, OFFICE, site=SITE) == {}
    with pytest.raises(InvalidSettings, match="taken back whole"):
        device_changed(own, {"wireless/1000000584/ssid": entry("Office", "site")}, site=SITE)


def test_an_entity_is_taken_away_and_comes_back() -> None:
    gone = device_changed({}, {"wireless/1000000584/": entry(None)}, site=SITE)
    assert gone == {"wireless/1000000584/": entry(None)}
    assert merge(Level.of(OFFICE), Level.of(gone)).values == {}
    back = device_changed(gone, {"wireless/1000000584/ssid": entry("Lab", "site-device")}, site=SITE)
    assert back.keys() == OFFICE.keys()
    with pytest.raises(InvalidSettings):
        device_changed({}, {"wireless/1000000584/ssid": entry(None)}, site=SITE)
    both = {"wireless/1000000584/": entry(None), "wireless/1000000584/ssid": entry("x", "site-device")}
    with pytest.raises(InvalidSettings, match="taken away by the same change"):
        device_changed({}, both, site=SITE)


KEYS = st.sampled_from([*SITE, "ntp/server", "wireless/7/", "wireless/7/ssid", "wireless/x/y"])
MEMBERS = st.none() | st.fixed_dictionaries(
    {
        "value": st.none() | st.sampled_from(["root", "x", ""]),
        "origin": st.sampled_from(["site", "device", "site-device"]),
    }
)


@given(st.lists(st.dictionaries(KEYS, MEMBERS, max_size=5), max_size=4))
def test_whatever_is_accepted_merges_without_loss(changes: list[dict[str, Any]]) -> None:
    stored: dict[str, dict[str, Any]] = {}
    for change in changes:
        before = {key: dict(each) for key, each in stored.items()}
        try:
            after = device_changed(stored, change, site=SITE)
        except InvalidSettings:
            assert stored == before
            continue
        stored = after
    result = merge(Level.of(SITE), Level.of(stored))
    codes = {code for code, _ in result.warnings}
    assert not codes & {"mixed-origin", "bad-origin", "no-origin", "stale-copy", "empty-override"} - {
        "mixed-origin"
    }
    for key, each in stored.items():
        if each["value"] is not None:
            assert result.sources.get(key) == "device", (key, entity_of(key))
