"""Rendering: the library's files, our bytes."""

import copy
import gzip
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.engine import EngineError, InvalidConfiguration, render, speaks_dsa
from config_merge.engine.archive import _body_remembered
from config_merge.engine.convert import _convert_part_remembered
from config_merge.engine.sections import LIBRARY_ERRORS, _convert_remembered
from config_merge.engine.strict_json import _is_fine_remembered
from tests.config_merge.engine.samples import (
    ACCESS_POINT,
    CORPUS,
    OPENWISP,
    OPENWRT,
    LooseOpenWisp,
    LooseOpenWrt,
    damaged,
    plain,
    untarred,
)

# The library asks `ipaddress` for the network of `True` when a damaged tree has one.
pytestmark = pytest.mark.filterwarnings("ignore:__int__ returned non-int:DeprecationWarning")

OLD = "OpenWrt 19.07.8 r11364-ef56c85848"
NEW = "OpenWrt 23.05.2 r23630-842932a63d"
_KINDS = [(OPENWRT, NEW), (OPENWRT, OLD), (OPENWISP, "")]


def forget() -> None:
    for memory in (_body_remembered, _convert_part_remembered, _convert_remembered, _is_fine_remembered):
        memory.cache_clear()


def by_the_library(backend: str, os: str, tree: dict[str, Any]) -> bytes:
    if backend == OPENWISP:
        archive = LooseOpenWisp(plain(tree)).generate()
    else:
        archive = LooseOpenWrt(plain(tree), dsa=speaks_dsa(os)).generate()
    return archive.getvalue()


def files_of(tree: dict[str, Any], *, backend: str = OPENWRT, os: str = "") -> dict[str, str]:
    return {file.path: file.contents.decode() for file in render(backend=backend, tree=tree, os=os).files}


def unescaped(archive: bytes) -> dict[str, bytes]:
    """Unpacked files without the escapes of apostrophes, which the library leaves out.

    Objects where UCI wants a value (VLAN filtering for releases before 21) are printed with apostrophes.
    """
    return {path: contents.replace(b"'\\''", b"'") for path, contents in untarred(archive).items()}


@pytest.mark.parametrize(("backend", "os"), _KINDS)
@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_the_tar_is_byte_for_byte_the_library_s(backend: str, os: str, number: int) -> None:
    tree = CORPUS[number]
    if backend == OPENWISP and "modem0" in str(tree):
        tree = {key: value for key, value in tree.items() if key != "interfaces"}
    expected = by_the_library(backend, os, tree)
    artefact = render(backend=backend, tree=tree, os=os)
    assert unescaped(artefact.archive) == unescaped(expected)
    if b"'\\''" not in gzip.decompress(artefact.archive):
        assert gzip.decompress(artefact.archive) == gzip.decompress(expected)


@given(damaged(), st.sampled_from(_KINDS))
@settings(max_examples=250, deadline=None)
def test_a_stored_invalid_tree_renders_as_the_library_would_or_is_refused(
    tree: dict[str, Any], kind: tuple[str, str]
) -> None:
    before = copy.deepcopy(tree)
    try:
        expected = unescaped(by_the_library(*kind, tree))
    except LIBRARY_ERRORS:
        expected = None
    try:
        artefact = render(backend=kind[0], tree=tree, os=kind[1])
    except EngineError:
        # Refused although the library renders it: only names and paths that the library would let out.
        assert expected is None or "files" in tree or _has_odd_name(tree)
        return
    finally:
        assert tree == before
    if expected is not None:
        assert unescaped(artefact.archive) == expected


def _has_odd_name(tree: dict[str, Any]) -> bool:
    """A section's name that is a container, or a list where one section is due: the library makes a guess."""
    if isinstance(tree.get("general"), list) or isinstance(tree.get("ntp"), list):
        return True
    return any(isinstance(value, list | dict) for value in _names(tree))


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        yield from (
            item for key, item in value.items() if key in ("id", "name", "globals_id", "config_value")
        )
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(item)


