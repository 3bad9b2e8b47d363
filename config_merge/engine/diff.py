"""What changes on a device between two renderings, as text a person reads before approving.

Invariant: the output depends on the two file lists only; it is empty exactly when they hold the same files.
"""

import difflib
from collections.abc import Sequence

from config_merge.engine.types import File

_ABSENT = "/dev/null"


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
    for line in difflib.unified_diff(old_lines, new_lines, source, target, n=context):
        out += line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
    return out


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
