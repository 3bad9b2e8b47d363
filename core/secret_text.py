"""Secrets in text that a device reads or a person sees: UCI, ini, shell, JSON, YAML, XML, and diffs of them.

Nothing is parsed: wherever on a line a secret name stands, what follows it is hidden, rather too much than too little.
Invariant: the time grows with the length of the text, whatever it is. Expressions take what they matched and never
give it back (possessive quantifiers), and what has been looked at is not looked at again.
"""

import json
import re
from collections.abc import Iterable, Iterator

from core.private_keys import private_keys_replaced
from core.secret_names import is_mark, is_secret_beneath, is_secret_name, mark_of
from core.secret_values import SHORTEST, values_hidden, ways_to_write

Names = frozenset[str] | set[str]
_HINT = re.compile(r"key|psk|secret|pass|pwd|pin|token|credential|wep|sae", re.I)
# `option key 'x'`, `list password 'x'`, `key = x`, `password: x`, `key x`, at the beginning of a line.
_FIRST = re.compile(
    r"[ \t+\-]*+(?:(?:option|list)[ \t]++)?+(?P<quote>['\"]?+)(?P<name>[\w.\-]++)(?P=quote)"
    r"(?:[ \t]*+[=:][ \t]*+|[ \t]++)"
)
_WORD = re.compile(r"(?<![\w.\-])[\w.\-]++")
# After a name: `"name": `, `name = `, `\"name\":`, `['name'] = `.
_AFTER = re.compile(r"(?P<quote>\\*+['\"])?\]?+[ \t]*+(?P<sign>=>|:=|=|:)[ \t]*+")
_TAG = re.compile(r"[^<>]*+>")
_BLANKS = re.compile(r"[ \t]++(?=[^\s\-])")
_CLOSED = re.compile(r"'(?:[^'\n]++|'\\'')*+'|\"(?:[^\"\\\n]++|\\.)*+\"")
_ESCAPED_QUOTE = re.compile(r"\\++['\"]")
_END = re.compile(r",?+[ \t\r]*+(?:\n|\Z)")
# One word of a shell, in as many kinds of quotes as it likes; a quote that is not closed takes the rest of the line.
_SHELL_WORD = re.compile(
    r"(?:[^\s'\"\\;&|<>]++|\\.|'[^'\n]*+'|\"(?:[^\"\\\n]++|\\.)*+\")++(?:['\"][^\n]*+)?+|['\"][^\n]*+"
)
_WORD_OF_JSON = re.compile(r"[^\s,}\]'\"]++")
_IN_BRACES = re.compile(r"[^,}\]'\"\n]++")
_WORD_OF_TEXT = re.compile(r"[^\s,;&)}\]'\"<]++")
_ITEM = re.compile(r"'(?:[^'\n]++|'\\'')*+'|\"(?:[^\"\\\n]++|\\.)*+\"|['\"][^\n]*+|[^\s,'\"\[\]]++")
_SHORT = re.compile(r"['\"]?+([^\s,;&'\"<>)}\]]{2,3}+)(?=['\"\s,;&<)}\]]|\Z)")
_INDENT = re.compile(r"[ \t+\-]*+")
_BLOCK = re.compile(r"[|>][+\-\d]*+[ \t\r]*+")
# What JSON and YAML say instead of a text or a number.
_LITERALS = frozenset({"true", "false", "null"})


def text_hidden(text: str, *, secrets: Names = frozenset(), quoted: Iterable[str] = ()) -> str:
    """Return a text with the values of secret settings, private keys and `secrets` as marks.

    `quoted` are hidden only where they are a whole text in double quotes, as JSON has them.
    """
    text = private_keys_replaced(text, lambda key, _: mark_of(key))
    short = frozenset(secret for secret in secrets if 1 < len(secret) < SHORTEST)
    if short or _HINT.search(text):
        text = "".join(_settings_hidden(text, short))
    written = ways_to_write(frozenset(secrets))
    marks = {value: f'"{mark_of(value)}"' for value in quoted}
    if marks:
        alone = {json.dumps(value): mark for value, mark in marks.items()}
        unescaped = {json.dumps(value, ensure_ascii=False): mark for value, mark in marks.items()}
        written = {**written, **alone, **unescaped}
    return values_hidden(text, written)