@given(damaged(), st.sampled_from(_KINDS), st.randoms())
@settings(max_examples=60, deadline=None)
def test_key_order_and_earlier_renderings_do_not_change_the_bytes(
    tree: dict[str, Any], kind: tuple[str, str], random: Any
) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            return {key: shuffled(item) for key, item in items}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    def rendered(value: dict[str, Any]) -> Any:
        try:
            return render(backend=kind[0], tree=value, os=kind[1])
        except EngineError as error:
            return str(error)

    warm = rendered(tree)
    assert rendered(shuffled(tree)) == warm
    forget()
    assert rendered(plain(tree)) == warm


def test_threads_get_the_same_bytes() -> None:
    trees = [ACCESS_POINT | {"general": {"hostname": f"ap{number % 7}"}} for number in range(200)]
    expected = [render(backend=OPENWRT, tree=tree).md5 for tree in trees[:7]]
    forget()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda tree: render(backend=OPENWRT, tree=tree).md5, trees))
    assert found == [expected[number % 7] for number in range(200)]


@pytest.mark.parametrize(
    ("backend", "tree", "os", "md5"),
    [
        (OPENWRT, {}, "", "563ec66d4d50651a9b05ba464e8c3946"),
        (
            OPENWRT,
            {"general": {"hostname": "ap1", "timezone": "UTC"}},
            "",
            "aba82b75251df42c75db42b127b4372f",
        ),
        (OPENWRT, ACCESS_POINT, NEW, "e96e9f3f4245787e3e88438e43cd922a"),
        (OPENWRT, ACCESS_POINT, OLD, "458c0102ee7ead2345a1fac8b16d5c78"),
        (OPENWISP, ACCESS_POINT, "", "9a3d81bfcc4aa250ace8d6050e4e9748"),
        (OPENWRT, CORPUS[-3], "", "46f8f70b25859872ad36ffe8c7191916"),
        (
            OPENWRT,
            {"files": [{"path": "/etc/motd", "mode": "0600", "contents": "héllo wörld é\n"}]},
            "",
            "e2c1b5c07a337c2d778c646137153fb8",
        ),
    ],
)
def test_checksums_stay_what_they_were(backend: str, tree: dict[str, Any], os: str, md5: str) -> None:
    # A change here makes every device of a fleet fetch its configuration again.
    assert render(backend=backend, tree=tree, os=os).md5 == md5


def test_the_system_package_reads_as_the_peer_s() -> None:
    expected = (
        "config system 'system'\n\toption hostname 'ap1'\n\toption timezone 'UTC'\n\toption zonename 'UTC'\n"
    )
    assert files_of({"general": {"hostname": "ap1", "timezone": "UTC"}}) == {"etc/config/system": expected}


def test_an_ethernet_interface_gets_a_device_section_from_release_21_on() -> None:
    tree = {"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": 1300}]}
    assert files_of(tree, os=NEW)["etc/config/network"] == (
        "config device 'device_eth0'\n\toption mtu '1300'\n\toption name 'eth0'\n\n"
        "config interface 'eth0'\n\toption device 'eth0'\n\toption proto 'none'\n"
    )
    assert "config device" not in files_of(tree, os=OLD)["etc/config/network"]


@pytest.mark.parametrize(
    ("os", "new"),
    [
        ("", True),
        ("OpenWrt 21.02.0", True),
        ("OpenWrt 24.10.0 r28427", True),
        ("OpenWrt SNAPSHOT r16279-5cc0535800", True),
        ("OpenWrt Chaos Calmer 15.05.1", False),
        ("LEDE Reboot 17.01.4 r3560", False),
        ("openwrt 19.07.10", False),
        ("TIP-devel-2.1", True),
    ],
)
def test_the_os_says_which_network_syntax_applies(os: str, new: bool) -> None:
    assert speaks_dsa(os) is new


def test_text_is_counted_in_bytes() -> None:
    text = "héllo wörld é ✓\n"
    tree = {
        "general": {"hostname": "ap1", "description": text},
        "files": [{"path": "a", "mode": "0644", "contents": text}],
    }
    unpacked = untarred(render(backend=OPENWRT, tree=tree).archive)
    assert unpacked["a"] == text.encode()
    assert text.encode() in unpacked["etc/config/system"]


