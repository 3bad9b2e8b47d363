"""Where private keys in PEM stand in a text.

Invariant: one pass over the text, however many keys begin in it and never end.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?+)-----")
_END = re.compile(r"-----END ([A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?+)-----")
# No group with a look-ahead is possessive: Python 3.11.2, which is Debian's, does not step back where it ends.
# What is left of a key whose end is missing: lines of base64, also those of a diff, and the headers above them.
_BODY = re.compile(
    r"[ \t]*+[A-Za-z0-9+/=\\]*+"
    r"(?:[ \t\r]*+\n[ \t+\-]*+"
    r"(?:[A-Za-z0-9+/=\\]++(?=[ \t\r]*+(?:\n|\Z))|(?:Proc-Type|DEK-Info|Version|Comment):[^\n]*+|(?=\r?\n)))*"
)
# The same where line breaks may have become anything.
_LOOSE_BODY = re.compile(r"[A-Za-z0-9+/=\s\\]*+")


def private_keys(text: str, *, loose: bool = False) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and label ("EC PRIVATE KEY") of every key, in order; one without an end goes as far as its
    base64 does, and with `loose` also over blanks.
    """
    ends: dict[str, list[tuple[int, int]]] | None = None
    at = 0
    while begin := _BEGIN.search(text, at):
        if ends is None:
            ends = {}
            for found in _END.finditer(text, begin.end()):
                ends.setdefault(found[1], []).append(found.span())
        known = ends.get(begin[1], [])
        place = bisect_left(known, (begin.end(), 0))
        if place < len(known):
            at = known[place][1]
        else:
            body = (_LOOSE_BODY if loose else _BODY).match(text, begin.end())
            at = body.end() if body else begin.end()
        yield begin.start(), at, begin[1]


def private_keys_replaced(text: str, replaced: Callable[[str, str], str], *, loose: bool = False) -> str:
    """Return the text with every key replaced by what `replaced` makes of the key and its label."""
    if "PRIVATE KEY" not in text:
        return text
    parts, done = [], 0
    for start, end, label in private_keys(text, loose=loose):
        parts += [text[done:start], replaced(text[start:end], label)]
        done = end
    return "".join([*parts, text[done:]])


def is_private_key(text: str) -> bool:
    """Tell whether a text is one private key and nothing else."""
    return [(start, end) for start, end, _ in private_keys(text)] == [(0, len(text))]