def _settings_hidden(text: str, short: frozenset[str]) -> Iterator[str]:
    """Yield the pieces of the text without the values of its secret settings."""
    at, size = 0, len(text)
    while at < size:
        stop = text.find("\n", at)
        stop = size if stop < 0 else stop
        if short or _HINT.search(text, at, stop):
            pieces, end = _line_hidden(text, at, stop, short)
            yield from pieces
        else:
            end = stop
            yield text[at:end]
        yield text[end : end + 1]
        at = end + 1


def _line_hidden(text: str, start: int, stop: int, short: frozenset[str]) -> tuple[list[str], int]:
    """Return the pieces of one line, and where it ends: a quoted value or a block may go on below it."""
    first = _FIRST.match(text, start, stop)
    if first is not None:
        if is_secret_name(first["name"]):
            hidden = _first_hidden(text, first, stop)
            if hidden is not None:
                return hidden
        elif short and (value := _short_value(text, first.end(), stop, short)):
            begin, end, mark = value
            return [text[start:begin], mark, text[end:stop]], stop
    return _inline_hidden(text[start:stop], short), stop


def _short_value(text: str, at: int, stop: int, short: frozenset[str]) -> tuple[int, int, str] | None:
    """Return where a short secret is the whole value at the end of a line, and its mark."""
    closed = _CLOSED.match(text, at, stop)
    begin, end = (closed.start() + 1, closed.end() - 1) if closed else (at, stop)
    value = text[begin:end] if closed else text[begin:end].rstrip(" \t\r,")
    return (begin, begin + len(value), mark_of(value)) if value in short else None


def _first_hidden(text: str, first: re.Match[str], stop: int) -> tuple[list[str], int] | None:
    """Hide the value of a setting that begins its line; None when it is one of several on the line."""
    start, at = first.start(), first.end()
    if at >= stop or (text[at] in "{[" and (first["quote"] or '"' in text[at:stop])):
        return None
    if text[at] in "'\"":
        closed = _CLOSED.match(text, at)
        if closed is None or not _END.match(text, closed.end()):
            closed = _over_lines(text, at)
        if closed is not None:
            end = text.find("\n", closed.end())
            end = len(text) if end < 0 else end
            return [text[start:at], _quoted(closed.group()), text[closed.end() : end]], end
        if text[start:at].rstrip(" \t").endswith(("=", ":")):
            return None
        closed = _CLOSED.match(text, at)
        if closed is None:
            return [text[start : at + 1], _plain(text[at + 1 : stop])], stop
        following = _inline_hidden(text[closed.end() : stop], frozenset())
        return [text[start:at], _quoted(closed.group()), *following], stop
    block = _BLOCK.match(text, at, stop)
    if block is not None and block.end() == stop:
        return _block_hidden(text, start, stop)
    rest = text[at:stop]
    if first["quote"] and ("'" in rest or '"' in rest):
        return None
    value = rest.rstrip(" \t\r")
    value = value[:-1] if value.endswith(",") and len(value) > 1 else value
    return [text[start:at], _plain(value), rest[len(value) :]], stop


_OVER_LINES = re.compile(r"'(?:[^']++|'\\'')*+'|\"(?:[^\"\\]++|\\.)*+\"", re.S)


def _over_lines(text: str, at: int) -> re.Match[str] | None:
    """Match a quoted value that ends at the end of a later line."""
    found = _OVER_LINES.match(text, at)
    return found if found is not None and "\n" in found.group() and _END.match(text, found.end()) else None


def _block_hidden(text: str, start: int, stop: int) -> tuple[list[str], int]:
    """Hide the lines of a YAML block (`password: |`), which are those that are indented more."""
    indent = _INDENT.match(text, start)
    depth = indent.end() - start if indent else 0
    pieces, end = [text[start:stop]], stop
    while end < len(text):
        below = text.find("\n", end + 1)
        below = len(text) if below < 0 else below
        inner = _INDENT.match(text, end + 1, below)
        margin = inner.end() if inner else end + 1
        if margin < below and margin - end - 1 <= depth:
            break
        pieces += [text[end:margin], _plain(text[margin:below])]
        end = below
    return pieces, end


