"""Reads what is on the device of the applied archive: its texts, and its digest for `actual`.

Invariant: reads only. Unchanged files (by size, inode and times) are not read again.
"""

import os
from pathlib import Path

from muster_agent.archive import Member, read_archive
from muster_agent.drift import digest
from muster_agent.errors import ConfigurationRejected
from muster_agent.merge import PackageRecord
from muster_agent.settings import Settings
from muster_agent.state import Store
from muster_agent.tree import Tree

Signature = tuple[object, ...]


class Inventory:
    """Remembers the applied archive's members and the last digest."""

    def __init__(self, *, settings: Settings, store: Store, tree: Tree) -> None:
        self._settings = settings
        self._store = store
        self._tree = tree
        self._checksum = ""
        self._members: tuple[Member, ...] | None = None
        self._signature: Signature = ()
        self._actual: str | None = None

    def actual(self) -> str | None:
        """The digest of docs/link-protocol.md, or None when no archive is known to be applied."""
        members = self._applied()
        if members is None:
            return None
        signature = (self._checksum, *(self._stamp(member.path) for member in members))
        if signature != self._signature:
            self._actual = digest(members, merged=self._merged(), read=self._read)
            self._signature = signature
        return self._actual

    def texts(self) -> dict[str, object]:
        """Every file of the applied archive as the device has it; None for one that is not there."""
        found: dict[str, object] = {}
        for member in self._applied() or ():
            data = self._read(member.path)
            found[member.path] = data.decode("utf-8", "replace") if data is not None else None
        return found

    def _applied(self) -> tuple[Member, ...] | None:
        applied = self._store.memory().applied
        if applied != self._checksum or self._members is None:
            self._checksum, self._members = applied, self._open(applied)
        return self._members

    def _open(self, applied: str) -> tuple[Member, ...] | None:
        data = self._store.applied_archive() if applied else None
        if data is None:
            return None
        try:
            return read_archive(data, reserved=self._settings.reserved)
        except ConfigurationRejected:
            return None

    def _merged(self) -> frozenset[str]:
        files = self._store.managed().files
        return frozenset(path for path, record in files.items() if isinstance(record, PackageRecord))

    def _read(self, path: str) -> bytes | None:
        try:
            image = self._tree.read(path)
        except (ConfigurationRejected, OSError):
            return None
        return image.data if image is not None else None

    def _stamp(self, path: str) -> Signature:
        try:
            status = os.stat(Path(self._tree.locate(path)))
        except (ConfigurationRejected, OSError):
            return (path,)
        return (path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
