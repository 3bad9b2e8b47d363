"""Known secrets, hidden by their value wherever they occur in a text and however they are written there.

Invariant: a mark is never taken apart, whatever the secrets are.
"""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus

from core.secret_names import MARK, is_mark, mark_of

# Shorter secrets stand in too many harmless words; they are hidden where they are the value of a setting.
SHORTEST = 4
_LONG_LINE = 8


def values_hidden(text: str, written: Mapping[str, str]) -> str:
    """Replace every way to write a secret, the longest first; what has been replaced is never matched again.

    Each one found becomes one character that occurs nowhere, and these become marks in one pass at the end: looking
    for a plain text is many times faster than an expression of hundreds of alternatives, and cannot degenerate.
    """
    found = [variant for variant in written if len(variant) <= len(text) and variant in text]
    if not found:
        return text
    used = set(text).union(*found)
    free = (chr(code) for code in range(0x10FFFF, 0, -1) if chr(code) not in used)
    signs: dict[str, str] = {}

    def sign_of(shown: str) -> str:
        if shown not in signs:
            signs[shown] = next(free)
        return signs[shown]

    text = MARK.sub(lambda mark: sign_of(mark.group()), text)
    for variant in sorted(found, key=lambda variant: (-len(variant), variant)):
        if variant in text:
            text = text.replace(variant, sign_of(written[variant]))
    return text.translate({ord(sign): shown for shown, sign in signs.items()})


@lru_cache(maxsize=4)
def ways_to_write(secrets: frozenset[str]) -> Mapping[str, str]:
    """Return the mark of every way in which the secrets may be written. A page hides many texts of one device."""
    written: dict[str, str] = {}
    for secret in sorted(secrets, key=lambda secret: (len(secret), secret)):
        if len(secret) >= SHORTEST and not is_mark(secret):
            mark = mark_of(secret)
            for variant in _variants(secret):
                written.setdefault(variant, mark)
    return written


def _variants(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written."""
    bytes_ = secret.encode("utf-8", "surrogatepass")
    escaped = html.escape(secret)
    yield from {
        secret,
        secret.replace("'", "'\\''"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(bytes_, safe=""),
        quote(bytes_),
        quote_plus(bytes_),
        escaped,
        escaped.replace("&#x27;", "&#39;"),
    }
    yield from _base64(bytes_)
    if "\n" in secret.strip("\n"):
        for start in ("+", "-", " ", "\r"):
            yield secret.replace("\n", f"\n{start}" if start != "\r" else "\r\n")
        for line in secret.split("\n"):
            if len(line.strip()) >= _LONG_LINE and not line.startswith("-----"):
                yield line.strip()


def _base64(secret: bytes) -> Iterator[str]:
    """Yield a secret in base64, alone and as it looks in the middle of something longer."""
    for altchars in (b"+/", b"-_"):
        alone = base64.b64encode(secret, altchars).decode()
        yield alone
        yield alone.rstrip("=")
        for before in range(3):
            whole = base64.b64encode(bytes(before) + secret, altchars).decode()
            inner = whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
            if len(inner) >= _LONG_LINE:
                yield inner
