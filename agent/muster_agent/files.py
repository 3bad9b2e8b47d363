"""Writing files so that a power cut leaves the old content or the new one, never a mix.

Invariant: `write_atomic` returns only after the bytes and the directory entry are on disk.
"""

import hashlib
import os
from pathlib import Path

TEMP_PREFIX = ".muster-tmp-"


def temp_name(path: Path) -> Path:
    """The one temporary name used while `path` is written, so that recovery can find and remove it.

    A digest, so that it is never too long for the file system when the name itself is not.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f"{TEMP_PREFIX}{digest}")


def sync_directory(path: Path) -> None:
    """Make renames and removals in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data` with the permission bits `mode`. Raises OSError."""
    temp = temp_name(path)
    temp.unlink(missing_ok=True)
    # O_EXCL and O_NOFOLLOW: a link planted under the temporary name must not redirect the write.
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    os.replace(temp, path)
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Delete `path` if it is there. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)
