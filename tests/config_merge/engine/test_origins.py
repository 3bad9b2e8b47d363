"""The merge of a site's and a device's settings: the vectors, the table, and laws for every value."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_merge.engine import InvalidSettings, Level, Merged, entity_of, merge, overridden, packages_of

VECTORS = json.loads((Path(__file__).parent / "merge_vectors.json").read_text())
ORIGINS = ("site", "device", "site-device")
VALUES = st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=3)
SCALARS = st.sampled_from(["ntp/server", "radio/r5/channel", "wireless/country", "users/007/name", "locale/"])
ENTITIES = ("wireless/7/", "users/385153371/")
KEYS = SCALARS | st.sampled_from([f"{entity}{name}" for entity in ENTITIES for name in ("", "a", "b", "s/c")])
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "value": st.none() | VALUES,
        "origin": st.sampled_from([*ORIGINS, " Device ", "devcie", ""]) | st.none(),
    },
)
LEVELS = st.dictionaries(KEYS, ENTRIES, max_size=10)
DEFAULTS = st.dictionaries(KEYS | st.sampled_from(["ssid", "user"]), st.text(max_size=3), max_size=4)


def merged(site: Any, device: Any, defaults: Any = None) -> Merged:
    return merge(Level.of(site), Level.of(device), defaults=defaults)


def in_force(result: Merged) -> dict[str, dict[str, Any]]:
    return {
        key: {"value": list(value) if isinstance(value, tuple) else value, "source": result.sources[key]}
        for key, value in result.values.items()
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    result = merged(vector["site"], vector["device"], vector["defaults"])
    packages = packages_of(result.values)
    assert in_force(result) == vector["merged"]
    assert [list(each) for each in (*result.warnings, *packages.warnings)] == vector["warnings"]
    assert packages.text() == vector["uci"]


# --- the table of the source document ---------------------------------------------------------------------------------


@given(SCALARS, VALUES, VALUES)
def test_the_four_rows(key: str, site: Any, device: Any) -> None:
    def result(site_entry: Any, device_entry: Any) -> Any:
        return in_force(
            merged({key: site_entry} if site_entry else {}, {key: device_entry} if device_entry else {})
        )

    theirs = {"value": site, "origin": "site"}
    assert result(None, {"value": device, "origin": "device"}) == {key: {"value": device, "source": "device"}}
    assert result(theirs, {"value": device, "origin": "site-device"}) == {
        key: {"value": device, "source": "device"}
    }
    assert result(theirs, {"value": device, "origin": "site"}) == {key: {"value": site, "source": "site"}}
    assert result(theirs, None) == {key: {"value": site, "source": "site"}}


@given(
    st.sampled_from(ENTITIES), st.dictionaries(st.sampled_from(["", "a", "s/c"]), VALUES, min_size=1), VALUES
)
def test_the_four_rows_of_an_entity(entity: str, members: dict[str, Any], other: Any) -> None:
    def level(origin: str, *names: str) -> dict[str, Any]:
        return {f"{entity}{name}": {"value": members.get(name, other), "origin": origin} for name in names}

    def sources(site: Any, device: Any) -> dict[str, str]:
        return dict(merged(site, device).sources)

    theirs, extra = level("site", *members), f"{entity}own"
    assert sources({}, level("device", *members)) == dict.fromkeys(theirs, "device")
    for origin, keys, source in (
        ("site-device", {*level("", *members), extra}, "device"),
        ("site", theirs.keys(), "site"),
    ):
        assert sources(theirs, level(origin, *members, "own")) == dict.fromkeys(keys, source)
    assert sources(theirs, {}) == dict.fromkeys(theirs, "site")


def expected_scalar(site: dict[str, Any] | None, device: dict[str, Any] | None) -> tuple[str | None, str]:
    """The rules of a scalar, written down once more and plainly: (source, warning)."""
    ours, theirs = (device or {}).get("value"), (site or {}).get("value")
    origin = (device or {}).get("origin") or (site or {}).get("origin")
    if origin == "device":
        source = "device" if ours is not None else None
    elif origin == "site-device":
        source = "device" if ours is not None else "site" if theirs is not None else None
    elif origin == "site":
        source = "site" if theirs is not None else None
    else:
        source = None
    if origin == "device":
        warning = "suppressed" if ours is None else "shadows-site" if theirs is not None else ""
    elif origin == "site-device":
        warning = "empty-override" if ours is None else "orphan-override" if theirs is None else ""
    elif origin == "site":
        warning = "stale-copy" if theirs is None and ours is not None else ""
    else:
        warning = "no-origin" if ours is not None or theirs is not None else ""
    return source, warning


ENTRY_CHOICES = [
    None,
    *(
        {"value": value, "origin": origin} if origin else {"value": value}
        for value, origin in product((None, "", "v"), (None, *ORIGINS))
    ),
]


@pytest.mark.parametrize("default", [None, "d"])
@pytest.mark.parametrize(("site", "device"), list(product(ENTRY_CHOICES, ENTRY_CHOICES)))
def test_every_combination_of_a_scalar(
    site: dict[str, Any] | None, device: dict[str, Any] | None, default: str | None
) -> None:
    key = "ntp/server"
    mine = {**device, "value": "D"} if device and device["value"] == "v" else device
    theirs = {**site, "value": "S"} if site and site["value"] == "v" else site
    result = merged(
        {key: theirs} if theirs is not None else {},
        {key: mine} if mine is not None else {},
        {key: default} if default else {},
    )
    source, warning = expected_scalar(theirs, mine) if theirs or mine else (None, "")
    if source is None and default and warning != "suppressed":
        assert in_force(result) == {key: {"value": default, "source": "default"}}
    elif source is None:
        assert in_force(result) == {}
    else:
        value = (mine if source == "device" else theirs or {})["value"]  # type: ignore[index]
        assert in_force(result) == {key: {"value": value, "source": source}}
    assert list(result.warnings) == ([(warning, key)] if warning else [])


# --- laws -------------------------------------------------------------------------------------------------------------


@given(LEVELS, LEVELS, DEFAULTS)
def test_an_entity_is_taken_whole_or_not_at_all(site: Any, device: Any, defaults: Any) -> None:
    result = merged(site, device, defaults)
    for entity in ENTITIES:
        taken = {key: result.sources[key] for key in result.values if entity_of(key) == entity}
        assert len(set(taken.values())) <= 1
        if taken:
            (source,) = set(taken.values())
            level = site if source == "site" else device
            whole = {
                key
                for key, entry in level.items()
                if entity_of(key) == entity and entry.get("value") is not None
            }
            assert taken.keys() == whole


@given(LEVELS, LEVELS, DEFAULTS, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(site: Any, device: Any, defaults: Any, random: Any) -> None:
    def shuffled(tree: dict[str, Any]) -> dict[str, Any]:
        items = list(tree.items())
        random.shuffle(items)
        return dict(items)

    first, second = (
        merged(site, device, defaults),
        merged(shuffled(site), shuffled(device), shuffled(defaults)),
    )
    assert (first.values, first.sources, first.warnings) == (second.values, second.sources, second.warnings)
    assert packages_of(first.values).text() == packages_of(second.values).text()


@given(LEVELS, LEVELS, DEFAULTS)
def test_what_is_in_force_is_what_its_level_says(site: Any, device: Any, defaults: Any) -> None:
    result = merged(site, device, defaults)
    assert result.values.keys() == result.sources.keys()
    for key, value in result.values.items():
        told = dict(result.told(key))
        assert told[result.sources[key]] == value
        assert result.sources[key] not in dict(result.shadowed(key))
    for key in result.hidden():
        assert result.shadowed(key)
        assert key not in result.values


@given(LEVELS, LEVELS)
def test_what_is_overridden_is_what_the_site_says_in_vain(site: Any, device: Any) -> None:
    theirs = {key: {**entry, "origin": "site"} for key, entry in site.items()}
    result = merged(theirs, device)
    said = {key for key, entry in theirs.items() if entry.get("value") is not None}
    assert overridden(Level.of(theirs), Level.of(device)) == {
        entity_of(key) or key for key in said if result.sources.get(key) != "site"
    }


@given(LEVELS, LEVELS)
def test_levels_are_only_read(site: Any, device: Any) -> None:
    theirs, ours = Level.of(site), Level.of(device)
    before = merge(theirs, ours)
    merge(theirs, Level.of({"wireless/7/a": {"value": "x", "origin": "device"}}))
    merge(Level.of({"ntp/server": {"value": "x", "origin": "site"}}), ours)
    after = merge(theirs, ours)
    assert (before.values, before.sources, before.warnings) == (after.values, after.sources, after.warnings)


# --- entities ---------------------------------------------------------------------------------------------------------

OFFICE = {
    "wireless/1000000584/": {"value": "1000000584", "origin": "site"},
    "wireless/1000000584/ssid": {"value": "Office", "origin": "site"},
    "wireless/1000000584/key": {"value": "sitepass1", "origin": "site"},
}


def test_an_override_is_not_filled_from_the_site() -> None:
    result = merged(OFFICE, {"wireless/1000000584/ssid": {"value": "Lab", "origin": "site-device"}})
    assert result.values == {"wireless/1000000584/ssid": "Lab"}
    assert result.warnings == (
        ("incomplete-override", "wireless/1000000584/"),
        ("incomplete-override", "wireless/1000000584/key"),
    )
    assert result.hidden() == ["wireless/1000000584/", "wireless/1000000584/key"]


def test_a_device_of_its_own_shadows_the_entity_of_the_site() -> None:
    device = {key: {"value": "x", "origin": "device"} for key in OFFICE}
    result = merged(OFFICE, device)
    assert set(result.sources.values()) == {"device"}
    assert result.warnings == (("shadows-site", "wireless/1000000584/"),)


def test_a_stale_copy_of_an_entity_is_gone() -> None:
    result = merged({}, OFFICE)
    assert result.values == {}
    assert result.warnings == (("stale-copy", "wireless/1000000584/"),)


def test_an_entity_without_any_origin_is_gone() -> None:
    result = merged({key: {"value": entry["value"]} for key, entry in OFFICE.items()}, {})
    assert result.values == {}
    assert result.warnings == (("no-origin", "wireless/1000000584/"),)


def test_what_a_device_does_not_inherit() -> None:
    site = Level.of({**OFFICE, "users/1/name": {"value": "root", "origin": "site"}})
    assert set(merge(site.without(["wireless"]), Level.of({})).values) == {"users/1/name"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "an object is needed"),
        ({"a/b": "1"}, "a/b: an object is needed"),
        ({"a/b": {"value": 1}}, "a/b: a value must be a string, or a list of strings"),
        ({"a/b": {"value": True}}, "a/b: a value must be a string, or a list of strings"),
        ({"a/b": {"value": ["x", 1]}}, "a/b: a value must be a string, or a list of strings"),
        ({"a/b": {"value": "1", "value ": "2"}}, "a/b: there are two members 'value'"),
    ],
)
def test_refused(tree: Any, words: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Level.of(tree)
    assert str(refused.value) == words


def test_no_repr_shows_a_value() -> None:
    result = merged(OFFICE, {})
    assert "sitepass1" not in repr(result)
    assert "sitepass1" not in repr(result.site.entries)
