"""Edits by hand, on their way back into what a device says by itself: render, edit, adopt, render is the edit."""

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from config_merge.engine import (
    File,
    Layer,
    Level,
    Source,
    device_changed,
    merge,
    packages_of,
    render,
    resolve,
)
from config_merge.engine.adopt_settings import Adopted, settings_adopted, settings_of, settings_remaining
from config_merge.engine.adopt_tree import tree_adopted
from config_merge.engine.uci_reading import UnreadableUci, managed, read_uci
from tests.config_merge.engine.samples import ACCESS_POINT, CORPUS, OPENWRT

WIFI = "wireless/1000000001"
SITE = {
    "ntp/": "ntp", "ntp/server": "one", "ntp/enable": "1", "radio/r5/": "r5", "radio/r5/channel": "36",
    "radio/r5/acl/mode": "deny", f"{WIFI}/": "1000000001", f"{WIFI}/ssid": "it's", f"{WIFI}/key": "pass word",
    f"{WIFI}/wps/enable": "0",
}  # fmt: skip
OWN = {
    "radio/r5/channel": ("40", "site-device"), "ntp/extra": ("x", "device"), "lan/7/": ("7", "device"),
    "lan/7/ip": ("10.0.0.1", "device"),
}  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


def levels() -> tuple[dict[str, Any], dict[str, Any]]:
    site = {key: {"value": value, "origin": "site"} for key, value in SITE.items()}
    return site, {key: {"value": value, "origin": origin} for key, (value, origin) in OWN.items()}


def files_of(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {file.path: file.contents.decode() for file in packages_of(values).files()}


def adopted(files: dict[str, str | None], *, whole: bool = True) -> tuple[Adopted, dict[str, Any], list[str]]:
    """Adopt files; returns that, the device's settings afterwards, and what would still differ."""
    site, own = levels()
    wanted = merge(Level.of(site), Level.of(own), defaults={"ntp/pool": "default"}).values
    found = settings_adopted(files, whole=whole, wanted=wanted, own=own, site=site)
    after = device_changed(own, found.changes, site=site)
    remaining = settings_remaining(
        files, whole=whole, wanted=wanted, own=after, site=site, defaults={"ntp/pool": "default"}
    )
    return found, after, remaining


def merged(own: dict[str, Any]) -> dict[str, Any]:
    return dict(merge(Level.of(levels()[0]), Level.of(own), defaults={"ntp/pool": "default"}).values)


# --- UCI --------------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(["a", "b_c", "x9"]), TEXTS | st.lists(TEXTS, min_size=1), min_size=1))
def test_what_is_written_is_read_back(options: dict[str, Any]) -> None:
    values = {
        f"radio/r5/{name}": tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
    }
    text = packages_of(values).files()[0].contents.decode()
    (section,) = read_uci(text)
    assert (section.type, section.name, dict(section.options)) == (
        "radio",
        "r5",
        {key.rpartition("/")[2]: value for key, value in values.items()},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config a b\n option x 1 # why\n", [("a", "b", {"x": "1"})]),
        ('config a \'b\'; option x "q\\"\\\\"\n', [("a", "b", {"x": 'q"\\'})]),
        ("config a\n\toption x 'two\nlines'\n", [("a", "a", {"x": "two\nlines"})]),
        ("config a\nconfig a\n", [("a", "a_0", {}), ("a", "a_1", {})]),
        ("config a 'a'\nconfig a\n", [("a", "a", {}), ("a", "a_0", {})]),
        ("config a b\nconfig c d\nconfig a b\n\tlist x 1\n", [("a", "b", {"x": ("1",)}), ("c", "d", {})]),
        ("package p\n\nconfig a b\n\toption x un'quo'\"ted\"\n", [("a", "b", {"x": "unquoted"})]),
    ],
)
def test_uci_as_people_write_it(text: str, expected: list[Any]) -> None:
    assert [(each.type, each.name, dict(each.options)) for each in read_uci(text)] == expected


@pytest.mark.parametrize("text", ["option x 1\n", "config\n", "config a 'b\n", 'config a "b\n', "nonsense\n"])
def test_what_is_no_uci_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(UnreadableUci) as caught:
        read_uci(text)
    assert caught.value.path == "#/1"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableUci):
        read_uci(text)


def test_of_a_merged_file_only_what_was_sent_counts() -> None:
    sent = read_uci("config a 'x'\n\toption one 1\n")
    there = read_uci("config a 'other'\n\nconfig a 'x'\n\toption two 2\n\toption one 9\n")
    assert [dict(each.options) for each in managed(sent, there, whole=False)] == [{"one": "9"}]
    assert [each.name for each in managed(sent, there, whole=True)] == ["x", "other"]


# --- settings ---------------------------------------------------------------------------------------------------------


def test_an_unedited_device_has_nothing_to_adopt() -> None:
    found, after, remaining = adopted(files_of(merged(levels()[1])))
    assert (found.changes, found.left_out, after, remaining) == ({}, (), levels()[1], [])


