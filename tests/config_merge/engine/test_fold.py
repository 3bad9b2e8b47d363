"""The fold agrees with netjsonconfig's own merge and remembers who wrote what."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netjsonconfig import OpenWrt
from netjsonconfig.exceptions import ValidationError

from config_merge.engine import (
    InvalidConfiguration,
    Layer,
    MergeConflict,
    Source,
    UnknownBackend,
    VariableLayer,
    resolve,
)
from tests.config_merge.engine.samples import OPENWISP, OPENWRT

_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from([1.0, "a", "b", "eth0"]))
_NAME = st.one_of(
    st.sampled_from(["eth0", "eth1", "wlan0"]), st.integers(0, 1), st.just(["x", "y"]), st.none()
)
_ELEMENT = st.fixed_dictionaries(
    {},
    optional={
        "name": _NAME,
        "config_value": _NAME,
        "id": _NAME,
        "type": st.sampled_from(["8021q", "8021ad", "bridge", ""]),
        "vid": st.integers(0, 1),
        "mtu": _SCALAR,
        "tags": st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3),
        "more": st.dictionaries(st.sampled_from(["x", "y"]), _SCALAR, max_size=2),
        "inner": st.lists(
            st.fixed_dictionaries({"name": st.just("eth0")}, optional={"n": _SCALAR}), max_size=2
        ),
    },
)
# No two equal scalars in one list: the library drops or keeps the second one by its address in memory.
_LIST = st.one_of(
    st.lists(_ELEMENT, max_size=4),
    st.lists(_SCALAR, max_size=3, unique=True),
    st.lists(st.lists(st.sampled_from(["p", "q"]), max_size=1), max_size=2),
)
_CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "interfaces": _LIST,
        "files": st.lists(
            st.fixed_dictionaries(
                {"path": st.sampled_from(["a", "b"]), "mode": st.sampled_from(["644", "600"])}
            ),
            max_size=3,
        ),
        "general": st.dictionaries(
            st.sampled_from(["hostname", "x", "deep"]),
            st.one_of(_SCALAR, st.dictionaries(st.sampled_from(["q"]), _SCALAR)),
            max_size=3,
        ),
        "any": st.one_of(_SCALAR, _LIST, st.dictionaries(st.sampled_from(["x", "y"]), _LIST, max_size=2)),
    },
)
_CONFIGS = st.lists(_CONFIG.map(lambda config: json.loads(json.dumps(config))), min_size=1, max_size=4)


def layers_of(configs: list[Any]) -> list[Layer]:
    return [
        Layer(Source("template", str(number), f"t{number}"), config) for number, config in enumerate(configs)
    ]


def flat(value: Any, pointer: str = "") -> dict[str, Any]:
    """Scalars and empty containers by JSON pointer, written independently of the engine."""
    if isinstance(value, dict) and (value or not pointer):
        items = [(key.replace("~", "~0").replace("/", "~1"), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {pointer: value}
    return {place: leaf for key, item in items for place, leaf in flat(item, f"{pointer}/{key}").items()}


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1 from True and 1.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@given(_CONFIGS)
@settings(max_examples=400, deadline=None)
def test_fold_agrees_with_the_library(configs: list[dict[str, Any]]) -> None:
    try:
        expected = OpenWrt(config=copy.deepcopy(configs[-1]), templates=copy.deepcopy(configs[:-1])).config
    except (ValidationError, TypeError) as error:
        # The library lets a list inside a composite identifier escape as TypeError.
        refusal = MergeConflict if isinstance(error, ValidationError) else InvalidConfiguration
        with pytest.raises(refusal):
            resolve(backend=OPENWRT, layers=layers_of(configs))
        return
    assert same(resolve(backend=OPENWRT, layers=layers_of(configs)).tree, expected)


@given(_CONFIGS)
@settings(deadline=None)
def test_every_leaf_has_one_provenance_with_its_value_and_earlier_layers_in_order(configs: list[Any]) -> None:
    before = copy.deepcopy(configs)
    try:
        effective = resolve(backend=OPENWRT, layers=layers_of(configs), hostname="aa:bb")
    except (MergeConflict, InvalidConfiguration):
        return
    finally:
        assert same(configs, before)
    leaves = effective.leaves()
    assert {pointer: leaf.value for pointer, leaf in leaves.items()} == flat(effective.tree)
    order = {source: number for number, source in enumerate(effective.sources)}
    for leaf in leaves.values():
        said = [order[source] for source, _ in leaf.shadowed] + [order[leaf.source]]
        assert said == sorted(set(said))


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), _SCALAR)), max_size=5
    )
)
@settings(deadline=None)
def test_the_last_layer_that_sets_a_scalar_wins_and_shadows_the_others(configs: list[Any]) -> None:
    effective = resolve(backend=OPENWRT, layers=layers_of(configs))
    leaves = effective.leaves()
    for outer in "abc":
        for inner in "xyz":
            claims = [(n, c[outer][inner]) for n, c in enumerate(configs) if outer in c and inner in c[outer]]
            leaf = leaves.get(f"/{outer}/{inner}")
            if not claims:
                assert leaf is None
                continue
            assert leaf is not None
            assert (leaf.source.object_id, leaf.value) == (str(claims[-1][0]), claims[-1][1])
            assert [(source.object_id, value) for source, value in leaf.shadowed] == [
                (str(number), value) for number, value in claims[:-1]
            ]


@given(_CONFIG)
@settings(deadline=None)
def test_one_layer_folds_to_itself_in_a_copy(config: dict[str, Any]) -> None:
    effective = resolve(backend=OPENWRT, layers=layers_of([config]))
    assert same(effective.tree, config)
    effective.tree["general"] = {"hostname": "changed by the caller"}
    assert same(resolve(backend=OPENWRT, layers=layers_of([config])).tree, config)


def test_list_items_keep_provenance_per_leaf() -> None:
    layers = layers_of(
        [
            {
                "interfaces": [
                    {"name": "eth0", "type": "ethernet", "mtu": 1500},
                    {"name": "eth1", "type": "ethernet"},
                ]
            },
            {"interfaces": [{"name": "eth1", "mtu": 1400}, {"name": "eth0", "mtu": 1300}]},
        ]
    )
    leaves = resolve(backend=OPENWRT, layers=layers).leaves()
    assert leaves["/interfaces/0/mtu"].value == 1300
    assert leaves["/interfaces/0/mtu"].source.object_id == "1"
    assert leaves["/interfaces/0/mtu"].shadowed == ((layers[0].source, 1500),)
    assert leaves["/interfaces/0/type"].source.object_id == "0"
    assert leaves["/interfaces/1/mtu"].source.object_id == "1"


def test_a_repeated_file_is_kept_once_and_belongs_to_the_last_layer_that_named_it() -> None:
    banner = {"path": "/etc/banner", "mode": "0644", "contents": "x"}
    layers = layers_of([{"files": [banner]}, {"files": [dict(banner)]}])
    effective = resolve(backend=OPENWRT, layers=layers)
    assert effective.tree["files"] == [banner]
    leaf = effective.leaves()["/files/0/contents"]
    assert leaf.source == layers[1].source
    assert leaf.shadowed == ((layers[0].source, "x"),)


def test_a_layer_that_repeats_an_element_and_then_changes_it_does_not_shadow_itself() -> None:
    eth0 = {"name": "eth0", "mtu": 1500, "more": {"x": 1, "y": 2}}
    layers = layers_of([{"x": [eth0]}, {"x": [dict(eth0), {"name": "eth0", "mtu": 1400, "more": 5}]}])
    leaves = resolve(backend=OPENWRT, layers=layers).leaves()
    assert leaves["/x/0/mtu"].shadowed == ((layers[0].source, 1500),)
    assert leaves["/x/0/more"].shadowed == ((layers[0].source, {"x": 1, "y": 2}),)


def test_a_container_over_a_scalar_and_back_leaves_a_trail() -> None:
    layers = layers_of([{"x": {"a": 1}}, {"x": {"b": 2}}, {"x": "flat"}, {"x": {"c": 3}}])
    leaf = resolve(backend=OPENWRT, layers=layers).leaves()["/x/c"]
    assert leaf.shadowed == ((layers[1].source, {"a": 1, "b": 2}), (layers[2].source, "flat"))


def test_empty_containers_are_leaves() -> None:
    layers = layers_of([{"a": {}, "b": [], "c": 5}, {"a": {}, "c": []}, {"c": [1]}])
    leaves = resolve(backend=OPENWRT, layers=layers).leaves()
    assert leaves["/a"].value == {}
    assert leaves["/a"].source == layers[1].source
    assert leaves["/a"].shadowed == ((layers[0].source, {}),)
    assert leaves["/b"].value == []
    assert leaves["/c/0"].shadowed == ((layers[0].source, 5),)


def test_pointers_are_escaped() -> None:
    leaves = resolve(backend=OPENWRT, layers=layers_of([{"a/b": {"c~d": 1}}])).leaves()
    assert list(leaves) == ["/a~1b/c~0d"]


def test_object_against_list_is_a_conflict_with_its_path() -> None:
    with pytest.raises(MergeConflict) as caught:
        resolve(backend=OPENWRT, layers=layers_of([{"general": {"x": {"y": 1}}}, {"general": {"x": [1]}}]))
    assert caught.value.path == "#/general/x"


def test_vlan_interfaces_are_one_only_when_type_name_and_vid_agree() -> None:
    first = {"interfaces": [{"type": "8021q", "name": "eth0", "vid": 1, "mtu": 1}]}
    second = {
        "interfaces": [
            {"type": "8021q", "name": "eth0", "vid": 2},
            {"type": "8021q", "name": "eth0", "vid": 1},
        ]
    }
    for backend in (OPENWRT, OPENWISP):
        tree = resolve(backend=backend, layers=layers_of([first, second])).tree
        assert [(item["vid"], item.get("mtu")) for item in tree["interfaces"]] == [(1, 1), (2, None)]


def test_equal_elements_without_identifier_inside_one_layer_are_kept() -> None:
    tree = resolve(backend=OPENWRT, layers=layers_of([{"x": ["a", "a"]}, {"x": ["b", "b", "a"]}])).tree
    assert tree == {"x": ["a", "a", "b", "b"]}


def test_an_object_as_identifier_is_refused() -> None:
    config = {"interfaces": [{"name": {"a": 1}}]}
    with pytest.raises(InvalidConfiguration) as caught:
        resolve(backend=OPENWRT, layers=layers_of([config, config]))
    assert caught.value.path == "#/interfaces"


@pytest.mark.parametrize("general", [None, {}, {"timezone": "UTC"}])
def test_the_hostname_is_the_device_name_when_no_layer_sets_it(general: dict[str, Any] | None) -> None:
    config = {} if general is None else {"general": general}
    device = Source("system", "42", "00:11:22:33:44:55")
    effective = resolve(backend=OPENWRT, layers=layers_of([config]), hostname=device)
    assert effective.tree["general"]["hostname"] == "00-11-22-33-44-55"
    assert effective.leaves()["/general/hostname"].source is device


def test_an_explicit_hostname_wins_over_the_device_name() -> None:
    effective = resolve(
        backend=OPENWRT, layers=layers_of([{"general": {"hostname": "mine"}}]), hostname="ap1"
    )
    assert effective.tree["general"]["hostname"] == "mine"
    assert effective.leaves()["/general/hostname"].source.layer == "template"


def test_leaves_name_the_variables_they_used() -> None:
    variables = [VariableLayer(Source("group", "g", "roof"), {"site": "north", "n": 4})]
    layers = layers_of([{"general": {"hostname": "{{ site }}-{{n}}-{{ gone }}", "description": "none"}}])
    effective = resolve(backend=OPENWRT, layers=layers, variables=variables)
    leaf = effective.leaves()["/general/hostname"]
    assert (leaf.value, leaf.variables) == ("north-4-{{ gone }}", ("site", "n", "gone"))
    assert leaf.raw == "{{ site }}-{{n}}-{{ gone }}"
    assert effective.leaves()["/general/description"].variables == ()


def test_an_unknown_back_end_is_refused() -> None:
    with pytest.raises(UnknownBackend):
        resolve(backend="netjsonconfig.AirOs", layers=[])
