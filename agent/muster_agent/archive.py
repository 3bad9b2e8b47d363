"""Opens a downloaded configuration and refuses everything that is not a plain file inside the tree.

Invariant: what `read_archive` returns has clean relative paths, bounded size and valid UCI. No disk access.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from muster_agent.errors import ConfigurationRejected
from muster_agent.uci import UciError, parse

UCI_DIRECTORY = "etc/config"
MAX_UNPACKED = 64 * 1024 * 1024
MAX_MEMBERS = 4096
MAX_PATH = 1024
MAX_NAME = 255
MODE_BITS = 0o777


@dataclass(frozen=True)
class Member:
    """One file to install: its path relative to the root, permission bits and content."""

    path: str
    mode: int
    data: bytes = field(repr=False)

    @property
    def is_uci(self) -> bool:
        return is_uci_path(self.path)


def is_uci_path(path: str) -> bool:
    """Whether `path` is a UCI package: a file directly in etc/config."""
    return str(PurePosixPath(path).parent) == UCI_DIRECTORY


def md5_of(data: bytes) -> str:
    """The protocol's checksum; identity, not security."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def read_archive(data: bytes, *, reserved: str = "") -> tuple[Member, ...]:
    """The members of a tar.gz, the last of equal paths winning, in path order.

    `reserved` is a directory (relative to the root) nothing may be written into: the agent's own state.
    Raises ConfigurationRejected with the reason and the member's name.
    """
    members: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data)), mode="r:") as archive:
            for count, info in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise ConfigurationRejected(f"archive has more than {MAX_MEMBERS} members")
                member = _member(archive, info, reserved)
                if member is not None:
                    members[member.path] = member
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise ConfigurationRejected(f"archive is not readable: {error}") from error
    _refuse_nesting(members)
    for member in members.values():
        if member.is_uci:
            _check_uci(member)
    return tuple(members[path] for path in sorted(members))


def _unpacked(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            raw = stream.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationRejected(f"archive is not readable: {error}") from error
    if len(raw) > MAX_UNPACKED:
        raise ConfigurationRejected(f"archive unpacks to more than {MAX_UNPACKED} bytes")
    return raw


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo, reserved: str) -> Member | None:
    path = _clean_path(info.name)
    if info.isdir():
        return None
    if not info.isreg() or info.issparse():
        raise ConfigurationRejected(f"archive member {info.name!r} is not a plain file")
    if path == ".":
        raise ConfigurationRejected(f"archive member {info.name!r} has no name")
    if reserved and (path == reserved or path.startswith(f"{reserved}/")):
        raise ConfigurationRejected(f"archive member {info.name!r} lies in the agent's own directory")
    stream = archive.extractfile(info)
    content = stream.read() if stream is not None else b""
    if len(content) != info.size:
        raise ConfigurationRejected(f"archive member {info.name!r} is cut short")
    return Member(path=path, mode=info.mode & MODE_BITS, data=content)


def _clean_path(name: str) -> str:
    """`name` without a leading slash or `./`. Raises ConfigurationRejected when it could leave the tree."""
    if len(name) > MAX_PATH or any(character < " " or character == "\x7f" for character in name):
        raise ConfigurationRejected(f"archive member {name[:80]!r} has an unusable name")
    parts = PurePosixPath(name.lstrip("/")).parts
    if any(len(os.fsencode(part)) > MAX_NAME for part in parts):
        raise ConfigurationRejected(f"archive member {name[:80]!r} has too long a name")
    if ".." in parts or "\\" in name:
        raise ConfigurationRejected(f"archive member {name!r} leaves the tree")
    return str(PurePosixPath(*parts))


def _refuse_nesting(members: dict[str, Member]) -> None:
    for path in members:
        for parent in PurePosixPath(path).parents:
            if str(parent) in members:
                raise ConfigurationRejected(f"archive has {str(parent)!r} both as a file and as a directory")


def _check_uci(member: Member) -> None:
    try:
        parse(member.data)
    except UciError as error:
        raise ConfigurationRejected(f"{member.path} is not valid UCI: {error}") from error