@given(st.data())
def test_render_edit_adopt_render_is_the_edit(data: st.DataObject) -> None:
    values = merged(levels()[1])
    key = data.draw(st.sampled_from(sorted(key for key in values if not key.endswith("/"))))
    edited = dict(values)
    edit = data.draw(st.sampled_from(["change", "remove", "add"]))
    if edit == "remove":
        del edited[key]
    else:
        start = key.rpartition("/")[0]
        edited[key if edit == "change" else f"{start}/fresh"] = data.draw(TEXTS)
    files = files_of(edited)
    for path in files_of(values):
        files.setdefault(path, "")
    found, after, remaining = adopted(files)
    assert (found.left_out, remaining) == ((), [])
    again = files_of(merged(after))
    assert {path: text for path, text in again.items() if text} == {
        path: text for path, text in files.items() if text
    }


@given(st.dictionaries(st.sampled_from(sorted({*SITE, *OWN})), TEXTS, max_size=6))
def test_several_edits_at_once(edits: dict[str, str]) -> None:
    values = merged(levels()[1])
    edited = values | {key: value for key, value in edits.items() if not key.endswith("/") and key in values}
    found, after, remaining = adopted(files_of(edited))
    assert (found.left_out, remaining) == ((), [])
    assert files_of(merged(after)) == files_of(edited)


def test_origins_say_whether_the_site_has_it_too() -> None:
    values = merged(levels()[1])
    found, _, _ = adopted(files_of(values | {"ntp/server": "two", "ntp/extra": "y", "ntp/fresh": "z"}))
    assert found.changes == {
        "ntp/server": {"value": "two", "origin": "site-device"},
        "ntp/extra": {"value": "y", "origin": "device"},
        "ntp/fresh": {"value": "z", "origin": "device"},
    }
    found, after, _ = adopted(files_of(values | {f"{WIFI}/ssid": "mine"}))
    assert {entry["origin"] for entry in found.changes.values()} == {"site-device"}
    assert {key for key in after if key.startswith(WIFI)} >= {
        key for key in SITE if key.startswith(WIFI) and not key.endswith("/wps/")
    }, "an entity goes whole"


def test_what_a_device_took_away_is_left_out_from_now_on() -> None:
    values = merged(levels()[1])
    fewer = {key: value for key, value in values.items() if key not in ("ntp/server", "ntp/pool")}
    found, after, remaining = adopted(files_of(fewer))
    assert found.changes == {key: {"value": None, "origin": "device"} for key in ("ntp/pool", "ntp/server")}
    assert remaining == [] and "ntp/server" not in merged(after)
    gone = {key: value for key, value in values.items() if not key.startswith(WIFI)}
    files = files_of(gone) | {"etc/config/wireless": None}
    found, _, remaining = adopted(files)
    assert found.changes == {f"{WIFI}/": {"value": None, "origin": "device"}} and remaining == []
    found, after, _ = adopted(files_of({key: value for key, value in values.items() if key != "ntp/extra"}))
    assert found.changes == {"ntp/extra": None} and "ntp/extra" not in after


def test_in_a_merged_file_the_devices_own_options_stay_its_own() -> None:
    files = files_of(merged(levels()[1]))
    text = files["etc/config/ntp"] or ""
    files["etc/config/ntp"] = text.replace("'one'", "'two'") + "\tlist native 'x'\n\nconfig ntp 'native'\n"
    found, _, remaining = adopted(files, whole=False)
    assert found.changes == {"ntp/server": {"value": "two", "origin": "site-device"}} and remaining == []


def test_what_no_setting_can_say_is_named() -> None:
    files = files_of(merged(levels()[1]))
    files["etc/config/ntp"] = "config ntp 'main'\n\tlist server 'a'\n\nconfig other 'x'\n\nconfig ntp 'a__'\n"
    files["etc/config/radio"] = "config radio 'r5\n"
    found, _, remaining = adopted(files)
    left = dict(found.left_out)
    assert set(left) >= {"ntp/server", "ntp.x", "ntp.a__", "etc/config/radio"}
    assert "string" in left["ntp/server"] and "quote" in left["etc/config/radio"]
    assert "ntp/server" in remaining and "ntp/server" not in found.changes


def test_the_mapping_back_drops_the_marks_of_entities() -> None:
    text = packages_of({f"{WIFI}/ssid": "x", f"{WIFI}/wps/on": "1"}).files()[0].contents.decode()
    values, odd = settings_of("wireless", read_uci(text))
    assert (values[f"{WIFI}/ssid"], values[f"{WIFI}/wps/on"], odd) == ("x", "1", [])
    assert not [key for key in values if "__" in key]


# --- NetJSON ----------------------------------------------------------------------------------------------------------


