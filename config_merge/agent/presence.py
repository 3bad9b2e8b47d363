"""What a process keeps between polls: who was seen, and archives, which never change once written.

Nothing here decides anything: losing it all at any moment costs a few database reads and seconds of `last_seen`.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any
from uuid import UUID

from core.clock import now
from core.rows import DATABASE_ERRORS
from devices.services import last_seen_flush

FLUSH_SECONDS = 5.0
ARCHIVE_BYTES = 64 * 1024 * 1024


class Archives:
    """The most recently used archives, by revision or (of those that are pushed) by SHA-256; bounded in bytes."""

    def __init__(self, limit: int = ARCHIVE_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return _plain(key) in self._kept

    def get(self, key: Hashable) -> bytes | None:
        """Return an archive, if it is kept."""
        return self._kept.get(_plain(key))

    def put(self, key: Hashable, archive: bytes) -> None:
        """Keep an archive; the oldest make room."""
        with self._lock:
            self._size += len(archive) - len(self._kept.pop(_plain(key), b""))
            self._kept[_plain(key)] = archive
            while self._size > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest)


def _plain(key: Any) -> Any:
    """Return a revision's id in one form: drivers give UUIDs or their 32 digits."""
    return key.hex if isinstance(key, UUID) else key


class Claims:
    """Which device lately claimed which address, a bounded number of them.

    Devices behind one private address would take it from each other at every poll, each time with a write. A device
    that claimed its address within the last minutes and lost it to a neighbour leaves it there.
    """

    def __init__(self, *, limit: int = 65_536, seconds: float = 600.0) -> None:
        self._limit = limit
        self._seconds = seconds
        self._made: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, device_id: UUID | str, address: str | None) -> None:
        """Remember a claim."""
        if address is None:
            return
        with self._lock:
            self._made[(_plain(device_id), address)] = time.monotonic()
            while len(self._made) > self._limit:
                self._made.popitem(last=False)

    def is_fresh(self, device_id: UUID | str, address: str | None) -> bool:
        """Tell whether the device claimed the address lately."""
        made = self._made.get((_plain(device_id), address or ""))
        return made is not None and time.monotonic() - made < self._seconds


archives = Archives()
claims = Claims()
_seen: set[UUID] = set()
_flushed_at = time.monotonic()
_guard = threading.Lock()


def _uuid(device_id: UUID | str) -> UUID:
    return device_id if isinstance(device_id, UUID) else UUID(device_id)


def note(device_id: UUID | str) -> None:
    """Remember that a device was heard; written with the next flush."""
    _seen.add(_uuid(device_id))


def flush() -> int:
    """Write who was seen since the last flush; returns how many."""
    global _flushed_at
    with _guard:
        seen = set(_seen)
        _seen.difference_update(seen)
        _flushed_at = time.monotonic()
    try:
        last_seen_flush(seen, at=now())
    except DATABASE_ERRORS:
        _seen.update(seen)
        raise
    return len(seen)


def is_due() -> bool:
    """Tell whether a flush is due, for servers that have no background loop."""
    return time.monotonic() - _flushed_at > FLUSH_SECONDS