def test_values_are_kept_as_they_are_and_apostrophes_escaped() -> None:
    tree = {
        "x": [
            {
                "config_name": "x",
                "a": "four    spaces",
                "b": "two\noption lines\n\n\npackage y",
                "c": "Bob's",
                "d": "B'\\''s",
            },
        ]
    }
    assert files_of(tree) == {
        "etc/config/x": (
            "config x 'x_1'\n\toption a 'four    spaces'\n\toption b 'two\noption lines\n\n\npackage y'\n"
            "\toption c 'Bob'\\''s'\n\toption d 'B'\\''s'\n"
        )
    }


def test_the_last_file_of_a_path_wins_also_over_a_package() -> None:
    files = [
        {"path": "/etc/a", "mode": "0644", "contents": "1"},
        {"path": "etc/a", "mode": "0600", "contents": "2"},
        {"path": "/etc/config/system", "mode": "0644", "contents": "mine"},
    ]
    artefact = render(backend=OPENWRT, tree={"general": {"hostname": "ap1"}, "files": files})
    assert [(file.path, file.mode, file.contents) for file in artefact.files] == [
        ("etc/config/system", "0644", b"mine"),
        ("etc/a", "0600", b"2"),
    ]


def test_the_mode_defaults_to_0644() -> None:
    (file,) = render(backend=OPENWRT, tree={"files": [{"path": "a", "contents": ""}]}).files
    assert file.mode == "0644"


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"files": [{"path": "../etc/shadow", "mode": "0644", "contents": ""}]}, "#/files/0/path"),
        ({"files": [{"path": "/etc/../../x", "mode": "0644", "contents": ""}]}, "#/files/0/path"),
        ({"files": [{"path": "//etc/x", "mode": "0644", "contents": ""}]}, "#/files/0/path"),
        ({"files": [{"path": "/etc/{{ a/../../b }}", "mode": "0644", "contents": ""}]}, "#/files/0/path"),
        ({"files": [{"path": "a", "mode": "rw", "contents": ""}]}, "#/files/0/mode"),
        ({"files": [{"path": "a", "mode": "0644", "contents": 5}]}, "#/files/0/contents"),
        ({"files": ["a"]}, "#/files/0"),
        ({"files": {}}, "#/files"),
        ({"../../etc/passwd": [{"config_name": "x"}]}, "#/..~1..~1etc~1passwd"),
        ({"interfaces": [{"name": "eth0"}]}, "#/interfaces/0"),
        ({"general": None}, "#/general"),
    ],
)
def test_what_cannot_be_rendered_safely_is_refused_with_its_place(tree: dict[str, Any], path: str) -> None:
    for backend, os in _KINDS:
        with pytest.raises(InvalidConfiguration) as caught:
            render(backend=backend, tree=tree, os=os)
        assert caught.value.path == path


def test_sections_of_one_name_are_merged_across_packages_and_keys() -> None:
    pieces = [
        {"general": {"hostname": "ap1", "id": "ntp"}, "ntp": {"server": ["a.b"]}},
        {
            "routes": [
                {"device": "lan", "destination": "10.0.0.0/8", "next": "10.0.0.1", "cost": 1, "name": "rule1"}
            ]
        },
        {"ip_rules": [{"src": "10.0.0.0/8"}]},
        {"network": [{"config_name": "route", "config_value": "rule1", "metric": 7}]},
        {
            "interfaces": [
                {"name": "rule1", "type": "ethernet"},
                {"name": "rule1", "type": "other", "mtu": 1400},
            ]
        },
    ]
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(pieces, count) for count in range(2, 6)
    ):
        tree = {key: value for piece in chosen for key, value in piece.items()}
        for backend, os in _KINDS:
            expected = untarred(by_the_library(backend, os, tree))
            assert untarred(render(backend=backend, tree=tree, os=os).archive) == expected
