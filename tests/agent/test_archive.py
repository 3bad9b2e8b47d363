"""Hostile and damaged archives: refused with a reason, and nothing outside the tree is ever touched."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from muster_agent.archive import MAX_MEMBERS, read_archive
from muster_agent.errors import ConfigurationRejected, ExitCode
from tests.agent.driving import contents, settings_for, turn
from tests.agent.fake_controller import FakeController, archive


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def special(kind: bytes, *, name: str = "etc/x", target: str = "/etc/passwd") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return packed((info, b""))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside", "leaves the tree"),
        ("etc/../../outside", "leaves the tree"),
        ("/../outside", "leaves the tree"),
        ("etc/config/..", "leaves the tree"),
        ("etc\\..\\x", "leaves the tree"),
        ("etc/new\nline", "unusable name"),
        ("x/" * 600 + "y", "unusable name"),
        ("n" * 256, "too long a name"),
        ("./", "has no name"),
        ("state/identity.json", "agent's own directory"),
        ("./state", "agent's own directory"),
    ],
)
def test_bad_member_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigurationRejected, match=reason):
        read_archive(archive({name: "x"}), reserved="state")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(ConfigurationRejected, match="not a plain file"):
        read_archive(special(kind))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not tar" * 200, mtime=0),
        archive({"a": "x" * 5000})[:60],
        gzip.compress(b"\1" * 512, mtime=0),
    ],
    ids=["empty", "not gzip", "not tar", "cut short", "no header"],
)
def test_damaged_archives_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationRejected, match="not readable"):
        read_archive(data)


def test_a_member_shorter_than_it_says_is_refused() -> None:
    whole = gzip.decompress(archive({"a": "x" * 2000}))
    with pytest.raises(ConfigurationRejected):
        read_archive(gzip.compress(whole[: 512 + 700]))


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as stream:
        for _ in range(65):
            stream.write(b"\0" * (1024 * 1024))
    with pytest.raises(ConfigurationRejected, match="unpacks to more"):
        read_archive(raw.getvalue())


def test_too_many_members_are_refused() -> None:
    with pytest.raises(ConfigurationRejected, match="more than"):
        read_archive(archive({f"f{number}": "" for number in range(MAX_MEMBERS + 1)}))


def test_a_path_cannot_be_a_file_and_a_directory() -> None:
    with pytest.raises(ConfigurationRejected, match="both as a file and as a directory"):
        read_archive(archive({"etc/a": "x", "etc/a/b": "y"}))


def test_plain_members_come_sorted_cleaned_and_the_last_of_equals_wins() -> None:
    directory = tarfile.TarInfo("etc")
    directory.type = tarfile.DIRTYPE
    setuid = tarfile.TarInfo("/usr/bin/x")
    setuid.mode = 0o4755
    first, second = tarfile.TarInfo("./b"), tarfile.TarInfo("b")
    members = read_archive(packed((directory, b""), (setuid, b"x"), (first, b"1"), (second, "ü".encode())))
    assert [(member.path, member.mode, member.data) for member in members] == [
        ("b", 0o644, "ü".encode()),
        ("usr/bin/x", 0o755, b"x"),
    ]


@pytest.mark.parametrize(
    "plant",
    [
        lambda root, outside: (root / "etc").symlink_to(outside),
        lambda root, outside: ((root / "etc").mkdir(), (root / "etc/evil").symlink_to(outside / "evil")),
        lambda root, outside: (root / "etc").symlink_to("../outside"),
    ],
)
def test_a_link_on_the_device_never_leads_a_write_out_of_the_tree(
    controller: FakeController, root: Path, tmp_path: Path, plant: Callable[[Path, Path], object]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "evil").write_text("untouched")
    plant(root, outside)
    controller.serve({"etc/evil": "x"})
    assert turn(settings_for(controller.url, root, state_dir=tmp_path / "state")) == ExitCode.REJECTED
    assert controller.device.reports[0][1].startswith("etc/evil leads outside the tree by a link")
    assert sorted(os.listdir(outside)) == ["evil"]
    assert (outside / "evil").read_text() == "untouched"


def test_a_link_inside_the_tree_is_written_through(controller: FakeController, root: Path) -> None:
    (root / "var").mkdir()
    (root / "tmp").symlink_to("var")
    controller.serve({"tmp/file": "x"})
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert (root / "tmp").is_symlink()
    assert (root / "var/file").read_text() == "x"


@pytest.mark.parametrize(
    "data",
    [
        special(tarfile.SYMTYPE),
        archive({"../x": "y"}),
        archive({"etc/muster-agent/identity.json": "{}"}),
        b"?",
    ],
)
def test_a_hostile_archive_is_reported_and_leaves_no_trace(
    controller: FakeController, root: Path, data: bytes
) -> None:
    controller.serve_bytes(data)
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert contents(root) == {}
    assert [status for status, _ in controller.device.reports] == ["error"]


def test_a_download_over_the_limit_is_cut(controller: FakeController, root: Path) -> None:
    controller.serve_bytes(os.urandom(200_000))
    assert turn(settings_for(controller.url, root, max_download=100_000)) == ExitCode.INCOMPLETE
    assert controller.operations().count("download-config") == 3
