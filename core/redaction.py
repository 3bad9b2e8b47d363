"""Secrets that stand inside configurations: which they are, how they are shown to people who may not see them, and how
an edited copy finds its way back.

A secret is shown as a mark, `redacted:` and twelve hexadecimal digits that depend on its value and on the
installation's key: equal secrets have equal marks, so a change shows in a diff, and nothing can be guessed from one.
Invariant: a mark that comes back is replaced by the stored secret only at a place that is itself secret, so nobody
can move a secret to where it would be shown.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

MARK = re.compile(r"redacted:[0-9a-f]{12}")
PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.S)
_WORDS = (
    "key", "keys", "psk", "ppsk", "secret", "secrets", "password", "passwd", "passphrase", "pass", "pwd", "pin",
    "token", "credential", "credentials", "wep", "sae",
)  # fmt: skip
_SECRET_NAME = re.compile(
    rf"(?:^|[_\-. ])(?:{'|'.join(_WORDS)})\d*(?:$|[_\-. ])|(?:password|passphrase|secret|privatekey|authtoken)",
    re.I,
)
# Names that contain such a word and hold nothing secret.
_HARMLESS = re.compile(
    r"(?:^|[_\-.])pub(?:lic)?[_\-]?key|key_?(?:length|size|id|path|mgmt|usage|type|direction|file)|_path(?:_|$)|"
    r"token_?(?:type|expires?)|pass_?(?:through|ive)|mac_?key|key_mgmt|hostkey|authorized_keys|^keys?_name$",
    re.I,
)
# `option key 'x'`, `list password 'x'`, `key = x`, `password: x`
_SETTING = re.compile(
    r"^(?P<head>[ \t+\- ]*(?:(?:option|list)[ \t]+)?"
    r"(?P<quote>['\"]?)(?P<name>[\w.\-]+)(?P=quote)[ \t]*(?:[=:][ \t]*|[ \t]+))"
    r"(?P<value>'(?:[^']|'\\'')*'|\"[^\"]*\"|[^\n'\"]+?)(?P<tail>,?[ \t\r]*)$",
    re.M,
)


_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
Names = frozenset[str] | set[str]


def is_secret_name(name: str) -> bool:
    """Tell whether what stands under `name` is a secret.

    >>> [is_secret_name(n) for n in ("key", "wifi_password", "public_key", "monkey", "ssid", "key_length")]
    [True, True, False, False, False, False]
    """
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS.search(name)


def mark_of(secret: Any) -> str:
    """Return the mark shown in place of a secret."""
    ring = settings.SECRET_KEY.encode()
    digits = hmac.new(ring, b"redaction:" + str(secret).encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"redacted:{digits.hexdigest()[:12]}"


def is_mark(value: Any) -> bool:
    """Tell whether a value is a mark and not a value of its own."""
    return isinstance(value, str) and MARK.fullmatch(value) is not None


def _is_hidden(value: Any) -> bool:
    """A secret is a text or a number somebody chose; a text that is one variable names its secret elsewhere."""
    if isinstance(value, str):
        return bool(value) and not _VARIABLE.fullmatch(value) and not is_mark(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def secrets_in(tree: Any, *, names: Names = frozenset()) -> list[Any]:
    """Return every secret value of a tree of dicts and lists."""
    found: list[Any] = []

    def keep(value: Any) -> Any:
        found.append(value)
        return value

    _walk(tree, keep, names)
    return found


def redacted(tree: Any, *, names: Names = frozenset()) -> Any:
    """Return a copy of a tree in which every secret is its mark.

    Secret is a value, or every value of a list, under a secret name or one of `names`; and private keys in PEM
    anywhere.
    """
    return _walk(tree, mark_of, names)


def variables_of_secrets(tree: Any) -> frozenset[str]:
    """Return the names of the variables that a tree uses at secret places; their values are secrets too.

    >>> sorted(variables_of_secrets({"encryption": {"key": "{{ wifi }}"}, "ssid": "{{ name }}"}))
    ['wifi']
    """
    found: set[str] = set()
    _variables(tree, found, secret=False)
    return frozenset(found)


def _variables(tree: Any, found: set[str], *, secret: bool) -> None:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            _variables(value, found, secret=is_secret_name(str(name)))
    elif isinstance(tree, list | tuple):
        for value in tree:
            _variables(value, found, secret=secret and not isinstance(value, Mapping))
    elif secret and isinstance(tree, str):
        found.update(_VARIABLE.findall(tree))


def _walk(tree: Any, hide: Callable[[Any], Any], names: Names, *, secret: bool = False) -> Any:
    if isinstance(tree, Mapping):
        return {
            name: _walk(value, hide, names, secret=_is_secret(name, names) and not isinstance(value, Mapping))
            for name, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [_walk(value, hide, names, secret=secret and not isinstance(value, Mapping)) for value in tree]
    if secret and _is_hidden(tree):
        return hide(tree)
    if isinstance(tree, str) and "PRIVATE KEY-----" in tree:
        return PEM.sub(lambda found: str(hide(found.group())), tree)
    return tree


def _is_secret(name: Any, names: Names) -> bool:
    return name in names or is_secret_name(str(name))


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

    def visit(node: Any, secret: bool) -> Any:
        if isinstance(node, Mapping):
            return {name: visit(value, _is_secret(name, names)) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return [visit(value, secret and not isinstance(value, Mapping)) for value in node]
        if not isinstance(node, str) or not MARK.search(node):
            return node
        if secret and is_mark(node):
            return put_back(node)

        # In running text only whole private keys have marks.
        def pem(found: re.Match[str]) -> str:
            value = put_back(found.group())
            if not (isinstance(value, str) and PEM.fullmatch(value)):
                raise ValidationError(f"{found.group()} stands for a secret that does not belong here.")
            return value

        return MARK.sub(pem, node)

    return visit(tree, False)


def _has_mark(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(_has_mark(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return any(_has_mark(value) for value in tree)
    return isinstance(tree, str) and MARK.search(tree) is not None


def redacted_text(text: str, *, secrets: Names = frozenset()) -> str:
    """Return rendered text (UCI, ini, a diff of them) with its secrets as marks.

    Secret are the values of settings with a secret name, private keys in PEM, and every occurrence of `secrets`.

    >>> redacted_text("\\toption ssid 'x'\\n") == "\\toption ssid 'x'\\n"
    True
    """
    text = PEM.sub(lambda found: mark_of(found.group()), text)

    def hide(found: re.Match[str]) -> str:
        if not is_secret_name(found["name"]):
            return found.group()
        value = found["value"]
        quote = value[0] if value[0] in "'\"" and value[-1] == value[0] and len(value) > 1 else ""
        plain = value[1:-1].replace("'\\''", "'") if quote else value
        if not plain or is_mark(plain):
            return found.group()
        return f"{found['head']}{quote}{mark_of(plain)}{quote}{found['tail']}"

    text = _SETTING.sub(hide, text)
    for secret in sorted((s for s in secrets if len(s) >= 4 and not is_mark(s)), key=len, reverse=True):
        text = text.replace(secret, mark_of(secret))
    return text
