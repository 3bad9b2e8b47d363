"""Archives: the standard library reads back what went in, and the bytes never change."""

import gzip
import hashlib
import io
import subprocess
import tarfile

from hypothesis import example, given, settings
from hypothesis import strategies as st

from config_merge.engine import File, packed
from config_merge.engine.archive import deflated

_PATHS = st.one_of(
    st.text("abc/._-", min_size=1, max_size=12).map(lambda name: f"x{name}x"),
    st.sampled_from(["a" * 99, "a" * 100, "a" * 101, "b/" * 140 + "c", "etc/{{ é }}"]),
)
_FILES = st.lists(
    st.builds(
        File,
        path=_PATHS,
        mode=st.sampled_from(["0644", "0755", "0600", "0000", "7777"]),
        contents=st.one_of(st.binary(max_size=2000), st.integers(0, 3000).map(bytes)),
    ),
    max_size=5,
    unique_by=lambda file: file.path,
)


def by_the_standard_library(files: list[File]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file in files:
            info = tarfile.TarInfo(file.path)
            info.size, info.mode = len(file.contents), int(file.mode, 8)
            tar.addfile(info, io.BytesIO(file.contents))
    return out.getvalue()


@given(_FILES)
@example([])
@example([File("big", "0644", bytes(range(256)) * 600)])
@example([File("limit", "0644", b"x" * 65535), File("above", "0644", b"x" * 65536)])
@settings(deadline=None)
def test_an_archive_is_what_tarfile_would_make_of_the_files(files: list[File]) -> None:
    artefact = packed(files)
    assert gzip.decompress(artefact.archive) == by_the_standard_library(files)
    assert artefact.files == tuple(files)
    assert artefact.md5 == hashlib.md5(artefact.archive).hexdigest()
    assert artefact.sha256 == hashlib.sha256(artefact.archive).hexdigest()
    assert packed(files).archive == artefact.archive


@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 1200).map(bytes))).map(b"".join))
@settings(deadline=None)
def test_deflated_pieces_can_be_joined(data: bytes) -> None:
    stream = b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated(data[:50]) + deflated(data[50:]) + b"\x03\x00"
    with gzip.GzipFile(fileobj=io.BytesIO(stream)) as reader:
        assert reader.read(len(data)) == data


def test_every_length_of_a_run_of_zeros_survives() -> None:
    for length in [*range(1, 600), 10_000, 70_000]:
        data = b"a" + bytes(length) + b"b"
        assert gzip.decompress(packed([File("x", "0644", data)]).archive)[512 : 512 + len(data)] == data


def test_the_headers_carry_no_time_owner_or_system() -> None:
    archive = packed([File("a", "0600", b"1")]).archive
    assert archive[:10] == bytes.fromhex("1f8b08000000000000ff")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (member,) = tar.getmembers()
    assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
    assert member.mode == 0o600


def test_the_system_tar_unpacks_it(tmp_path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(
        packed([File("etc/config/system", "0644", "é\n".encode()), File("b", "0755", b"")]).archive
    )
    subprocess.run(["tar", "-xzf", str(path), "-C", str(tmp_path)], check=True)
    assert (tmp_path / "etc/config/system").read_text(encoding="utf-8") == "é\n"
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o755
