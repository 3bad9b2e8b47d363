"""Whatever a person types, the engine answers with a result or an EngineError."""

import contextlib
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.engine import (
    EngineError,
    Layer,
    Source,
    VariableLayer,
    render,
    resolve,
    undefined_variables,
    validate,
)
from tests.config_merge.engine.samples import ACCESS_POINT, JSON, OPENWISP, OPENWRT, damaged

pytestmark = pytest.mark.filterwarnings("ignore:__int__ returned non-int:DeprecationWarning")

_SECTIONS = (
    "general",
    "ntp",
    "led",
    "interfaces",
    "routes",
    "ip_rules",
    "switch",
    "radios",
    "openvpn",
    "zerotier",
)
_OTHERS = (
    "wireguard_peers",
    "files",
    "dns_servers",
    "dns_search",
    "tc_options",
    "custom",
    "",
    "network",
    "a/b",
)
_KEYS = st.sampled_from([*_SECTIONS, *_OTHERS, "é", "\x00", "\ud800"])
_OPTIONS = st.sampled_from(
    ["name", "type", "config_name", "config_value", "id", "vid", "path", "contents", "mode", "wireless"]
)
_SECTION = st.dictionaries(_OPTIONS, JSON, max_size=4)
_OBJECTS = st.dictionaries(_KEYS, st.one_of(JSON, st.lists(_SECTION, max_size=3)), max_size=4)
_BACKENDS = st.sampled_from([OPENWRT, OPENWISP])


def everything(backend: str, configs: list[Any], values: list[Any], hostname: Any) -> None:
    source = Source("template", "1", "t")
    with contextlib.suppress(EngineError):
        effective = resolve(
            backend=backend,
            layers=[Layer(source, config) for config in configs],
            variables=[VariableLayer(source, value) for value in values],
            hostname=hostname,
        )
        effective.leaves()
        undefined_variables(effective.tree)
        with contextlib.suppress(EngineError):
            validate(backend=backend, tree=effective.tree)
        render(backend=backend, tree=effective.tree)
    for config in configs:
        with contextlib.suppress(EngineError):
            validate(backend=backend, tree=config)
        with contextlib.suppress(EngineError):
            render(backend=backend, tree=config)


@given(
    _BACKENDS,
    st.lists(st.one_of(_OBJECTS, damaged()), max_size=3),
    st.lists(_OBJECTS, max_size=2),
    st.text(max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_random_objects_never_raise_anything_else(
    backend: str, configs: list[Any], values: list[Any], name: str
) -> None:
    everything(backend, configs, values, name)


@given(_BACKENDS, JSON, JSON)
@settings(deadline=None)
def test_random_json_never_raises_anything_else(backend: str, config: Any, value: Any) -> None:
    everything(backend, [config, config], [value], None)


def nested(levels: int, *, lists: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"name": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        nested(40, lists=True),
        nested(40, lists=False),
        nested(100_000, lists=True),
        nested(100_000, lists=False),
        float("nan"),
        float("inf"),
        10**5000,
        -(10**30),
        "\x00",
        "\ud800",
        {1: 2},
        {"\x00": 1},
        {"\udfff": 1},
        (1, 2),
        {1},
        object(),
        b"x",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_acceptable_json_is_refused_everywhere(value: Any) -> None:
    source = Source("template", "1", "t")
    for config in ({"x": value}, {"interfaces": [value]}, {"general": {"hostname": value}}):
        for call in (
            lambda config=config: resolve(backend=OPENWRT, layers=[Layer(source, config)]),
            lambda config=config: validate(backend=OPENWRT, tree=config),
            lambda config=config: render(backend=OPENWRT, tree=config),
        ):
            with pytest.raises(EngineError) as caught:
                call()
            assert caught.value.path.startswith("#")
        everything(OPENWRT, [config, config, {"x": {"y": 1}}], [], "ap")


@pytest.mark.parametrize("config", [None, [], "x", 5, True])
def test_a_layer_or_tree_that_is_no_object_is_refused(config: Any) -> None:
    with pytest.raises(EngineError):
        resolve(backend=OPENWRT, layers=[Layer(Source("template", "1", "t"), config)])
    with pytest.raises(EngineError):
        validate(backend=OPENWRT, tree=config)
    with pytest.raises(EngineError):
        render(backend=OPENWRT, tree=config)


def test_the_offender_s_place_is_told() -> None:
    with pytest.raises(EngineError) as caught:
        validate(backend=OPENWRT, tree={"interfaces": [{}, {"name": float("nan")}]})
    assert caught.value.path == "#/interfaces/1/name"


def test_other_mappings_and_text_types_are_taken_as_json() -> None:
    class Text(str):
        """As a template engine's marked-up strings are."""

    tree = OrderedDict(ACCESS_POINT) | {"general": MappingProxyType({"hostname": Text("ap-1")})}
    plain = ACCESS_POINT | {"general": {"hostname": "ap-1"}}
    assert render(backend=OPENWRT, tree=MappingProxyType(tree)) == render(backend=OPENWRT, tree=plain)
    layer = Layer(Source("template", "1", "t"), MappingProxyType(tree))
    effective = resolve(backend=OPENWRT, layers=[layer, layer])
    assert effective.leaves()["/general/hostname"].value == "ap-1"
    validate(backend=OPENWRT, tree=tree)
