"""The UCI reader, writer and merge: grammar cases, refusals, and the laws as properties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_agent.merge import merge, unmerge
from muster_agent.uci import Package, Section, UciError, name_anonymous, parse, render

NAMES = st.text("abcXYZ09_", min_size=1, max_size=3)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\t\n'\"\\#; "), max_size=6
)
OPTIONS = st.dictionaries(NAMES, TEXTS | st.lists(TEXTS, min_size=1, max_size=3).map(tuple), max_size=3)
TYPES = st.sampled_from(["interface", "wifi-iface", "device", "system"])


@st.composite
def packages(draw: st.DrawFn, *, anonymous: bool = True) -> Package:
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    sections = [Section(type=draw(TYPES), name=name, options=draw(OPTIONS)) for name in names]
    if anonymous:
        sections += draw(
            st.lists(st.builds(Section, type=TYPES, name=st.none(), options=OPTIONS), max_size=3)
        )
    return Package(sections=tuple(draw(st.permutations(sections))))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("config a b\noption x 1", {"x": "1"}),
        ("config a b\n option x '1 2'", {"x": "1 2"}),
        ('config a b\n option x "say \\"hi\\""', {"x": 'say "hi"'}),
        ("config a b\n option x 'it'\\''s'", {"x": "it's"}),
        ("config a b\n option x 'two\nlines'", {"x": "two\nlines"}),
        ("config a b # note\n option x 1 # note\n# note", {"x": "1"}),
        ("config a b\n option x '#1'", {"x": "#1"}),
        ("config a b; option x 1; option y 2", {"x": "1", "y": "2"}),
        ("config a b\n list x 1\n list x 2", {"x": ("1", "2")}),
        ("config a b\n option x 1\n list x 2", {"x": ("1", "2")}),
        ("config a b\n option x 1\n option x 2", {"x": "2"}),
        ("config a b\n option x ''", {"x": ""}),
        ("c a b\no x 1\nl y 2", {"x": "1", "y": ("2",)}),
        ("package p\r\nconfig a b\r\n\toption x \\\n 1\r\n", {"x": "1"}),
        ("config a b\n option x a\\ b", {"x": "a b"}),
    ],
)
def test_a_section_is_read_as_uci_reads_it(text: str, options: dict[str, object]) -> None:
    assert parse(text.encode()).sections == (Section(type="a", name="b", options=options),)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("option x 1", 1, "outside a section"),
        ("config", 1, "needs a type"),
        ("config a b c", 1, "needs a type"),
        ("config a b\noption x", 2, "needs a name and a value"),
        ("config a b\n\noption x 1 2", 3, "needs a name and a value"),
        ("config a b\noption x.y 1", 2, "bad option name"),
        ("config a b-c", 1, "bad section name"),
        ("config a\u00e9 b", 1, "bad section type"),
        ("config a b\noption x 'open\n\n", 2, "unclosed single quote"),
        ('config a b\noption x "open', 2, "unclosed double quote"),
        ("config a b\noption x \\", 2, "backslash"),
        ("config a b\noption x '\x01'", 2, "control character"),
        ("hello world", 1, "unknown keyword"),
        ("config a b\nconfig c b", 2, "two types"),
        ("config a b\npackage p", 2, "package line"),
        ("<html>", 1, "unknown keyword"),
    ],
)
def test_what_uci_would_refuse_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(UciError, match=f"line {line}: .*{message}"):
        parse(text.encode())


def test_sections_of_one_name_are_one_section() -> None:
    package = parse(b"config a b\noption x 1\nconfig a c\nconfig a b\noption y 2\n")
    assert [(section.name, section.options) for section in package.sections] == [
        ("b", {"x": "1", "y": "2"}),
        ("c", {}),
    ]


def test_bytes_that_are_not_utf_8_survive() -> None:
    data = b"\nconfig a 'b'\n\toption x '\xff\xfe'\n"
    assert render(parse(data)) == data


@given(packages())
@settings(max_examples=150, deadline=None)
def test_reading_back_what_was_written_gives_the_same(package: Package) -> None:
    assert parse(render(package)) == package


@given(packages())
@settings(max_examples=100, deadline=None)
def test_naming_gives_unique_names_and_changes_nothing_else(package: Package) -> None:
    named = name_anonymous(package)
    names = [section.name for section in named.sections]
    assert None not in names
    assert len(set(names)) == len(names)
    assert [section.options for section in named.sections] == [
        section.options for section in package.sections
    ]
    assert name_anonymous(named) == named


@given(packages(), packages())
@settings(max_examples=200, deadline=None)
def test_taking_the_remote_off_again_gives_the_base_back(base: Package, remote: Package) -> None:
    merged, record = merge(base, remote=remote)
    assert unmerge(merged, record=record) == name_anonymous(base)


@given(packages(), packages(), packages())
@settings(max_examples=100, deadline=None)
def test_a_second_configuration_replaces_the_first(base: Package, first: Package, second: Package) -> None:
    merged, record = merge(base, remote=first)
    after, _ = merge(unmerge(merged, record=record), remote=second)
    assert after == merge(base, remote=second)[0]


@given(packages(anonymous=False), packages(anonymous=False))
@settings(max_examples=100, deadline=None)
def test_the_remote_wins_and_the_rest_stays(base: Package, remote: Package) -> None:
    merged, _ = merge(base, remote=remote)
    after = {section.name: section for section in merged.sections}
    sent = {section.name: section for section in remote.sections}
    for section in base.sections:
        theirs = sent[section.name].options if section.name in sent else {}
        assert after[section.name].options == {**section.options, **theirs}
    assert all(after[name].type == section.type for name, section in sent.items())


def test_an_anonymous_section_meets_the_controllers_named_one() -> None:
    base = parse(b"config system\n\toption hostname 'old'\n\toption zonename 'UTC'\n")
    merged, _ = merge(base, remote=parse(b"config system 'system'\n\toption hostname 'new'\n"))
    assert merged.sections == (Section("system", "system", {"hostname": "new", "zonename": "UTC"}),)


def test_a_network_device_is_named_after_its_interface() -> None:
    base = parse(
        b"config device\n\toption name 'br-lan'\n\tlist ports 'lan1'\nconfig device\n\toption name 'eth0'\n"
    )
    assert [section.name for section in name_anonymous(base).sections] == ["device_br_lan", "device_eth0"]


def test_lists_are_replaced_and_come_back_whole() -> None:
    base = parse(b"config a b\nlist x 1\nlist x 2\n")
    merged, record = merge(base, remote=parse(b"config a b\nlist x 3\n"))
    assert merged.sections[0].options == {"x": ("3",)}
    assert unmerge(merged, record=record) == base


def test_what_a_person_added_meanwhile_stays() -> None:
    _, record = merge(None, remote=parse(b"config a b\noption x 1\nconfig a c\noption x 1\n"))
    current = parse(b"config a b\noption x 9\noption mine 1\nconfig a c\noption x 1\nconfig a d\n")
    left = unmerge(current, record=record)
    assert left == Package((Section("a", "b", {"mine": "1"}), Section("a", "d", {})))


def test_a_file_the_agent_made_goes_when_nothing_is_left() -> None:
    merged, record = merge(None, remote=parse(b"config a b\noption x 1\n"))
    assert unmerge(merged, record=record) is None
