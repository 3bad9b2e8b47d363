"""Diffs of rendered files."""

import difflib
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_merge.engine import File, diff, diff_files

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


def _diff_of(old: str, new: str, context: int) -> str:
    before, after = [File("f", "0644", old.encode())], [File("f", "0644", new.encode())]
    return diff_files(before, after, context=context)


@given(_TEXT, _TEXT, st.integers(0, 4))
@settings(deadline=None)
def test_small_files_are_compared_as_difflib_does(old: str, new: str, context: int) -> None:
    before, after = old.split("\n"), new.split("\n")
    lines = difflib.unified_diff(
        [f"{line}\n" for line in before[:-1]], [f"{line}\n" for line in after[:-1]], "a/f", "b/f", n=context
    )
    assert _diff_of(old, new, context) == "".join(lines)


@pytest.mark.parametrize("work", [0, 8, 30])
@given(old=_TEXT, new=_TEXT, tail=st.sampled_from(["", "tail"]), end=st.sampled_from(["", "end"]),
       context=st.integers(0, 4))  # fmt: skip
@settings(deadline=None)
def test_what_is_too_much_to_compare_is_still_told_right(
    work: int, old: str, new: str, tail: str, end: str, context: int
) -> None:
    before, after = old + end, new + tail
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff, "_MOST_WORK", work)
        told = _diff_of(before, after, context)
    assert applied(told, before) == after
    assert (told == "") == (before == after)


def test_a_block_that_is_too_much_to_compare_keeps_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "_MOST_WORK", 0)
    assert _diff_of("1\n2\na\nb\n3\n4\n", "1\n2\nb\nc\n3\n4\n", 1) == (
        "--- a/f\n+++ b/f\n@@ -2,4 +2,4 @@\n 2\n-a\n-b\n+b\n+c\n 3\n"
    )


def test_a_small_change_in_a_big_file_is_a_small_diff() -> None:
    old = [f"option o{number % 3000} 'x'\n" for number in range(12_000)]
    new = [*old[:6000], "option new '1'\n", *old[6000:11_000], *old[11_001:]]
    assert len(_diff_of("".join(old), "".join(new), 3).splitlines()) < 20


def test_no_files_take_long_to_compare() -> None:
    chance = random.Random(7)
    many = [f"{number % 120}\n" for number in range(60_000)]
    shuffled = chance.sample(many, len(many))
    pairs = [
        ("a\n" * 100_000, "b\n" * 100_000),
        ("a\nb\n" * 60_000, "b\na\nc\n" * 40_000),
        ("".join(many), "".join(shuffled)),
        ("".join(f"{n}\nx{n}\n" for n in range(20_000)), "".join(f"{n}\ny{n}\n" for n in range(20_000))),
        ("".join(f"{n}\n" for n in range(30_000)), "".join(f"{n}\n" for n in range(30_000, 0, -1))),
    ]
    for old, new in pairs:
        started = time.process_time()
        told = _diff_of(old, new, 3)
        assert time.process_time() - started < 5
        assert applied(told, old) == new
