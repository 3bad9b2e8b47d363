"""Merged settings as UCI: read back by two parsers, one of them a library's."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netjsonconfig.backends.openwrt.parser import OpenWrtParser

from config_merge.engine import is_writable, packages_of, place_of

WORD = st.from_regex(r"[A-Za-z0-9]{1,4}(_[a-z0-9]{1,3})?", fullmatch=True)
NODES = st.lists(WORD | st.sampled_from(["7", "10", "1000000001"]), max_size=3)
KEYS = st.builds(
    lambda root, nodes, option: "/".join([root, *nodes, option]),
    st.from_regex(r"[a-z][a-z-]{0,3}", fullmatch=True),
    NODES,
    WORD | st.just(""),
).filter(lambda key: place_of(key) is not None)
PLAIN = st.from_regex(r"[A-Za-z0-9:/.{}-]{1,10}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(is_writable)


def sections(text: str) -> Iterator[tuple[str, str, str, list[tuple[str, str, str]]]]:
    """Read UCI as libuci does: words, quoted by apostrophes, `'\\''` for one; a line ends outside quotes only."""
    words: list[list[str]] = [[]]
    word, quoted, started = "", False, False
    place = 0
    while place < len(text):
        character = text[place]
        if character == "'":
            quoted, started = not quoted, True
        elif not quoted and character == "\\":
            place += 1
            word += text[place]
            started = True
        elif not quoted and character in " \t\n":
            if started or word:
                words[-1].append(word)
            word, started = "", False
            if character == "\n":
                words.append([])
        else:
            word += character
        place += 1
    assert not quoted
    package, current = "", None
    for line in words:
        match line:
            case ["package", name]:
                package = name
            case ["config", kind, name]:
                if current:
                    yield current
                current = (package, kind, name, [])
            case [("option" | "list") as how, name, value]:
                assert current is not None
                current[3].append((how, name, value))
            case []:
                pass
            case _:
                raise AssertionError(line)
    if current:
        yield current


@given(st.dictionaries(KEYS, TEXT | st.lists(TEXT, max_size=3).map(tuple), max_size=8))
def test_what_is_written_is_read_back(values: dict[str, str | tuple[str, ...]]) -> None:
    packages = packages_of(values)
    assert packages.warnings == ()
    read: dict[str, str | tuple[str, ...]] = {}
    for package, kind, name, options in sections(packages.text()):
        assert kind == package
        nodes = "" if name == "main" else name.replace("__", "/") + "/"
        for how, option, value in options:
            if option in ("__uid", "__parent"):
                assert value == name.split("__")[0]
                continue
            key = f"{package}/{nodes}{option}"
            if how == "option":
                read[key] = value
            else:
                read[key] = (*read.get(key, ()), value)
    told = {
        key: value if isinstance(value, str) else tuple(item for item in value if item)
        for key, value in values.items()
        if place_of(key).option  # type: ignore[union-attr]
    }
    assert read == {key: value for key, value in told.items() if value}


@given(st.dictionaries(KEYS, PLAIN, max_size=8))
def test_a_library_reads_the_same(values: dict[str, str]) -> None:
    # The library's parser knows no quoted line breaks and apostrophes, and renames sections of some types.
    values = {key: value for key, value in values.items() if not key.startswith(("device", "bridge"))}
    found = OpenWrtParser("").parse_text(packages_of(values).text()) if values else {}
    read = {}
    for package, blocks in found.items():
        for block in blocks:
            nodes = "" if block[".name"] == "main" else block[".name"].replace("__", "/") + "/"
            read |= {
                f"{package}/{nodes}{name}": value
                for name, value in block.items()
                if name[0] != "." and not name.startswith("__")
            }
    assert read == {key: value for key, value in values.items() if not key.endswith("/")}


@given(st.dictionaries(KEYS, TEXT, max_size=8))
def test_files_hold_what_the_text_holds(values: dict[str, str]) -> None:
    packages = packages_of(values)
    text = "".join(
        f"package {file.path.removeprefix('etc/config/')}\n\n{file.contents.decode()}"
        for file in packages.files()
    )
    assert text == packages.text()


@pytest.mark.parametrize(
    "key",
    [
        "", "radio", "/a/b", "a//b", "a b/c", "wireless/guest-lan/x", "wireless/x/__uid", "wireless/a__b/x",
        "wireless/_a/x", "wireless/a_/x", "wireless/main/x", "röt/a", "a/b/ö", "a/b/c d", "a/b\n/c",
    ],
)  # fmt: skip
def test_keys_that_have_no_place(key: str) -> None:
    assert place_of(key) is None
    packages = packages_of({key: "x", "ntp/ok": "1"})
    assert packages.warnings == (("unmappable-key", key),)
    assert packages.text() == "package ntp\n\nconfig ntp 'main'\n\toption ok '1'\n\n"


@pytest.mark.parametrize("value", ["\x00", "a\x01", "\x1b[0m", "\ud800"])
def test_values_that_cannot_be_written(value: str) -> None:
    packages = packages_of({"ntp/server": value, "ntp/servers": ("ok", value)})
    assert packages.warnings == (("unmappable-value", "ntp/server"), ("unmappable-value", "ntp/servers"))
    assert packages.text() == ""


def test_numbers_of_any_length_are_ordered() -> None:
    keys = [f"wireless/{number}/ssid" for number in ("9" * 5000, "10", "9", "0")]
    text = packages_of(dict.fromkeys(keys, "x")).text()
    names = [line.split("'")[1] for line in text.splitlines() if line.startswith("config")]
    assert names == ["0", "9", "10", "9" * 5000]


def test_an_entity_known_by_what_is_below_it_has_its_section() -> None:
    assert packages_of({"wireless/7/wps/enable": "1"}).text() == (
        "package wireless\n\nconfig wireless '7'\n\toption __uid '7'\n\n"
        "config wireless '7__wps'\n\toption __parent '7'\n\toption enable '1'\n\n"
    )


def test_section_types_of_a_product() -> None:
    text = packages_of({"wireless/7/ssid": "x"}, types={"wireless": "wifi-iface"}).text()
    assert "config wifi-iface '7'" in text
