"""What changes on a device between two renderings, as text a person reads before approving.

Invariant: the output depends on the two file lists only; it is empty exactly when they hold the same files. The work
is bounded: where finding what two files have in common takes too much of it, what lies between their equal beginning
and their equal end is shown as removed and added as a whole.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate

from config_merge.engine.types import File

_ABSENT = "/dev/null"
# Pairs of lines looked at before giving up on one file; about a quarter of a second.
_MOST_WORK = 2_000_000
_Group = Sequence[tuple[str, int, int, int, int]]


def diff_files(old: Sequence[File], new: Sequence[File], *, context: int = 3) -> str:
    """A unified diff, files in order of their path; changed permissions and binary contents are told in
    words. `context` is the number of unchanged lines around a change.

    >>> before = [File("etc/config/system", "0644", b"a\\nb\\n")]
    >>> print(diff_files(before, [File("etc/config/system", "0644", b"a\\nc\\n")]), end="")
    --- a/etc/config/system
    +++ b/etc/config/system
    @@ -1,2 +1,2 @@
     a
    -b
    +c
    """
    before = {file.path: file for file in old}
    after = {file.path: file for file in new}
    return "".join(
        _diff_file(path, before.get(path), after.get(path), context)
        for path in sorted(before.keys() | after.keys())
    )


def _diff_file(path: str, old: File | None, new: File | None, context: int) -> str:
    if old == new:
        return ""
    out = ""
    if old is not None and new is not None and old.mode != new.mode:
        out += f"mode of {path}: {old.mode} -> {new.mode}\n"
    old_bytes, new_bytes = old.contents if old else b"", new.contents if new else b""
    source = f"a/{path}" if old else _ABSENT
    target = f"b/{path}" if new else _ABSENT
    old_lines, new_lines = _lines(old_bytes), _lines(new_bytes)
    if old_lines is None or new_lines is None:
        return out + (f"Binary files {source} and {target} differ\n" if old_bytes != new_bytes else "")
    if not old_lines and not new_lines and (old is None or new is None):
        return f"{out}--- {source}\n+++ {target}\n"
    for line in _unified(old_lines, new_lines, source, target, context):
        out += line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
    return out


class _TooMuchWork(Exception):
    """Comparing two files would take too long."""


class _Matcher(difflib.SequenceMatcher[str]):
    """A matcher that counts the pairs of lines it looks at. Raises _TooMuchWork."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        self._left = _MOST_WORK
        work = (1 + len(self.b2j.get(line, ())) for line in old)  # type: ignore[attr-defined]
        self._work = list(accumulate(work, initial=0))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self._left -= self._work[-1 if ahi is None else ahi] - self._work[alo]
        if self._left < 0:
            raise _TooMuchWork
        return super().find_longest_match(alo, ahi, blo, bhi)


def _unified(old: Sequence[str], new: Sequence[str], source: str, target: str, context: int) -> Iterator[str]:
    """Yield the lines of a unified diff."""
    start, groups = _groups(old, new, context)
    if groups:
        yield f"--- {source}\n"
        yield f"+++ {target}\n"
    for group in groups:
        _, old_from, _, new_from, _ = group[0]
        _, _, old_to, _, new_to = group[-1]
        removed, added = (
            _range(start + old_from, old_to - old_from),
            _range(start + new_from, new_to - new_from),
        )
        yield f"@@ -{removed} +{added} @@\n"
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                yield from (f" {line}" for line in old[start + i1 : start + i2])
                continue
            yield from (f"-{line}" for line in old[start + i1 : start + i2])
            yield from (f"+{line}" for line in new[start + j1 : start + j2])


def _groups(old: Sequence[str], new: Sequence[str], context: int) -> tuple[int, list[_Group]]:
    """Return what differs as difflib's groups of operations, and the line from which these count."""
    with suppress(_TooMuchWork):
        return 0, list(_Matcher(old, new).get_grouped_opcodes(context))
    first = _equal_lines(old, new)
    last = _equal_lines(old[first:][::-1], new[first:][::-1])
    start = max(first - context, 0)
    inner_old, inner_new = old[start : len(old) - last + context], new[start : len(new) - last + context]
    with suppress(_TooMuchWork):
        return start, list(_Matcher(inner_old, inner_new).get_grouped_opcodes(context))
    before, after = first - start, min(last, context)
    old_end, new_end = len(inner_old) - after, len(inner_new) - after
    group = [
        ("equal", 0, before, 0, before),
        ("replace", before, old_end, before, new_end),
        ("equal", old_end, old_end + after, new_end, new_end + after),
    ]
    return start, [group]


def _equal_lines(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines two texts have in common before the first that differs."""
    pairs = zip(one, other, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _range(start: int, length: int) -> str:
    """Return lines as the head of a hunk names them; a range of none stands after the line before it."""
    return f"{start + 1}" if length == 1 else f"{start + 1 if length else start},{length}"


def _lines(contents: bytes) -> list[str] | None:
    """Lines with their ends (only "\\n" ends one), or None for bytes that are not text."""
    try:
        text = contents.decode()
    except UnicodeDecodeError:
        return None
    if "\x00" in text:
        return None
    lines = text.split("\n")
    tail = lines.pop()
    return [f"{line}\n" for line in lines] + ([tail] if tail else [])
