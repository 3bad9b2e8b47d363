"""What may not stand in a log line, wherever the line comes from: our own events, libraries' texts, tracebacks.

A log line is read by people and machines that may not know the secrets it could quote. Invariant: nothing is looked up
and nothing can fail here; what looks like a secret is replaced by HIDDEN, and a harmless word now and then with it.
The time grows with the length of the text, which is cut at LONGEST first: expressions take what they matched and never
give it back (possessive quantifiers).
"""

import re
from collections.abc import Mapping
from typing import Any

from core.private_keys import private_keys_replaced
from core.secret_names import is_secret_name

HIDDEN = "[hidden]"
DEPTH = 6
LONGEST = 20_000
# So much before a cut may be half of a secret.
_TORN = 200
# A header with its whole value, in any of the ways headers are printed.
_HEADER = re.compile(
    r"\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-openwisp-key|api-key|x-csrftoken)"
    r"(?P<mid>['\"]?+\s*+(?:[:=,]|\)=)\s*+(?:b(?=['\"]))?)(?P<value>'[^'\n]*+'|\"[^\"\n]*+\"|[^\n]++)",
    re.I,
)
_SCHEME = re.compile(r"\b(Bearer|Basic|Token)\s++(?!\[hidden\])[A-Za-z0-9._~+/=-]{6,}+", re.I)
_USERINFO = re.compile(r"(?<=://)[^\s/@:'\"]*+:[^\s/@'\"]++(?=@)")
_API_TOKEN = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])")
_API_KEY = re.compile(r"(?<![0-9A-Za-z])(?P<id>[0-9A-Za-z]{8}\.)[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])")
# name=value, name: value, "name": "value"; the name decides whether the value is looked at.
_NAME = re.compile(r"(?<![\w.\-])(?P<name>[\w.\-]++)\\?+['\"]?+\s*+[=:]\s*+(?:b(?=['\"]))?")
# A quote that is not closed takes the rest of its line: the text may have been cut.
_QUOTE = re.compile(r"\\?+['\"]")
_WORD = re.compile(r"\\?+[^\s,;&)}\]'\"]++")
_COOKIES = frozenset({"sessionid", "csrftoken", "csrfmiddlewaretoken"})
# PostgreSQL quotes what it refuses.
_ROW = "Failing row contains ("
_ROW_END = re.compile(r"\)(?=\.?$|\.\s)", re.M)
_KEY = re.compile(r"\bKey \((?P<columns>(?:[^()\n]++|\([^()\n]*+\)){1,50}+)\)=\(")
_KEY_END = re.compile(r"\)(?= (?:already|is|conflicts|referenced))")
_BOUND = re.compile(r"(?P<head>\bparams?\s*+[:=]\s*+)[(\[][^\n]*+")


def _settings_hidden(text: str) -> str:
    """Hide the values of secret names; what follows a harmless name may itself be a name ("error: password=x")."""
    parts, done, at = [], 0, 0
    while found := _NAME.search(text, at):
        at = found.end()
        name = found["name"]
        if not (is_secret_name(name) or name.lower() in _COOKIES):
            continue
        begin, end = _value_at(text, at)
        if begin == end or HIDDEN[:-1] in text[begin:end]:
            continue
        parts.append(f"{text[done:begin]}{HIDDEN}")
        done = at = end
    return "".join([*parts, text[done:]])


def _value_at(text: str, at: int) -> tuple[int, int]:
    """Return where the value at `at` stands, without its quotes."""
    quote = _QUOTE.match(text, at)
    if quote is None:
        word = _WORD.match(text, at)
        return at, word.end() if word else at
    line = text.find("\n", quote.end())
    line = len(text) if line < 0 else line
    end = text.find(quote.group(), quote.end(), line)
    return quote.end(), line if end < 0 else end


def _header(found: re.Match[str]) -> str:
    value = found["value"]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{found['name']}{found['mid']}{quote}{HIDDEN}{quote}"


def _rows_hidden(text: str) -> str:
    """Hide the rows that PostgreSQL refused; one without an end goes to the end of the text."""
    parts, done = [], 0
    while (at := text.find(_ROW, done)) >= 0:
        begin = at + len(_ROW)
        end = _ROW_END.search(text, begin)
        parts += [text[done:begin], HIDDEN, ")"]
        done = end.end() if end else len(text)
    return "".join([*parts, text[done:]])


def _keys_hidden(text: str) -> str:
    """Hide the values of unique keys with a secret column, which PostgreSQL quotes too."""
    parts, done, at = [], 0, 0
    while found := _KEY.search(text, at):
        end = _KEY_END.search(text, found.end())
        at = end.end() if end else len(text)
        if any(is_secret_name(column.strip()) for column in found["columns"].split(",")):
            parts += [text[done : found.end()], HIDDEN, ")"]
            done = at
    return "".join([*parts, text[done:]])


def _cut(text: str) -> str:
    """Return the beginning of a long text up to a blank, so that no half of a secret is left, and say how much is not.

    >>> _cut("a " * 10_001)[-29:]
    'a a a ... (2 more characters)'
    """
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST]
    if not text[LONGEST].isspace():
        torn = kept[-_TORN:]
        kept = kept[: LONGEST - _TORN + max(torn.rfind(" "), torn.rfind("\n"), -1) + 1]
    return f"{kept}... ({len(text) - len(kept)} more characters)"


def without_secrets(text: str) -> str:
    """Return `text` without anything that looks like a secret, and no more of it than LONGEST characters.

    >>> without_secrets("GET / Authorization: Bearer 0123456789abcdef")
    'GET / Authorization: [hidden]'
    >>> without_secrets('{"password": "hunter22", "ssid": "x"}')
    '{"password": "[hidden]", "ssid": "x"}'
    >>> without_secrets("redis://:pa55word@host/0 refused")
    'redis://[hidden]@host/0 refused'
    """
    text = _cut(text)
    text = private_keys_replaced(text, lambda _, label: f"-----BEGIN {label}-----{HIDDEN}", loose=True)
    text = _rows_hidden(text)
    text = _keys_hidden(text)
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
