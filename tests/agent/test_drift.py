"""The digest of what is really on the device: laws as properties, and both ways of applying on a real tree."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_agent.archive import Member, read_archive
from muster_agent.drift import digest, expected, merged_content
from muster_agent.inventory import Inventory
from muster_agent.log import EventLog
from muster_agent.merge import merge
from muster_agent.settings import ApplyMode, Settings
from muster_agent.state import Store
from muster_agent.tree import Tree
from muster_agent.uci import Package, Section, parse, render
from tests.agent.driving import settings_for, turn
from tests.agent.fake_controller import FakeController
from tests.agent.test_uci import packages

FILES = st.dictionaries(st.sampled_from(["etc/a", "etc/b", "etc/b.c", "etc/b/c", "z"]), st.binary(max_size=4))
SYSTEM = "config system 'system'\n\toption hostname '{}'\n\tlist server 'a'\n\tlist server 'b'\n"


def members(files: dict[str, bytes]) -> list[Member]:
    return [Member(path=path, mode=0o644, data=data) for path, data in files.items()]


def by_hand(files: dict[str, bytes | None]) -> str:
    """The words of docs/link-protocol.md, taken literally."""
    lines = b""
    for path in sorted(files):
        data = files[path]
        lines += (hashlib.sha256(data).hexdigest() if data is not None else "-").encode()
        lines += b"  " + path.encode() + b"\n"
    return hashlib.sha256(lines).hexdigest()


def test_the_digest_of_a_known_archive() -> None:
    files: dict[str, bytes | None] = {"etc/b": b"b", "etc/a": b""}
    assert expected(members({"etc/b": b"b", "etc/a": b""})) == by_hand(files)
    assert digest(members({"etc/b": b"b", "etc/a": b""}), merged=(), read={"etc/a": b""}.get) == by_hand(
        files | {"etc/b": None}
    )


@given(FILES, FILES)
@settings(max_examples=100, deadline=None)
def test_whole_files_count_as_their_bytes_and_the_archives_order_does_not_matter(
    wanted: dict[str, bytes], device: dict[str, bytes]
) -> None:
    sent = members(wanted)
    found = digest(sent, merged=(), read=device.get)
    assert found == digest(reversed(sent), merged=(), read=device.get)
    assert found == by_hand({path: device.get(path) for path in wanted})
    assert (found == expected(sent)) is all(device.get(path) == data for path, data in wanted.items())


@given(packages(), packages())
@settings(max_examples=200, deadline=None)
def test_a_merged_file_counts_as_the_archives_own(base: Package, remote: Package) -> None:
    sent = render(remote)
    merged, _ = merge(base, remote=remote)
    assert merged_content(sent, render(merged)) == sent
    assert merged_content(b"# a comment\n" + sent, render(merged)) == b"# a comment\n" + sent


@given(packages(anonymous=False), packages(anonymous=False))
@settings(max_examples=200, deadline=None)
def test_otherwise_it_is_the_archives_file_as_the_device_has_it(device: Package, remote: Package) -> None:
    there = {section.name: section for section in device.sections}
    kept = tuple(
        Section(
            type=there[section.name].type,
            name=section.name,
            options={
                name: there[section.name].options[name]
                for name in section.options
                if name in there[section.name].options
            },
        )
        for section in remote.sections
        if section.name in there
    )
    found = merged_content(render(remote), render(device))
    assert parse(found) == Package(sections=kept)
    assert (found == render(remote)) is (Package(sections=kept) == remote)


@given(packages(), packages(), packages())
@settings(max_examples=100, deadline=None)
def test_what_the_archive_does_not_name_does_not_matter(
    base: Package, other: Package, remote: Package
) -> None:
    sent = render(remote)
    first, _ = merge(base, remote=remote)
    second, _ = merge(other, remote=remote)
    assert merged_content(sent, render(first)) == merged_content(sent, render(second))


def test_a_merged_file_that_is_no_uci_any_more_counts_as_it_is() -> None:
    assert merged_content(b"config a b\n", b"\x00nonsense '") == b"\x00nonsense '"


@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_drift_is_seen_in_both_ways_of_applying(
    controller: FakeController, root: Path, mode: ApplyMode
) -> None:
    system = root / "etc/config/system"
    system.parent.mkdir(parents=True)
    system.write_text("# by hand\nconfig system\n\toption hostname 'old'\n\toption zonename 'UTC'\n")
    controller.serve(
        {"etc/config/system": SYSTEM.format("x"), "etc/config/new": "config a 'b'\n", "etc/motd": "hi"}
    )
    configuration = settings_for(controller.url, root, mode=mode)
    turn(configuration)
    inventory = inventory_of(configuration, root)
    wanted = expected(read_archive(controller.data))
    assert inventory.actual() == wanted

    before = system.read_text()
    for text, differs in (
        (before.replace("'x'", "'y'"), True),
        (before.replace("list server 'b'", "list server 'c'"), True),
        (before.replace("\tlist server 'b'\n", ""), True),
        (before.replace("config system", "config other"), True),
        (before + "\nconfig mine 'mine'\n\toption a '1'\n", mode == "overwrite"),
        (before + "\toption zonename 'CET'\n", mode == "overwrite"),
        ("", True),
        (before, False),
    ):
        system.write_text(text)
        assert (inventory.actual() != wanted) is differs, text
    (root / "etc/motd").unlink()
    gone = inventory.actual()
    (root / "etc/motd").mkdir()
    assert inventory.actual() == gone != wanted
    (root / "etc/motd").rmdir()
    (root / "etc/motd").write_text("hi")
    assert inventory.actual() == wanted


def test_unchanged_files_are_not_read_again(controller: FakeController, root: Path) -> None:
    configuration = settings_for(controller.url, root)
    turn(configuration)
    read: list[str] = []

    class Counting(Tree):
        def read(self, path: str):  # type: ignore[no-untyped-def]
            read.append(path)
            return super().read(path)

    store = Store(configuration.state_path, log=EventLog())
    inventory = Inventory(settings=configuration, store=store, tree=Counting(root))
    first = inventory.actual()
    assert inventory.actual() == first
    assert read == ["etc/config/system"]
    (root / "etc/config/system").write_text("")
    assert inventory.actual() != first
    assert read == ["etc/config/system"] * 2


def test_nothing_is_known_without_the_applied_archive(controller: FakeController, root: Path) -> None:
    configuration = settings_for(controller.url, root)
    assert inventory_of(configuration, root).actual() is None
    turn(configuration)
    kept = root / "etc/muster-agent/applied.tar.gz"
    data = kept.read_bytes()
    kept.unlink()
    assert inventory_of(configuration, root).actual() is None
    kept.write_bytes(data + b"x")
    assert inventory_of(configuration, root).actual() is None


def test_after_a_rejected_archive_drift_is_still_that_of_the_applied_one(
    controller: FakeController, root: Path
) -> None:
    configuration = settings_for(controller.url, root)
    turn(configuration)
    wanted = expected(read_archive(controller.data))
    controller.serve({"etc/config/system": "config system 'broken"})
    turn(configuration)
    assert inventory_of(configuration, root).actual() == wanted


def inventory_of(configuration: Settings, root: Path) -> Inventory:
    store = Store(configuration.state_path, log=EventLog())
    return Inventory(settings=configuration, store=store, tree=Tree(root))
