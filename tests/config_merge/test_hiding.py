"""What is hidden of configurations: the words, the pointers and the variables agree on which places are secret."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.admin.hidden import aligned
from config_merge.hiding import revision_secrets, secret_path, secret_variables, tree_hidden, value_hidden
from core.redaction import is_mark, mark_of, redacted, redacted_text, restored

_NAMES = st.sampled_from(
    ["key", "keys", "password", "value", "id", "name", "server", "public_key", "x", "0", "a/b"]
)
_TREES = st.recursive(
    st.just("a-secret"),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=12,
)


def _leaves(tree: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if entries is None:
        yield pointer, tree
        return
    for name, value in entries:
        yield from _leaves(value, f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}")


@given(_TREES)
@settings(deadline=None)
def test_a_pointer_is_secret_exactly_when_its_value_is_hidden(tree: Any) -> None:
    shown = redacted(tree)
    for pointer, value in _leaves(shown):
        assert is_mark(value) == secret_path(pointer), pointer
    assert restored(shown, stored=tree) == tree


@given(_TREES)
@settings(deadline=None)
def test_a_variable_carries_a_secret_exactly_when_its_value_would_be_hidden(tree: Any) -> None:
    hidden = any(is_mark(value) for _, value in _leaves(redacted(tree)))

    def with_variable(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: with_variable(value) for name, value in node.items()}
        return [with_variable(value) for value in node] if isinstance(node, list) else "{{ v }}"

    assert secret_variables(with_variable(tree)) == ({"v"} if hidden else set())


def test_a_value_at_a_secret_place_is_hidden_whole() -> None:
    assert value_hidden("x{{ v }}", (), secret=True) == mark_of("x{{ v }}")
    assert value_hidden("{{ v }}", (), secret=True) == "{{ v }}"
    assert value_hidden({"name": "a", "on": True}, (), secret=True) == {"name": mark_of("a"), "on": True}
    assert value_hidden({"name": "a"}, (), secret=False) == {"name": "a"}


def test_secrets_of_objects_and_of_variables_that_are_objects_are_found() -> None:
    config = {"keys": [{"data": "plain-one", "name": "n"}, {"data": "{{ two }}"}]}
    kept = {"config": config, "context": {"two": {"name": "plain-two"}, "flag": True}}
    assert revision_secrets(kept) == {"plain-one", "{'name': 'plain-two'}", "plain-two"}
    assert tree_hidden({"note": "see plain-two"}, revision_secrets(kept)) == {
        "note": f"see {mark_of('plain-two')}"
    }


def test_a_secret_in_base64_does_not_keep_later_marks_from_being_explained() -> None:
    text = "basic c2VjcmV0LTEx end\n\toption key 'another'\n"
    shown = redacted_text(text, secrets={"secret-11"})
    assert "c2Vj" not in shown and mark_of("secret-11") in shown
    assert aligned(text, shown) == {mark_of("another"): "another"}