def rendered(template: dict[str, Any], own: Mapping[str, Any]) -> tuple[File, ...]:
    layers = [Layer(Source("template", "1", "t"), template), Layer(Source("device", "2", "d"), own)]
    tree = resolve(backend=OPENWRT, layers=layers).tree
    return render(backend=OPENWRT, tree=tree, os="OpenWrt 23.05").files


def adopted_tree(
    template: dict[str, Any], files: dict[str, str | None], own: dict[str, Any] | None = None
) -> Adopted:
    return tree_adopted(
        files, whole=True, sent=rendered(template, own or {}), own=own or {},
        rendered=lambda proposal: rendered(template, proposal), dsa=True,
    )  # fmt: skip


def texts(files: tuple[File, ...]) -> dict[str, str | None]:
    return {file.path: file.contents.decode() for file in files}


def options(files: Mapping[str, str | None]) -> Any:
    return {
        path: sorted((each.type, each.name, sorted(each.options.items())) for each in read_uci(text))
        if path.startswith("etc/config/")
        else text
        for path, text in files.items()
        if text is not None
    }


@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_an_unedited_device_keeps_its_own_configuration(number: int) -> None:
    template = CORPUS[number]
    assert adopted_tree(template, texts(rendered(template, {}))) == Adopted({}, ())


def test_an_edit_of_what_a_template_set_becomes_the_devices_own_and_no_more() -> None:
    files = texts(rendered(ACCESS_POINT, {}))
    for path, old, new in (
        ("etc/config/system", "'Europe/Rome'", "'Europe/Oslo'"),
        ("etc/config/wireless", "'house'", "'it'\\''s home'"),
    ):
        text = files[path] or ""
        assert old in text
        files[path] = text.replace(old, new)
    found = adopted_tree(ACCESS_POINT, files)
    assert found.left_out == ()
    assert options(texts(rendered(ACCESS_POINT, found.changes))) == options(files)
    assert "ntp" not in found.changes and "routes" not in found.changes and "files" not in found.changes
    assert found.changes["interfaces"][0]["wireless"] == {"ssid": "it's home"}, "only what differs"


def test_a_file_that_was_edited_is_the_devices_own_file() -> None:
    files = texts(rendered(ACCESS_POINT, {})) | {"etc/banner": "mine\n"}
    found = adopted_tree(ACCESS_POINT, files)
    assert found == Adopted({"files": [{"path": "/etc/banner", "mode": "0644", "contents": "mine\n"}]}, ())
    gone = adopted_tree(ACCESS_POINT, files | {"etc/banner": None})
    assert gone.changes == {} and [place for place, _ in gone.left_out] == ["etc/banner"]


@settings(deadline=None)
@given(st.data())
def test_render_edit_one_option_adopt_render_is_the_edit(data: st.DataObject) -> None:
    template = data.draw(st.sampled_from([tree for tree in CORPUS if rendered(tree, {})]))
    files = texts(rendered(template, {}))
    path = data.draw(
        st.sampled_from(sorted(path for path in files if path.startswith("etc/config/")) or [""])
    )
    assume(path)
    sections = read_uci(files[path] or "")
    places = [
        (each.name, name)
        for each in sections
        for name, value in each.options.items()
        if isinstance(value, str)
    ]
    assume(places)
    section, option = data.draw(st.sampled_from(places))
    word = data.draw(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True))
    removed = data.draw(st.booleans())
    lines = []
    for each in sections:
        lines.append(f"config {each.type} '{each.name}'")
        for name, value in each.options.items():
            if (each.name, name) == (section, option):
                lines += [] if removed else [f"\toption {name} '{word}'"]
            elif isinstance(value, str):
                lines.append("\toption {} '{}'".format(name, value.replace("'", "'\\''")))
            else:
                lines += ["\tlist {} '{}'".format(name, item.replace("'", "'\\''")) for item in value]
    files[path] = "\n".join(lines) + "\n"
    found = adopted_tree(template, files)
    again = options(texts(rendered(template, found.changes)))
    assert (found.left_out == ()) == (again == options(files)), "what is left out is said, and nothing else"
    # Options of these no package of the device's own can overrule: their converters are their own, or their names odd.
    assert not found.left_out or path.removeprefix("etc/config/") in ("openvpn", "zerotier", "olsrd2")


def test_what_cannot_be_expressed_is_named() -> None:
    files = texts(rendered(ACCESS_POINT, {}))
    text = files["etc/config/system"] or ""
    files["etc/config/system"] = text.replace("\tlist server '1.openwrt.pool.ntp.org'\n", "")
    assert files["etc/config/system"] != text
    found = adopted_tree(ACCESS_POINT, files)
    assert [place for place, _ in found.left_out] == ["etc/config/system ntp.server"]
    files["etc/config/wireless"] = None
    assert "etc/config/wireless" in dict(adopted_tree(ACCESS_POINT, files).left_out)


def test_no_repr_shows_what_was_adopted() -> None:
    secret = hashlib.sha256(b"x").hexdigest()
    assert secret not in repr(Adopted({"wireless/1/key": {"value": secret}}, ()))
