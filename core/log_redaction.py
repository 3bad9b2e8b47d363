"""What may not stand in a log line, wherever the line comes from: our own events, libraries' texts, tracebacks.

A log line is read by people and machines that may not know the secrets it could quote. Invariant: nothing is looked up
and nothing can fail here; what looks like a secret is replaced by HIDDEN, and a harmless word now and then with it.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.redaction import is_secret_name

HIDDEN = "[hidden]"
DEPTH = 6
_PEM = re.compile(
    r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(?:.*?-----END \1-----|[A-Za-z0-9+/=\s\\n]*)", re.S
)
# A header with its whole value, in any of the ways headers are printed.
_HEADER = re.compile(
    r"\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-openwisp-key|api-key|x-csrftoken)"
    r"(?P<mid>['\"]?\s*(?:[:=,]|\)=)\s*(?:b(?=['\"]))?)(?P<value>'[^'\n]*'|\"[^\"\n]*\"|[^\n]+)",
    re.I,
)
_SCHEME = re.compile(r"\b(Bearer|Basic|Token)\s+(?!\[hidden\])[A-Za-z0-9._~+/=-]{6,}", re.I)
_USERINFO = re.compile(r"(?<=://)[^\s/@:'\"]*:[^\s/@'\"]+(?=@)")
_API_TOKEN = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])")
_API_KEY = re.compile(r"(?<![0-9A-Za-z])(?P<id>[0-9A-Za-z]{8}\.)[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])")
# name=value, name: value, "name": "value"; the name decides whether the value is looked at.
_NAME = re.compile(r"(?<![\w.\-])(?P<name>[\w.\-]++)\\?['\"]?\s*[=:]\s*(?:b(?=['\"]))?")
_VALUE = re.compile(r"(?P<quote>\\?['\"])(?:(?!(?P=quote))[^\n])*(?P=quote)|\\?['\"]?[^\s,;&)}\]'\"]+")
_COOKIES = frozenset({"sessionid", "csrftoken", "csrfmiddlewaretoken"})
# PostgreSQL quotes what it refuses.
_ROW = re.compile(r"(Failing row contains )\(.*?\)(?=\.?$|\.\s)", re.M | re.S)
_KEY = re.compile(
    r"\bKey \((?P<columns>[^)]*)\)=\((?P<value>.*?)\)(?= (?:already|is|conflicts|referenced))", re.S
)
_BOUND = re.compile(r"(?P<head>\bparams?\s*[:=]\s*)[(\[][^\n]*")


def _settings_hidden(text: str) -> str:
    """Hide the values of secret names; what follows a harmless name may itself be a name ("error: password=x")."""
    parts, done, at = [], 0, 0
    while found := _NAME.search(text, at):
        at = found.end()
        name = found["name"]
        if not (is_secret_name(name) or name.lower() in _COOKIES):
            continue
        value = _VALUE.match(text, at)
        if value is None or value.group().startswith(HIDDEN[:-1]) or HIDDEN in value.group():
            continue
        quote = value["quote"] or ""
        parts.append(f"{text[done:at]}{quote}{HIDDEN}{quote}")
        done = at = value.end()
    return "".join([*parts, text[done:]])


def _header(found: re.Match[str]) -> str:
    value = found["value"]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{found['name']}{found['mid']}{quote}{HIDDEN}{quote}"


def _unique_key(found: re.Match[str]) -> str:
    columns = [column.strip() for column in found["columns"].split(",")]
    if not any(is_secret_name(column) for column in columns):
        return found.group()
    return f"Key ({found['columns']})=({HIDDEN})"


def without_secrets(text: str) -> str:
    """Return `text` without anything that looks like a secret.

    >>> without_secrets("GET / Authorization: Bearer 0123456789abcdef")
    'GET / Authorization: [hidden]'
    >>> without_secrets('{"password": "hunter22", "ssid": "x"}')
    '{"password": "[hidden]", "ssid": "x"}'
    >>> without_secrets("redis://:pa55word@host/0 refused")
    'redis://[hidden]@host/0 refused'
    """
    if "PRIVATE KEY" in text:
        text = _PEM.sub(rf"-----BEGIN \1-----{HIDDEN}", text)
    text = _ROW.sub(rf"\1({HIDDEN})", text)
    text = _KEY.sub(_unique_key, text)
    text = _BOUND.sub(rf"\g<head>{HIDDEN}", text)
    text = _HEADER.sub(_header, text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _USERINFO.sub(HIDDEN, text)
    text = _settings_hidden(text)
    text = _API_KEY.sub(rf"\g<id>{HIDDEN}", text)
    return _API_TOKEN.sub(HIDDEN, text)


def value_without_secrets(value: Any, *, name: str = "", depth: int = DEPTH) -> Any:
    """Return a value of a log event without secrets: by its name, then by what it says.

    >>> value_without_secrets({"psk": "hunter22", "port": 1})
    {'psk': '[hidden]', 'port': 1}
    """
    if name and is_secret_name(name) and not isinstance(value, bool | None):
        return HIDDEN
    if isinstance(value, str):
        return without_secrets(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            str(key): value_without_secrets(item, name=str(key), depth=depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [value_without_secrets(item, depth=depth - 1) for item in value]
    return without_secrets(str(value))
