"""Diffs of rendered files."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.engine import File, diff_files

_FILES = st.lists(
    st.builds(
        File,
        path=st.sampled_from(["etc/a", "etc/b", "c"]),
        mode=st.sampled_from(["0644", "0755"]),
        contents=st.one_of(
            st.lists(st.sampled_from([b"a\n", b"b\n", b"\r\n", b"c"])).map(b"".join), st.binary(max_size=4)
        ),
    ),
    max_size=3,
    unique_by=lambda file: file.path,
)


@given(_FILES, _FILES)
@settings(deadline=None)
def test_a_diff_is_empty_exactly_when_the_files_are_the_same(old: list[File], new: list[File]) -> None:
    same = {file.path: file for file in old} == {file.path: file for file in new}
    assert (diff_files(old, new) == "") == same
    assert diff_files(old, new) == diff_files(list(reversed(old)), list(reversed(new)))


_TEXT = st.lists(st.sampled_from(["one\n", "two\n", "\n", "three\r\n", "fo\u2028ur\n"]), max_size=6).map(
    "".join
)


def applied(diff: str, old: str) -> str:
    """What a reader makes of a unified diff: kept and added lines, after what stood before each hunk."""
    before = _lines(old)
    out: list[str] = []
    done = 0
    for line in _lines(diff.replace("\n\\ No newline at end of file\n", "\0"))[2:]:
        text = line[1:].replace("\0", "")
        if hunk := re.match(r"@@ -(\d+)(,0)?", line):
            start = int(hunk[1]) - (0 if hunk[2] else 1)
            out += before[done:start]
            done = start
        elif line.startswith("+"):
            out.append(text)
        else:
            assert before[done] == text
            done += 1
            out += [text] if line.startswith(" ") else []
    return "".join(out + before[done:])


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n\0]*[\n\0]|[^\n\0]+", text)


@given(_TEXT, _TEXT, st.sampled_from(["", "tail"]), st.sampled_from(["", "end"]))
@settings(deadline=None)
def test_applying_a_diff_to_the_old_text_gives_the_new(old: str, new: str, tail: str, end: str) -> None:
    before, after = old + end, new + tail
    diff = diff_files([File("f", "0644", before.encode())], [File("f", "0644", after.encode())])
    assert applied(diff, before) == after


def test_new_removed_binary_and_mode_changes_are_told() -> None:
    old = [File("gone", "0644", b"x\n"), File("kept", "0644", b"y\n"), File("blob", "0644", b"\xff\x00")]
    new = [File("empty", "0644", b""), File("kept", "0755", b"y\n"), File("blob", "0644", b"\xff\x01")]
    assert diff_files(old, new) == (
        "Binary files a/blob and b/blob differ\n"
        "--- /dev/null\n+++ b/empty\n"
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "mode of kept: 0644 -> 0755\n"
    )


def test_a_missing_last_line_break_is_told() -> None:
    text = diff_files([File("f", "0644", b"a\n")], [File("f", "0644", b"a")])
    assert text.endswith("-a\n+a\n\\ No newline at end of file\n")
