"""What the agent remembers between runs, in one directory only its user may read.

Invariant: every file is replaced atomically and durably, so a kill at any instant leaves a readable whole.
A file that is damaged anyway is set aside as `<name>.damaged` and treated as absent.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from muster_agent.errors import AgentExit, ExitCode
from muster_agent.files import remove_durably, write_atomic
from muster_agent.log import EventLog
from muster_agent.plan import (
    Change,
    Json,
    Managed,
    Transaction,
    image_from_json,
    managed_from_json,
    managed_to_json,
)
from muster_agent.protocol import Identity, ReportStatus

Step = Literal["applying", "testing", "committing", "rolling_back"]
T = TypeVar("T")


@dataclass(frozen=True)
class Pending:
    """A result the controller has not acknowledged yet, and the checksum it is about."""

    checksum: str
    status: ReportStatus
    reason: str = ""


@dataclass(frozen=True)
class Memory:
    """The small facts. `applied`: checksum of what is on the device; empty when unknown or to be redone."""

    applied: str = ""
    boot_id: str = ""
    pending: Pending | None = None
    checksum_etag: str = ""
    checksum_seen: str = ""
    archive_etag: str = ""
    interrupted_checksum: str = ""
    interruptions: int = 0


@dataclass(frozen=True)
class Journal:
    """How far an apply got. `reason` is why it is being taken back."""

    step: Step
    reason: str = field(default="")


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
        return self._read("identity.json", lambda data: Identity(**_strings(data, "uuid", "key", "hostname")))

    def save_identity(self, identity: Identity) -> None:
        self._write("identity.json", asdict(identity))

    def memory(self) -> Memory:
        return self._read("memory.json", _memory_from_json) or Memory()

    def save_memory(self, memory: Memory) -> None:
        self._write("memory.json", asdict(memory))

    def managed(self) -> Managed:
        return self._read("managed.json", managed_from_json) or Managed()

    def save_managed(self, managed: Managed) -> None:
        self._write("managed.json", managed_to_json(managed))

    def transaction(self) -> Transaction | None:
        return self._read("transaction.json", _transaction_from_json)

    def save_transaction(self, transaction: Transaction) -> None:
        self._write("transaction.json", _transaction_to_json(transaction))

    def journal(self) -> Journal | None:
        return self._read("journal.json", _journal_from_json)

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


def _strings(data: Json, *names: str) -> dict[str, str]:
    return {name: str(data[name]) for name in names}


def _memory_from_json(data: Json) -> Memory:
    pending = data["pending"]
    names = ("applied", "boot_id", "checksum_etag", "checksum_seen", "archive_etag", "interrupted_checksum")
    return Memory(
        **_strings(data, *names),
        pending=_pending_from_json(pending) if isinstance(pending, dict) else None,
        interruptions=int(str(data["interruptions"])),
    )


def _pending_from_json(data: Json) -> Pending:
    status: ReportStatus = "applied" if data["status"] == "applied" else "error"
    return Pending(checksum=str(data["checksum"]), status=status, reason=str(data["reason"]))


def _journal_from_json(data: Json) -> Journal:
    for step in ("applying", "testing", "committing", "rolling_back"):
        if data["step"] == step:
            return Journal(step=step, reason=str(data["reason"]))
    raise ValueError("unknown step")


def _transaction_to_json(transaction: Transaction) -> Json:
    changes = [
        {
            "path": change.path,
            "before": change.before.to_json() if change.before is not None else None,
            "after": change.after.to_json() if change.after is not None else None,
        }
        for change in transaction.changes
    ]
    return {
        "checksum": transaction.checksum,
        "changes": changes,
        "managed": managed_to_json(transaction.managed),
        "new_directories": list(transaction.new_directories),
        "old_directories": list(transaction.old_directories),
    }


def _transaction_from_json(data: Json) -> Transaction:
    changes, managed = data["changes"], data["managed"]
    if not isinstance(changes, list) or not isinstance(managed, dict):
        raise TypeError("not a transaction")
    return Transaction(
        checksum=str(data["checksum"]),
        changes=tuple(
            Change(
                path=str(item["path"]),
                before=image_from_json(item["before"]),
                after=image_from_json(item["after"]),
            )
            for item in changes
        ),
        managed=managed_from_json(managed),
        new_directories=_paths(data["new_directories"]),
        old_directories=_paths(data["old_directories"]),
    )


def _paths(data: object) -> tuple[str, ...]:
    if not isinstance(data, list):
        raise TypeError("not a list")
    return tuple(str(item) for item in data)
