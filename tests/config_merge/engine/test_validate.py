"""Validation agrees with netjsonconfig's own, and says what is wrong and where."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from jsonschema import ValidationError as SchemaError
from netjsonconfig import OpenWisp, OpenWrt
from netjsonconfig.backends.base.backend import format_checker
from netjsonconfig.exceptions import ValidationError

from config_merge.engine import InvalidConfiguration, UnknownBackend, validate
from tests.config_merge.engine.samples import ACCESS_POINT, CORPUS, OPENWISP, OPENWRT, damaged

# The library's `cidr` check takes any type.
pytestmark = pytest.mark.filterwarnings("ignore:__int__ returned non-int:DeprecationWarning")

_VALID = tuple(tree for tree in CORPUS if "modem0" not in str(tree) and "not a section" not in str(tree))


def stock_accepts(backend: str, tree: dict[str, Any]) -> bool | None:
    """The stock verdict; None when it fails itself, as its extra rules do on malformed radios."""
    try:
        (OpenWrt if backend == OPENWRT else OpenWisp)(copy.deepcopy(tree)).validate()
    except (ValidationError, SchemaError):
        return False
    except (LookupError, TypeError, AttributeError):
        return None
    return True


def accepts(backend: str, tree: dict[str, Any], *, worded: bool = True) -> bool:
    try:
        validate(backend=backend, tree=tree, worded=worded)
    except InvalidConfiguration:
        return False
    return True


@pytest.mark.parametrize("number", range(len(CORPUS)))
@pytest.mark.parametrize("backend", [OPENWRT, OPENWISP])
def test_the_corpus_is_judged_as_the_library_judges_it(backend: str, number: int) -> None:
    verdict = stock_accepts(backend, CORPUS[number])
    assert verdict is not None
    assert accepts(backend, CORPUS[number]) == verdict


@given(damaged(_VALID), st.sampled_from([OPENWRT, OPENWISP]))
@settings(max_examples=150, deadline=None)
def test_damaged_configurations_are_judged_as_the_library_judges_them(
    tree: dict[str, Any], backend: str
) -> None:
    before = copy.deepcopy(tree)
    verdict = stock_accepts(backend, tree)
    found = accepts(backend, tree)
    assert found == (verdict is True)
    assert accepts(backend, tree, worded=False) == found
    assert tree == before


@given(damaged(_VALID))
@settings(max_examples=60, deadline=None)
def test_the_place_told_is_one_the_stock_validator_complains_of(tree: dict[str, Any]) -> None:
    complaints = list(Draft4Validator(OpenWrt.schema, format_checker=format_checker).iter_errors(tree))
    if complaints and accepts(OPENWRT, tree) is False:
        places = {"/".join(["#", *map(str, error.absolute_path)]) for error in complaints}
        assert refused(tree).path in places


def test_a_long_list_with_one_bad_element_is_judged_in_no_time() -> None:
    interfaces = [{"name": f"eth{number}", "type": "ethernet"} for number in range(2000)]
    started = time.process_time()
    error = refused({"interfaces": [*interfaces, {"name": "last", "type": "ethernet", "mtu": "x"}]})
    # Two thousand interfaces cost the stock validator seconds.
    assert time.process_time() - started < 2
    assert error.path == "#/interfaces/2000"
    assert "#/interfaces/2000/mtu: 'x' is not of type 'integer'" in error.message


def test_a_thousand_bad_configurations_are_judged_in_no_time() -> None:
    def bad(number: int) -> dict[str, Any]:
        return {"interfaces": [{"name": f"eth{number}", "type": "ethernet", "mtu": "x"}]}

    assert accepts(OPENWRT, bad(0)) is False
    started = time.process_time()
    # Each another one, and nobody reads why; then a thousand times the same one. Both cost 10 ms at worst.
    assert not any(accepts(OPENWRT, bad(number), worded=False) for number in range(1000))
    assert not any(accepts(OPENWRT, bad(0)) for _ in range(1000))
    assert time.process_time() - started < 5


def refused(tree: dict[str, Any], backend: str = OPENWRT) -> InvalidConfiguration:
    with pytest.raises(InvalidConfiguration) as caught:
        validate(backend=backend, tree=tree)
    return caught.value


def test_the_error_has_the_shape_clients_know() -> None:
    error = refused({"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": "big"}]})
    assert str(error) == (
        'Invalid configuration triggered by "#/interfaces/0", validator says:\n\n'
        "an object is not valid under any of the given schemas;"
        " #/interfaces/0/mtu: 'big' is not of type 'integer'"
    )
    assert error.path == "#/interfaces/0"


@pytest.mark.parametrize(
    ("tree", "path", "message"),
    [
        ({"general": {"timezone": "Mars"}}, "#/general/timezone", "'Mars' is not one of"),
        ({"general": {"hostname": "-"}}, "#/general/hostname", "is not a 'hostname'"),
        ({"dns_servers": "8.8.8.8"}, "#/dns_servers", "is not of type 'array'"),
        ({"ip_rules": [{"src": "10.0.0.0/33"}]}, "#/ip_rules/0/src", "is not a 'cidr'"),
        (
            {"interfaces": [{"name": "br", "type": "bridge"}]},
            "#/interfaces/0",
            "'bridge_members' is a required",
        ),
        (
            {"files": [{"path": "/../x", "mode": "0644", "contents": ""}]},
            "#/files/0/path",
            "Invalid file path",
        ),
        (
            {"files": [{"path": "/a b", "mode": "0644", "contents": ""}]},
            "#/files/0/path",
            "Invalid file path",
        ),
        ({"a b": [{"config_name": "x"}]}, "#/a b", "package name"),
        (
            {"radios": [ACCESS_POINT["radios"][0] | {"channel": 0} | {"band": None}]},
            "#/radios/0",
            "",
        ),
    ],
)
def test_errors_name_the_place_and_the_reason(tree: dict[str, Any], path: str, message: str) -> None:
    error = refused(tree)
    assert error.path == path
    assert message in error.message


def test_an_auto_channel_needs_a_band() -> None:
    radio = {key: value for key, value in ACCESS_POINT["radios"][0].items() if key != "band"} | {"channel": 0}
    error = refused({"radios": [radio]})
    assert error.path == "#/radios/0"
    validate(backend=OPENWRT, tree={"radios": [radio | {"band": "2g"}]})


def test_a_port_has_one_primary_vlan() -> None:
    port = {"ifname": "lan1", "tagging": "u", "primary_vid": True}
    vlans = [{"vlan": 1, "ports": [port]}, {"vlan": 2, "ports": [port]}]
    bridge = {"name": "br-lan", "type": "bridge", "bridge_members": [], "vlan_filtering": vlans}
    error = refused({"interfaces": [{"name": "eth0", "type": "ethernet"}, bridge]})
    assert (error.path, "Primary VID" in error.message) == ("#/interfaces/1", True)


@pytest.mark.parametrize("path", ["/etc/x", "etc/x", "/etc/{{ name }}/a", "{{ a }}.conf"])
def test_file_paths_may_hold_variables(path: str) -> None:
    validate(backend=OPENWRT, tree={"files": [{"path": path, "mode": "0644", "contents": ""}]})


def test_secrets_and_whole_objects_stay_out_of_messages() -> None:
    tree = copy.deepcopy(ACCESS_POINT)
    tree["interfaces"][2]["wireless"]["encryption"]["key"] = "hunter2"
    tree["interfaces"][3]["mtu"] = "1500"
    message = str(refused(tree))
    assert "encryption/key: this value is too short" in message
    assert "hunter2" not in message
    assert "radius secret" not in message


def test_the_legacy_back_end_wants_a_hostname() -> None:
    assert refused({"general": {}}, OPENWISP).path == "#/general"
    validate(backend=OPENWRT, tree={"general": {}})


def test_a_string_the_stock_pattern_lets_pass_passes_without_words_too() -> None:
    lax = {"interfaces": [{"name": "lan\n", "type": "ethernet"}]}
    assert stock_accepts(OPENWRT, lax) is accepts(OPENWRT, lax) is accepts(OPENWRT, lax, worded=False)


def test_a_string_the_stock_pattern_lets_pass_passes() -> None:
    # Python's "$" matches before a last line break; the compiled validator's does not.
    tree = {"files": [{"path": "/etc/x", "mode": "644\n", "contents": ""}]}
    assert stock_accepts(OPENWRT, tree)
    validate(backend=OPENWRT, tree=tree)


def test_validators_are_shared_by_threads_and_compiled_once() -> None:
    validate(backend=OPENWRT, tree=ACCESS_POINT)
    started = time.process_time()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: accepts(OPENWRT, ACCESS_POINT), range(100))) == [True] * 100
    # Compiling takes 50 ms and the stock validator 12: neither may happen a hundred times.
    assert time.process_time() - started < 1


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(UnknownBackend):
        validate(backend="x", tree={})
