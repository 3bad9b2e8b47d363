"""What the engine remembers between renderings: never a wrong answer, and never more than so much."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.engine import Artefact, EngineError, File, InvalidConfiguration, packed, render
from config_merge.engine.archive import _body_remembered
from config_merge.engine.convert import _convert_part_remembered
from config_merge.engine.sections import _convert_remembered
from config_merge.engine.strict_json import (
    _is_fine_remembered,
    frozen,
    frozen_part,
    frozen_parts,
    plain_object,
    thawed,
)
from tests.config_merge.engine.samples import ACCESS_POINT, CORPUS, JSON, OPENWISP, OPENWRT, damaged

# The library hands odd values of invalid trees to `ipaddress`, which warns of a few of them.
pytestmark = pytest.mark.filterwarnings("ignore:__int__ returned non-int:DeprecationWarning")

_MEMORIES = (_body_remembered, _convert_part_remembered, _convert_remembered, _is_fine_remembered)


def forget() -> None:
    for memory in _MEMORIES:
        memory.cache_clear()


def outcome(tree: Any, backend: str = OPENWRT) -> Artefact | tuple[type, str, str]:
    try:
        return render(backend=backend, tree=tree)
    except EngineError as error:
        return type(error), error.path, error.message


@given(st.lists(damaged(), min_size=2, max_size=4), st.sampled_from([OPENWRT, OPENWISP]))
@settings(max_examples=60, deadline=None)
def test_memories_of_other_trees_change_neither_bytes_nor_errors(
    trees: list[dict[str, Any]], backend: str
) -> None:
    warm = [outcome(tree, backend) for tree in (*trees, *reversed(trees))]
    cold = []
    for tree in (*trees, *reversed(trees)):
        forget()
        cold.append(outcome(tree, backend))
    assert warm == cold


def test_a_tree_changed_in_place_is_rendered_as_it_is_now() -> None:
    tree = copy.deepcopy(ACCESS_POINT)
    first = render(backend=OPENWRT, tree=tree)
    tree["interfaces"][1]["addresses"][0]["address"] = "192.168.9.1"
    tree["interfaces"][2]["wireless"]["encryption"]["key"] = "another secret"
    tree["interfaces"][1]["bridge_members"].remove("wlan1")
    changed = render(backend=OPENWRT, tree=tree)
    forget()
    assert changed == render(backend=OPENWRT, tree=copy.deepcopy(tree)) != first
    assert render(backend=OPENWRT, tree=ACCESS_POINT) == first


def test_dns_servers_and_bridges_reach_interfaces_that_did_not_change() -> None:
    before = render(backend=OPENWRT, tree=ACCESS_POINT)
    warm = render(backend=OPENWRT, tree=ACCESS_POINT | {"dns_servers": ["9.9.9.9"]})
    forget()
    assert warm == render(backend=OPENWRT, tree=ACCESS_POINT | {"dns_servers": ["9.9.9.9"]}) != before


@pytest.mark.parametrize("bad", [math.nan, 2**64, "\x00", "\ud800", (1,), b"x", {1: 2}, {"\x00": 1}])
def test_what_equals_or_resembles_something_remembered_is_still_refused(bad: Any) -> None:
    class Sly(str):
        """A subclass of a plain type."""

    render(backend=OPENWRT, tree={"x": [{"a": 1}, [1]], "y": {"a": 1}})
    for tree in ({"x": [{"a": 1}, bad]}, {"x": bad}, {"x": [{"a": [bad]}]}):
        for _ in range(2):
            with pytest.raises(InvalidConfiguration):
                render(backend=OPENWRT, tree=tree)
    assert type(frozen_parts({"x": Sly("a")})[0]["x"]) is str


def test_nesting_is_counted_from_the_root() -> None:
    for levels in (29, 30, 31, 32, 33, 3000):
        deep: Any = 1
        for _ in range(levels):
            deep = [deep]
        for tree in ({"x": deep}, {"x": {"y": deep}}):
            assert refusal(frozen_parts, tree) == refusal(plain_object, tree)


def refusal(function: Any, tree: Any) -> str | None:
    try:
        function(tree)
    except InvalidConfiguration as error:
        return str(error)
    return None


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
@settings(deadline=None)
def test_parts_are_refused_as_the_whole_and_thaw_to_what_they_were_made_of(tree: dict[str, Any]) -> None:
    assert refusal(frozen_parts, tree) == refusal(plain_object, tree)
    if refusal(plain_object, tree) is None:
        plain, parts = frozen_parts(tree)
        assert plain == tree
        assert {key: frozen_part(thawed(frozen(item))) for key, item in tree.items()} == parts


def test_memory_is_bounded() -> None:
    forget()
    for number in range(4200):
        tree = {"general": {"hostname": f"h{number}"}, "led": [{"name": f"l{number}", "sysfs": "s"}]}
        render(backend=OPENWRT, tree=tree)
    for memory in _MEMORIES:
        info = memory.cache_info()
        assert info.maxsize is not None
        assert info.currsize == info.maxsize <= 4096


def test_large_inputs_are_not_remembered() -> None:
    forget()
    long = "x" * 20_000
    first = render(backend=OPENWRT, tree={"led": [{"name": long, "sysfs": "s"}]})
    assert [memory.cache_info().currsize for memory in _MEMORIES] == [0, 0, 0, 0]
    assert packed([File("a", "0644", long.encode())]).md5 == packed([File("a", "0644", long.encode())]).md5
    assert long.encode() in first.files[0].contents


def test_threads_that_share_memories_get_what_one_alone_gets() -> None:
    trees = [tree | {"general": {"hostname": f"h{number}"}} for tree in CORPUS for number in range(8)]
    alone = []
    for tree in trees:
        forget()
        alone.append(outcome(tree))
    forget()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, trees * 3)) == alone * 3
