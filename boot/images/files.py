"""Bytes in the storage, on disk or in a bucket: written while they are hashed, read in portions, removed.

Invariant: no more than a few hundred kilobytes of a file are in memory, however large it is.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, storages

PORTION = 1 << 18
KEPT, COMING = "images", "uploads"


class TooMuch(Exception):
    """More bytes came than there may be."""


@dataclass(frozen=True, slots=True)
class Written:
    """What has been written: the name it has in the storage and what its bytes are."""

    name: str
    size: int
    md5: str
    sha256: str


def storage() -> Any:
    """Return the storage of uploaded files."""
    return storages["default"]


def is_on_disk() -> bool:
    """Tell whether files are kept in a directory of this machine."""
    return isinstance(storage(), FileSystemStorage)


class Measured(File):
    """A stream that is hashed as the storage reads it, once and from its beginning."""

    def __init__(self, portions: Iterable[bytes], *, name: str, limit: int) -> None:
        super().__init__(None, name=name)  # type: ignore[arg-type]
        self._portions = iter(portions)
        self._rest = b""
        self._limit = limit
        self.measured = 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield what is left. Raises TooMuch."""
        while portion := self.read(chunk_size or PORTION):
            yield portion

    def read(self, size: int = PORTION) -> bytes:
        """Return at most `size` bytes, nothing at the end. Raises TooMuch."""
        if size < 0:
            raise ValueError("a stream of unknown size is not read at once")
        while len(self._rest) < size and (portion := next(self._portions, b"")):
            self._rest += portion
        given, self._rest = self._rest[:size], self._rest[size:]
        self.measured += len(given)
        if self.measured > self._limit:
            raise TooMuch
        self.md5.update(given)
        self.sha256.update(given)
        return given

    def seekable(self) -> bool:
        """It is read once."""
        return False

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    @property
    def closed(self) -> bool:
        """It holds nothing that could be closed."""
        return False

    def close(self) -> None:
        """Whoever opened what is read closes it."""


def portions_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream in portions."""
    while portion := stream.read(PORTION):
        yield portion


def joined(names: Iterable[str]) -> Iterator[bytes]:
    """Yield files of the storage one after the other, in portions."""
    for name in names:
        with storage().open(name, "rb") as stream:
            yield from portions_of(stream)


def new_name() -> str:
    """Return a name in the storage that nobody can guess."""
    token = secrets.token_hex(32)
    return f"{KEPT}/{token[:2]}/{token}"


def part_name(upload: UUID, offset: int) -> str:
    """Return a name for a part; two that come at once get two."""
    return f"{COMING}/{upload.hex}/{offset:015d}-{secrets.token_hex(8)}"


def write(name: str, portions: Iterable[bytes], *, limit: int) -> Written:
    """Write a new file. Raises TooMuch, and whatever reading or the storage raises; nothing of it is left then."""
    content = Measured(portions, name=name, limit=limit)
    try:
        stored = storage().save(name, content)
    except BaseException:
        remove(name)
        raise
    return Written(stored, content.measured, content.md5.hexdigest(), content.sha256.hexdigest())


def remove(name: str) -> None:
    """Remove a file; one that is not there is gone already."""
    with contextlib.suppress(FileNotFoundError):
        storage().delete(name)


def remove_parts(upload: UUID) -> None:
    """Remove whatever came of an upload, also what no row knows of."""
    folder = f"{COMING}/{upload.hex}"
    try:
        _, names = storage().listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        remove(f"{folder}/{name}")
    if is_on_disk():
        with contextlib.suppress(OSError):
            storage().delete(folder)


class Portion:
    """Bytes of a stored file from `start` on, as an iterator that owns the open file."""

    def __init__(self, stream: BinaryIO, *, start: int, length: int) -> None:
        self._stream, self._left = stream, length
        stream.seek(start)

    def __iter__(self) -> "Portion":
        return self

    def __next__(self) -> bytes:
        data = self._stream.read(min(PORTION, self._left)) if self._left else b""
        if not data:
            raise StopIteration
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file; the answer calls it when it ends, or when its reader has gone."""
        self._stream.close()
