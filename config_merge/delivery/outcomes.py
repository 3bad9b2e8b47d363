"""What becomes of tasks when devices say something. Only their word ends a task well.

Every function is called inside the transaction that writes the same word down in the configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When

from config_merge.delivery.states import OPEN, State, move
from config_merge.models import Config, ConfigTask
from core.clock import now
from core.db import bulk_set, locked

LOG_LENGTH = 24
# A device that has begun has this long beyond `confirm_within` to put everything back and say so.
GRACE = timedelta(seconds=90)


def applied(device_ids: Sequence[UUID]) -> None:
    """Devices have confirmed what they should be: end what is open for them, two statements whatever their number.

    A task for that very configuration is applied; one for an earlier one is superseded.
    """
    current = Config.objects.filter(device_id=OuterRef("device_id")).order_by().values("checksum")
    ConfigTask.objects.filter(device_id__in=device_ids, state__in=OPEN).update(
        state=Case(
            When(checksum=Subquery(current), then=Value(State.APPLIED)), default=Value(State.SUPERSEDED)
        ),
        finished_at=now(),
        lease_until=None,
        error="",
    )


def applied_checksum(device_id: UUID, checksum: str) -> None:
    """A device has confirmed one checksum; it may not be the one that is wanted now.

    The latest task is applied even when it was given up before: it came through after all.
    """
    tasks = ConfigTask.objects.filter(device_id=device_id)
    if move(tasks.filter(checksum=checksum, state__in=OPEN), State.APPLIED, error=""):
        return
    latest = tasks.order_by("-created", "id").values_list("pk", "checksum").first()
    if latest is not None and latest[1] == checksum:
        move(tasks.filter(pk=latest[0]), State.APPLIED, error="")


def failed(
    device_id: UUID, *, checksum: str, reason: str, rolled_back: bool, task_id: UUID | None = None
) -> None:
    """A device could not apply a configuration (`checksum` is empty for the one that is wanted now).

    It may be the word of a task that was given up. Of a task that is not named, the latest is meant.
    """
    tasks = ConfigTask.objects.filter(device_id=device_id, state__in=(*OPEN, State.EXPIRED))
    if task_id is not None:
        tasks = tasks.filter(pk=task_id)
    elif checksum:
        tasks = tasks.filter(checksum=checksum)
    else:
        current = Config.objects.filter(device_id=device_id).values("checksum")[:1]
        tasks = tasks.filter(checksum=Subquery(current))
    latest = tasks.order_by("-created", "id").values_list("pk", flat=True)[:1]
    move(
        ConfigTask.objects.filter(pk__in=list(latest)),
        State.ROLLED_BACK if rolled_back else State.FAILED,
        error=reason,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One word of a device about a task under way. With `accepted`, it has it on its disk."""

    task_id: UUID
    device_id: UUID
    attempt: int
    step: str
    message: str = ""
    accepted: bool = False
    confirm_within: int = 0


@transaction.atomic
def progressed(steps: Sequence[Step]) -> list[None]:
    """Write steps down, in order; those of an earlier attempt, or of another device's task, are passed over."""
    by_task: dict[UUID, list[Step]] = {}
    for step in steps:
        by_task.setdefault(step.task_id, []).append(step)
    at = now()
    rows: list[tuple[Any, Sequence[Any]]] = []
    begun: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    tasks = locked(ConfigTask.objects.filter(pk__in=list(by_task)).order_by("pk"))
    columns = ("pk", "device_id", "attempt", "state", "started_at", "lease_until", "log")
    for pk, device_id, attempt, state, started, lease, log in tasks.values_list(*columns):
        told = [s for s in by_task[pk] if s.device_id == device_id and s.attempt == attempt]
        if not told or state not in (State.SENT, State.RUNNING):
            continue
        accepted = next((s for s in told if s.accepted), None)
        if accepted is not None:
            state, started = State.RUNNING, started or at
            lease = at + timedelta(seconds=accepted.confirm_within) + GRACE
        if log:
            log = [*log, *_lines(told, at)][-LOG_LENGTH:]
        else:
            # One object for all that are told the same, so that they are written as one.
            log = begun.setdefault(tuple((s.step, s.message) for s in told), _lines(told, at)[-LOG_LENGTH:])
        rows.append((pk, [state, started, lease, log]))
    bulk_set(ConfigTask, ["state", "started_at", "lease_until", "log"], rows)
    return [None] * len(steps)


def _lines(told: Sequence[Step], at: datetime) -> list[Any]:
    return [[f"{at:%Y-%m-%dT%H:%M:%SZ}", step.step, step.message] for step in told]


def returned(busy: Mapping[UUID, UUID | None]) -> int:
    """Devices are back, and work on no task or on another one (`busy`): what they were sent goes out again."""
    idle = [device_id for device_id, task_id in busy.items() if task_id is None]
    others = Q(device_id__in=idle)
    for device_id, task_id in busy.items():
        if task_id is not None:
            others |= Q(device_id=device_id) & ~Q(pk=task_id)
    return taken_back(others)


def taken_back(which: Q, *, due_at: Any = None) -> int:
    """Let tasks that were sent wait again; where a newer one waits already, they are superseded instead."""
    under_way = ConfigTask.objects.filter(which, state__in=(State.SENT, State.RUNNING))
    devices = list(locked(under_way.order_by("pk")).values_list("device_id", flat=True))
    if not devices:
        return 0
    waiting = ConfigTask.objects.filter(device_id__in=devices, state=State.PENDING).values("device_id")
    move(under_way.filter(device_id__in=list(waiting.values_list("device_id", flat=True))), State.SUPERSEDED)
    return move(under_way, State.PENDING, due_at=due_at if due_at is not None else F("due_at"))
