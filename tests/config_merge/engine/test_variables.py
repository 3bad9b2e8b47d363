"""Variables: precedence, text, and the single pass that puts them in."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netjsonconfig.utils import evaluate_vars

from config_merge.engine import (
    InvalidConfiguration,
    InvalidVariables,
    Layer,
    Source,
    VariableLayer,
    resolve,
    undefined_variables,
    variables_in_force,
)
from config_merge.engine.places import archive_path
from tests.config_merge.engine.samples import OPENWRT, plain

_ORDER = ("identity", "template", "global", "organization", "group", "device")
_NAMES = st.sampled_from(["a", "b", "lan_ip", "n1"])


def layer(kind: str, values: dict[str, Any]) -> VariableLayer:
    return VariableLayer(Source(kind, kind, kind), values)


def evaluated(tree: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    layers = [Layer(Source("template", "1", "t"), tree)]
    return resolve(backend=OPENWRT, layers=layers, variables=[layer("device", values)]).tree


@given(st.lists(st.dictionaries(_NAMES, st.integers(0, 9)), min_size=6, max_size=6))
@settings(deadline=None)
def test_the_highest_layer_that_has_a_name_wins_and_the_others_are_listed(
    values: list[dict[str, int]],
) -> None:
    layers = [layer(kind, claims) for kind, claims in zip(_ORDER, values, strict=True)]
    in_force = variables_in_force(layers)
    assert in_force.keys() == set().union(*values)
    for name, variable in in_force.items():
        claims = [(entry.source, entry.values[name]) for entry in layers if name in entry.values]
        assert (variable.source, variable.value) == (claims[-1][0], str(claims[-1][1]))
        assert variable.shadowed == tuple(claims[:-1])


# Without backslashes and braces in values the library has no quirk to differ by.
_TEXT = st.text(st.characters(exclude_characters="\x00{}", exclude_categories=["Cs"]), max_size=5)
_REFERENCE = st.tuples(_NAMES, st.sampled_from(["", " "])).map(
    lambda part: f"{{{{{part[1]}{part[0]}{part[1]}}}}}"
)
_TEMPLATE = st.lists(st.one_of(_TEXT, _REFERENCE)).map("".join)


@given(
    st.dictionaries(
        _NAMES, st.one_of(st.integers(), st.booleans(), _TEXT.filter(lambda text: "\\" not in text))
    ),
    st.lists(_TEMPLATE, max_size=4),
)
@settings(deadline=None)
def test_substitution_agrees_with_the_library(values: dict[str, Any], texts: list[str]) -> None:
    if not all(abs(value) < 2**63 for value in values.values() if isinstance(value, int)):
        return
    tree = {"x": {"y": texts, "n": 1, "t": True}}
    assert evaluated(tree, values) == evaluate_vars(plain(tree), values)


def test_substitution_is_a_single_pass_and_takes_values_literally() -> None:
    tree = evaluated({"x": "{{ a }}{{ b }}", "y": "{{a}}"}, {"a": "{{ b }}", "b": r"\1\n"})
    assert tree == {"x": r"{{ b }}\1\n", "y": "{{ b }}"}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "True"), (1.5, "1.5"), (None, "None"), ([1, "a"], "[1, 'a']"), ("é", "é")]
)
def test_values_become_text(value: Any, text: str) -> None:
    assert evaluated({"x": "{{ v }}"}, {"v": value}) == {"x": text}


def test_keys_are_left_alone() -> None:
    assert evaluated({"{{ a }}": "{{ a }}"}, {"a": 1}) == {"{{ a }}": "1"}


def test_undefined_variables_are_those_still_standing() -> None:
    tree = evaluated({"x": ["{{ b }} {{ a }}", {"y": "{{ z }}"}]}, {"a": 1})
    assert undefined_variables(tree) == ("b", "z")


def test_variables_cannot_blow_a_configuration_up() -> None:
    with pytest.raises(InvalidConfiguration, match="expand"):
        evaluated({"x": "{{ a }}" * 10_000}, {"a": "x" * 10_000})


@pytest.mark.parametrize(
    "values", [{"a": float("nan")}, {"a": 10**5000}, {"a": "\x00"}, {"a": "\ud800"}, [], {1: 2}]
)
def test_unusable_variables_are_refused(values: Any) -> None:
    with pytest.raises(InvalidVariables):
        evaluated({}, values)


def test_variables_that_never_end_take_no_long_time() -> None:
    started = time.process_time()
    tree = {"general": {"a": "{{" + " " * 100_000, "b": "{{" * 100_000, "c": "{{ a" * 50_000}}
    assert undefined_variables(tree) == ()
    for path in ("/" + "{{" * 100_000, "/{{ a }}" + "{{ a" * 50_000):
        with pytest.raises(InvalidConfiguration):
            archive_path(path, index=0)
    assert archive_path("/etc/{{ a }}/{{b}}}}"[:-2], index=0) == "etc/{{ a }}/{{b}}"
    assert time.process_time() - started < 5