def _inline_hidden(line: str, short: frozenset[str]) -> list[str]:
    """Hide what follows secret names anywhere on a line."""
    pieces, done, at = [], 0, 0
    brace = line.find("{")
    # Inside an object that has a secret name all but the ordinary names are secret.
    beneath = -1
    while word := _WORD.search(line, at):
        at = word.end()
        name = word.group()
        secret = is_secret_beneath(name) if at <= beneath else is_secret_name(name)
        if not secret:
            if short and (value := _short_after(line, at, short)):
                pieces += [line[done : value[0]], mark_of(line[slice(*value)])]
                done = at = value[1]
            continue
        found = _value_after(line, word, braces=0 <= brace < word.start())
        if found is None:
            continue
        begin, end, kind = found
        if kind == "{":
            closing = line.find("}", begin) if beneath < begin else beneath
            beneath = len(line) if closing < 0 else closing
            at = begin + 1
        elif kind == "[":
            closing = line.find("]", begin)
            end = len(line) if closing < 0 else closing
            pieces += [line[done : begin + 1], _items_hidden(line[begin + 1 : end])]
            done = at = end
        else:
            hidden = _quoted(line[begin:end]) if kind == "q" else _plain(line[begin:end])
            pieces += [line[done:begin], hidden]
            done = at = end
    return [*pieces, line[done:]]


def _short_after(line: str, at: int, short: frozenset[str]) -> tuple[int, int] | None:
    """Return where a short secret is the whole value of the name that ends at `at`."""
    after = _AFTER.match(line, at)
    value = _SHORT.match(line, after.end()) if after else None
    return value.span(1) if value is not None and value[1] in short else None


def _value_after(line: str, word: re.Match[str], *, braces: bool) -> tuple[int, int, str] | None:
    """Return where the value that belongs to a word stands, and whether it is quoted ("q"), a bracket, or plain."""
    before = line[word.start() - 1] if word.start() else ""
    if before == "<":
        tag = _TAG.match(line, word.end())
        if tag is None or line[tag.end() - 2] == "/":
            return None
        end = line.find("<", tag.end())
        end = len(line) if end < 0 else end
        return (tag.end(), end, "") if end > tag.end() else None
    after = _AFTER.match(line, word.end())
    if after is None:
        blanks = _BLANKS.match(line, word.end()) if word.group().startswith("-") else None
        return _value_at(line, blanks.end(), _SHELL_WORD) if blanks else None
    at, named = after.end(), bool(after["quote"])
    if after["sign"] == ":" and not named and before in ("/", "@"):
        return None
    if named or (braces and after["sign"] == ":"):
        return _value_at(line, at, _WORD_OF_JSON if named else _IN_BRACES)
    return _value_at(line, at, _WORD_OF_TEXT if after["sign"] == ":" else _SHELL_WORD)


def _value_at(line: str, at: int, plain: re.Pattern[str]) -> tuple[int, int, str] | None:
    if at >= len(line):
        return None
    if line[at] in "{[":
        return at, at + 1, line[at]
    escaped = _ESCAPED_QUOTE.match(line, at)
    if escaped:
        end = line.find(escaped.group(), escaped.end())
        return escaped.end(), len(line) if end < 0 else end, ""
    closed = _CLOSED.match(line, at)
    if closed and (plain is not _SHELL_WORD or line[closed.end() : closed.end() + 1] in "' \t\r,;&|<>)}]\""):
        return at, closed.end(), "q"
    if line[at] in "'\"" and plain is not _SHELL_WORD:
        return at + 1, len(line), ""
    found = plain.match(line, at)
    if found is None:
        return None
    value = found.group().rstrip(" \t)]}>,;" if plain is _SHELL_WORD else " \t\r")
    return (at, at + len(value), "") if value else None


def _items_hidden(inside: str) -> str:
    return _ITEM.sub(lambda item: _quoted(item.group()), inside)


def _unquoted(value: str) -> str:
    """Return what stands in quotes, as UCI and JSON write it."""
    if value[0] == '"' and "\\" in value:
        try:
            return str(json.loads(value, strict=False))
        except ValueError:
            return value[1:-1]
    return value[1:-1].replace("'\\''", "'")


def _quoted(value: str) -> str:
    """Return a value as its mark, in the same quotes when it has any."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return _plain(value)
    plain = _unquoted(value)
    return f"{value[0]}{mark_of(plain)}{value[0]}" if plain and not is_mark(plain) else value


def _plain(value: str) -> str:
    """Return a value without quotes as its mark; what says that there is none stays."""
    return value if not value.strip() or is_mark(value) or value in _LITERALS else mark_of(value)
