"""What the agent keeps on disk, as values, and the JSON each of them is written as.

Invariant: every `<thing>_from_json` raises KeyError, TypeError or ValueError on another shape, and nothing else. Pure.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from muster_agent.deadline import Deadline
from muster_agent.orders import Order
from muster_agent.plan import (
    Change,
    Json,
    Transaction,
    image_from_json,
    managed_from_json,
    managed_to_json,
)
from muster_agent.protocol import OUTCOMES, Outcome

OWED_MOST = 8
Step = Literal["applying", "testing", "committing", "rolling_back"]


@dataclass(frozen=True)
class Pending:
    """A result the controller has not acknowledged yet, and the checksum it is about.

    `task` and `attempt` are None for a configuration that was fetched by polling.
    """

    checksum: str
    status: Outcome
    reason: str = ""
    task: str | None = None
    attempt: int | None = None


@dataclass(frozen=True)
class Memory:
    """The small facts. `applied`: checksum of what is on the device; empty when unknown or to be redone.

    `refused` is the checksum that was refused or taken back last; `order` the controller's task that is not over.
    """

    applied: str = ""
    boot_id: str = ""
    owed: tuple[Pending, ...] = ()
    order: Order | None = None
    refused: str = ""
    refused_reason: str = ""
    checksum_etag: str = ""
    checksum_seen: str = ""
    archive_etag: str = ""
    interrupted_checksum: str = ""
    interruptions: int = 0

    def owing(self, new: Pending) -> "Memory":
        """With `new` owed, which ends its task. Doing it again changes nothing.

        Of one task's results, and of all results of polling, only the last counts. The oldest one goes when there are
        too many.
        """
        kept = tuple(each for each in self.owed if (each.task, each.attempt) != (new.task, new.attempt))
        ends = self.order is not None and (self.order.task, self.order.attempt) == (new.task, new.attempt)
        return replace(self, owed=(*kept, new)[-OWED_MOST:], order=None if ends else self.order)

    def result(self, checksum: str, status: Outcome, *, reason: str = "") -> Pending:
        """How the order at hand ended, or else what was fetched by polling."""
        task, attempt = (self.order.task, self.order.attempt) if self.order is not None else (None, None)
        return Pending(checksum=checksum, status=status, reason=reason, task=task, attempt=attempt)


@dataclass(frozen=True)
class Journal:
    """How far an apply got. `outcome` and `reason` are why it is being taken back.

    `deadline` is when the controller must have been reached; None for a configuration fetched by polling.
    """

    step: Step
    reason: str = field(default="")
    outcome: Outcome = "failed"
    deadline: Deadline | None = None


def strings(data: Json, *names: str) -> dict[str, str]:
    """These members, as texts."""
    return {name: str(data[name]) for name in names}


def memory_from_json(data: Json) -> Memory:
    """Also reads what an agent without the link wrote."""
    memory = Memory(
        applied=str(data["applied"]),
        boot_id=str(data["boot_id"]),
        checksum_etag=str(data["checksum_etag"]),
        checksum_seen=str(data["checksum_seen"]),
        archive_etag=str(data["archive_etag"]),
        interrupted_checksum=str(data["interrupted_checksum"]),
        interruptions=int(str(data["interruptions"])),
    )
    if "owed" not in data:
        return _with_old_pending(memory, data["pending"])
    owed, order = data["owed"], data["order"]
    if not isinstance(owed, list):
        raise TypeError("owed is not a list")
    return replace(
        memory,
        owed=tuple(_pending_from_json(item) for item in owed),
        order=_order_from_json(order) if isinstance(order, dict) else None,
        refused=str(data["refused"]),
        refused_reason=str(data["refused_reason"]),
    )


def _with_old_pending(memory: Memory, data: object) -> Memory:
    """What version 0.1.0 without the link wrote: one result, `applied` or `error`."""
    if not isinstance(data, dict):
        return memory
    checksum, reason = str(data["checksum"]), str(data["reason"])
    if data["status"] == "applied":
        return memory.owing(Pending(checksum=checksum, status="applied"))
    pending = Pending(checksum=checksum, status="failed", reason=reason)
    return replace(memory.owing(pending), refused=checksum, refused_reason=reason)


def _pending_from_json(data: Json) -> Pending:
    task, attempt = _task_from_json(data)
    return Pending(
        checksum=str(data["checksum"]),
        status=_outcome(data["status"]),
        reason=str(data["reason"]),
        task=task,
        attempt=attempt,
    )


def _task_from_json(data: Json) -> tuple[str | None, int | None]:
    """Neither is there in what an agent without the link wrote."""
    task, attempt = data.get("task"), data.get("attempt")
    return (str(task), int(str(attempt))) if task is not None else (None, None)


def _order_from_json(data: Json) -> Order:
    return Order(
        **strings(data, "task", "checksum", "url", "sha256"),
        attempt=int(str(data["attempt"])),
        confirm_within=float(str(data["confirm_within"])),
        force=bool(data["force"]),
    )


def _outcome(data: object) -> Outcome:
    for outcome in OUTCOMES:
        if data == outcome:
            return outcome
    raise ValueError("unknown outcome")


def journal_from_json(data: Json) -> Journal:
    outcome, deadline = _outcome(data.get("outcome", "failed")), _deadline_from_json(data.get("deadline"))
    for step in ("applying", "testing", "committing", "rolling_back"):
        if data["step"] == step:
            return Journal(step=step, reason=str(data["reason"]), outcome=outcome, deadline=deadline)
    raise ValueError("unknown step")


def _deadline_from_json(data: object) -> Deadline | None:
    if not isinstance(data, dict):
        return None
    return Deadline(boot=str(data["boot"]), at=float(data["at"]), left=float(data["left"]))


def transaction_to_json(transaction: Transaction) -> Json:
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
        "task": transaction.task,
        "attempt": transaction.attempt,
        "changes": changes,
        "managed": managed_to_json(transaction.managed),
        "new_directories": list(transaction.new_directories),
        "old_directories": list(transaction.old_directories),
    }


def transaction_from_json(data: Json) -> Transaction:
    changes, managed = data["changes"], data["managed"]
    if not isinstance(changes, list) or not isinstance(managed, dict):
        raise TypeError("not a transaction")
    task, attempt = _task_from_json(data)
    return Transaction(
        checksum=str(data["checksum"]),
        task=task,
        attempt=attempt,
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
