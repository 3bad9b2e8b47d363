"""Secrets that stand inside configurations: which they are, how they are shown to people who may not see them, and how
an edited copy finds its way back.

A secret is shown as a mark, `redacted:` and twelve hexadecimal digits that depend on its value and on the
installation's key: equal secrets have equal marks, so a change shows in a diff, and nothing can be guessed from one.
Invariant: a mark that comes back is replaced by the stored secret only at a place that is itself secret, so nobody
can move a secret to where it would be shown. Which places are, `_visited` alone says.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from core.private_keys import is_private_key, private_keys_replaced
from core.secret_names import MARK, is_mark, is_secret_beneath, is_secret_name, is_secret_place, mark_of
from core.secret_text import Names, text_hidden

__all__ = [
    "MARK", "Names", "is_mark", "is_secret_name", "is_secret_place", "mark_of", "redacted", "redacted_text",
    "restored", "secrets_in", "variables_of_secrets",
]  # fmt: skip
_VARIABLE = re.compile(r"\{\{\s*+(\w*+)\s*+\}\}")
# What becomes of a value that is no object and no list; told whether its place is secret.
Leaf = Callable[[Any, bool], Any]


def _is_hidden(value: Any) -> bool:
    """A secret is a text or a number somebody chose; a text that is one variable names its secret elsewhere."""
    if isinstance(value, str):
        return bool(value) and not _VARIABLE.fullmatch(value) and not is_mark(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _visited(tree: Any, leaf: Leaf, names: Names, *, secret: bool = False) -> Any:
    """Return a copy of a tree with `leaf` applied to its values.

    Secret are the values under a secret name, alone or in lists; those of an object under a secret name, but for the
    ones whose own name is an ordinary one; and everything under one of `names`. With `secret` everything is.
    """

    def visit(node: Any, name: str, beneath: bool, everything: bool) -> Any:
        if isinstance(node, Mapping):
            beneath = beneath or is_secret_name(name)
            return {
                key: visit(
                    value, name if str(key).isdigit() else str(key), beneath, everything or key in names
                )
                for key, value in node.items()
            }
        if isinstance(node, list | tuple):
            return [visit(value, name, beneath, everything) for value in node]
        return leaf(node, everything or (is_secret_beneath(name) if beneath else is_secret_name(name)))

    return visit(tree, "", False, secret)


def _marked(tree: Any, hide: Callable[[Any], Any], names: Names, *, secret: bool = False) -> Any:
    def leaf(value: Any, is_secret: bool) -> Any:
        if is_secret and _is_hidden(value):
            return hide(value)
        return (
            private_keys_replaced(value, lambda key, _: str(hide(key))) if isinstance(value, str) else value
        )

    return _visited(tree, leaf, names, secret=secret)


def secrets_in(tree: Any, *, names: Names = frozenset(), secret: bool = False) -> list[Any]:
    """Return every secret value of a tree of dicts and lists; with `secret`, every value."""
    found: list[Any] = []

    def keep(value: Any) -> Any:
        found.append(value)
        return value

    _marked(tree, keep, names, secret=secret)
    return found


def redacted(tree: Any, *, names: Names = frozenset(), secret: bool = False) -> Any:
    """Return a copy of a tree in which every secret is its mark; with `secret`, every value.

    Secret is a value, every value of a list, and of an object all but what has an ordinary name ("id", "type"), under
    a secret name; everything under one of `names`; and private keys in PEM anywhere.

    >>> redacted({"keys": [{"id": 1, "type": "ed25519"}], "ssid": "x"})
    {'keys': [{'id': 1, 'type': 'ed25519'}], 'ssid': 'x'}
    """
    return _marked(tree, mark_of, names, secret=secret)


def variables_of_secrets(tree: Any) -> frozenset[str]:
    """Return the names of the variables that a tree uses at secret places; their values are secrets too.

    >>> sorted(variables_of_secrets({"encryption": {"key": "{{ wifi }}"}, "ssid": "{{ name }}"}))
    ['wifi']
    """
    found: set[str] = set()

    def leaf(value: Any, is_secret: bool) -> Any:
        if is_secret and isinstance(value, str):
            found.update(_VARIABLE.findall(value))
        return value

    _visited(tree, leaf, frozenset())
    return frozenset(found)


def restored(tree: Any, *, stored: Any, names: Names = frozenset()) -> Any:
    """Return a copy of an edited tree in which each mark at a secret place is the stored secret it stands for.

    `stored` is what the object holds now. Raises ValidationError for a mark that stands for none of its secrets, or
    that was put where secrets are not kept.
    """
    if not _has_mark(tree):
        return tree
    known = {mark_of(value): value for value in secrets_in(stored, names=names)}

    def put_back(found: str) -> Any:
        if found not in known:
            raise ValidationError(
                f"{found} stands for no secret that is stored here; write the secret itself."
            )
        return known[found]

    # In running text only whole private keys have marks.
    def private_key(found: re.Match[str]) -> str:
        value = put_back(found.group())
        if not (isinstance(value, str) and is_private_key(value)):
            raise ValidationError(f"{found.group()} stands for a secret that does not belong here.")
        return value

    def leaf(value: Any, is_secret: bool) -> Any:
        if not isinstance(value, str) or not MARK.search(value):
            return value
        return put_back(value) if is_secret and is_mark(value) else MARK.sub(private_key, value)

    return _visited(tree, leaf, names)


def _has_mark(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(_has_mark(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return any(_has_mark(value) for value in tree)
    return isinstance(tree, str) and MARK.search(tree) is not None


def redacted_text(text: str, *, secrets: Names = frozenset()) -> str:
    """Return rendered text (UCI, ini, a diff of them) with its secrets as marks.

    Secret are the values of settings with a secret name, private keys in PEM, and `secrets` wherever they occur, also
    as they are written in UCI, JSON, URLs, HTML and base64. Secrets of less than four characters are only hidden as
    the whole value of a setting.

    >>> redacted_text("\\toption ssid 'x'\\n") == "\\toption ssid 'x'\\n"
    True
    >>> mark_of("hunter22") in redacted_text("export WIFI_PASSWORD=hunter22")
    True
    """
    return text_hidden(text, secrets=secrets, quoted=_texts_of_json(text))


def _texts_of_json(text: str) -> set[str]:
    """Return the secret texts of a text that is JSON; they may stand far below the name that makes them secret."""
    if not text.lstrip()[:1].startswith(("{", "[")):
        return set()
    try:
        found = secrets_in(json.loads(text))
    except (ValueError, RecursionError):
        return set()
    return {secret for secret in found if isinstance(secret, str) and "PRIVATE KEY-----" not in secret}
