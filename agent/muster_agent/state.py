"""What the agent remembers between runs, in one directory only its user may read.

Invariant: every file is replaced atomically and durably, so a kill at any instant leaves a readable whole.
A file that is damaged anyway is set aside as `<name>.damaged` and treated as absent.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from muster_agent.archive import md5_of
from muster_agent.errors import AgentExit, ExitCode
from muster_agent.files import remove_durably, write_atomic
from muster_agent.log import EventLog
from muster_agent.plan import Json, Managed, Transaction, managed_from_json, managed_to_json
from muster_agent.protocol import Identity
from muster_agent.records import (
    Journal,
    Memory,
    journal_from_json,
    memory_from_json,
    strings,
    transaction_from_json,
    transaction_to_json,
)

T = TypeVar("T")


class Store:
    """The state directory. One process at a time: call `lock` first."""

    def __init__(self, directory: Path, *, log: EventLog) -> None:
        self._directory = directory
        self._log = log
        self._lock_descriptor: int | None = None

    def lock(self) -> None:
        """Make the directory and take it. Raises AgentExit(ALREADY_RUNNING); the kernel frees it at death."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"another agent uses {self._directory}"
            raise AgentExit(ExitCode.ALREADY_RUNNING, message) from error
        self._lock_descriptor = descriptor

    def unlock(self) -> None:
        """Let another process have the directory."""
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def identity(self) -> Identity | None:
        return self._read("identity.json", lambda data: Identity(**strings(data, "uuid", "key", "hostname")))

    def save_identity(self, identity: Identity) -> None:
        self._write("identity.json", asdict(identity))

    def memory(self) -> Memory:
        return self._read("memory.json", memory_from_json) or Memory()

    def save_memory(self, memory: Memory) -> None:
        self._write("memory.json", asdict(memory))

    def managed(self) -> Managed:
        return self._read("managed.json", managed_from_json) or Managed()

    def save_managed(self, managed: Managed) -> None:
        self._write("managed.json", managed_to_json(managed))

    def transaction(self) -> Transaction | None:
        return self._read("transaction.json", transaction_from_json)

    def save_transaction(self, transaction: Transaction) -> None:
        self._write("transaction.json", transaction_to_json(transaction))

    def journal(self) -> Journal | None:
        return self._read("journal.json", journal_from_json)

    def save_journal(self, journal: Journal) -> None:
        self._write("journal.json", asdict(journal))

    def clear_journal(self) -> None:
        """The apply is over. The journal goes first: a transaction without one means nothing happened yet."""
        remove_durably(self._directory / "journal.json")
        remove_durably(self._directory / "transaction.json")

    def archive(self) -> bytes | None:
        """The last archive whose md5 was right, for when the controller answers 304."""
        try:
            return (self._directory / "archive.tar.gz").read_bytes()
        except FileNotFoundError:
            return None

    def save_archive(self, data: bytes) -> None:
        write_atomic(self._directory / "archive.tar.gz", data)

    def applied_archive(self) -> bytes | None:
        """The archive that is applied and confirmed; None when this agent has not kept it."""
        try:
            data = (self._directory / "applied.tar.gz").read_bytes()
        except FileNotFoundError:
            return None
        return data if md5_of(data) == self.memory().applied else None

    def keep_applied_archive(self, checksum: str) -> None:
        """The downloaded archive, if that is its checksum, is now the applied one."""
        data = self.archive()
        if data is not None and md5_of(data) == checksum:
            write_atomic(self._directory / "applied.tar.gz", data)

    def _write(self, name: str, data: Json) -> None:
        write_atomic(self._directory / name, json.dumps(data, sort_keys=True).encode())

    def _read(self, name: str, build: Callable[[Json], T]) -> T | None:
        path = self._directory / name
        try:
            data = json.loads(path.read_bytes())
            if not isinstance(data, dict):
                raise TypeError("not an object")
            return build(data)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            os.replace(path, path.with_name(f"{name}.damaged"))
            self._log.error("state_damaged", file=name, error=type(error).__name__)
            return None
