"""Rendered files and their differences as a page shows them."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from config_merge.engine import File
from config_merge.models import ConfigRevision
from config_merge.queries import files_in

SHOWN_BYTES = 256 * 1024
NOT_TEXT = "This file is not text."
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_KINDS = (
    ("--- ", "file"),
    ("+++ ", "file"),
    ("@@", "place"),
    ("+", "new"),
    ("-", "gone"),
    ("mode of ", "file"),
)


def shown_file(file: File) -> dict[str, Any]:
    """Return what the page shows of a rendered file; a very long one is cut."""
    try:
        text = file.contents[:SHOWN_BYTES].decode(
            "utf-8", "strict" if len(file.contents) <= SHOWN_BYTES else "ignore"
        )
    except UnicodeDecodeError:
        text = ""
    is_text = "\x00" not in text and (bool(text) or not file.contents)
    return {
        "path": file.path,
        "mode": file.mode,
        "size": len(file.contents),
        "text": text if is_text else NOT_TEXT,
        "is_text": is_text,
        "is_cut": len(file.contents) > SHOWN_BYTES,
    }


def diff_lines(text: str) -> list[tuple[str, str]]:
    """Return the lines of a unified diff with what kind of line each is, for its colour.

    >>> diff_lines("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n")[2:]
    [('place', '@@ -1 +1 @@'), ('gone', '-a'), ('new', '+b')]
    """
    return [
        (next((kind for start, kind in _KINDS if line.startswith(start)), "same"), line)
        for line in text.split("\n")[:-1]
    ]


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a diff side by side; a number is None where a side has no such line."""

    kind: str
    left_number: int | None
    left: str
    right_number: int | None
    right: str


def side_by_side(text: str) -> list[Pair]:
    """Return a unified diff as pairs of lines: removed ones beside added ones.

    >>> [(p.kind, p.left, p.right) for p in side_by_side("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n+c\\n")[2:]]
    [('place', '@@ -1 +1 @@', ''), ('change', 'a', 'b'), ('change', '', 'c')]
    """
    return list(_pairs(text))


def _pairs(text: str) -> Iterator[Pair]:
    gone: list[str] = []
    new: list[str] = []
    left = right = 0

    def flush() -> Iterator[Pair]:
        nonlocal left, right
        for index in range(max(len(gone), len(new))):
            has_left, has_right = index < len(gone), index < len(new)
            left, right = left + has_left, right + has_right
            yield Pair(
                "change",
                left if has_left else None,
                gone[index] if has_left else "",
                right if has_right else None,
                new[index] if has_right else "",
            )
        gone.clear()
        new.clear()

    for kind, line in diff_lines(text):
        if kind == "gone":
            gone.append(line[1:])
            continue
        if kind == "new":
            new.append(line[1:])
            continue
        yield from flush()
        place = _HUNK.match(line)
        if place:
            left, right = max(int(place[1]) - 1, 0), max(int(place[2]) - 1, 0)
        if kind == "same" and line.startswith(" "):
            left, right = left + 1, right + 1
            yield Pair("same", left, line[1:], right, line[1:])
        else:
            yield Pair(kind, None, line, None, "")
    yield from flush()


def unpacked(revision: ConfigRevision | None) -> tuple[File, ...]:
    """Return the files of a revision; one that is not there or cannot be read has none."""
    try:
        return files_in(bytes(revision.artefact)) if revision is not None else ()
    except (tarfile.TarError, OSError):
        return ()
