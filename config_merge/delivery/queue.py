"""Writing tasks: one for every revision that a device has yet to get, in the transaction that made it wanted.

Invariants: at most one task of a device is unsent and at most one under way (the database says so too); a newer
revision supersedes an unsent one. Whoever writes here holds the rows of the configurations in question.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from config_merge.delivery.states import OPEN, State, move
from config_merge.models import Config, ConfigTask, SiteDevice, Status
from core.clock import now
from core.db import bulk_insert, locked
from core.errors import Conflict
from core.ids import uuids
from core.wake import wake
from devices.link import doorbell
from devices.tasks import reach
from tenancy import audit

DEADLINE = timedelta(days=30)
# A configuration in these states is something the device has yet to fetch.
WANTED = (Status.MODIFIED, Status.DEACTIVATING)
HELD = "The device was suspended, blocked or decommissioned."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A revision that a device shall get."""

    device_id: UUID
    revision_id: UUID
    number: int
    checksum: str
    site_id: UUID | None = None


class Computed(Protocol):
    """A configuration that was just computed, locked, with the values it is stored with."""

    pk: UUID
    device_id: UUID
    status: str
    checksum: str
    applied_checksum: str
    revision_id: UUID | None
    revision_number: int
    hold: str
    site_id: UUID | None


def queue(wanted: Sequence[Wanted], *, kind: str = ConfigTask.Kind.CHANGE) -> list[UUID]:
    """Write a task for each, in place of those not sent yet; returns their ids. A worker is rung after the commit.

    A device that was sent something within the last MUSTER_COALESCE_SECONDS waits that long, so that a burst of changes
    makes one push; the first change of a burst does not wait.
    """
    if not wanted:
        return []
    at = now()
    due = _cleared([each.device_id for each in wanted], at)
    ids, deadline = uuids(len(wanted)), at + DEADLINE
    bulk_insert(
        ConfigTask,
        ("id", "device_id", "revision_id", "number", "checksum", "site_id", "kind", "due_at", "deadline"),
        [
            (
                pk, each.device_id, each.revision_id, each.number, each.checksum, each.site_id, kind,
                due.get(each.device_id, at), deadline,
            )
            for pk, each in zip(ids, wanted, strict=True)
        ],
    )  # fmt: skip
    # The links of this very process need no broker to hear of it.
    transaction.on_commit(doorbell.ring_here)
    wake(reach)
    return ids


def _cleared(devices: Collection[UUID], at: datetime) -> Mapping[UUID, datetime]:
    """Take back what was not sent yet; returns when devices that were sent something just now may be sent the next."""
    window = timedelta(seconds=settings.MUSTER.coalesce_seconds)
    tasks = ConfigTask.objects.filter(device_id__in=devices).order_by()
    lately = tasks.filter(Q(state=State.PENDING) | Q(sent_at__gt=at - window))
    unsent: list[UUID] = []
    due: dict[UUID, datetime] = {}
    for device_id, state, sent_at in lately.values_list("device_id", "state", "sent_at"):
        if state == State.PENDING:
            unsent.append(device_id)
        if sent_at is not None and sent_at > at - window:
            due[device_id] = max(due.get(device_id, at), sent_at + window)
    supersede(unsent)
    return due


def supersede(device_ids: Iterable[UUID]) -> int:
    """Take back what these devices were to get and were not sent yet."""
    device_ids = list(device_ids)
    if not device_ids:
        return 0
    return move(ConfigTask.objects.filter(device_id__in=device_ids, state=State.PENDING), State.SUPERSEDED)


def computed(changed: Sequence[Computed], unchanged: Sequence[Computed]) -> None:
    """Follow configurations that were just computed.

    Those with a new revision to fetch get a task, those without one only when it is missing; what is not sent to those
    that have nothing to fetch is taken back.
    """
    supersede(config.device_id for config in changed if config.checksum == config.applied_checksum)
    queue(
        [
            Wanted(
                config.device_id, config.revision_id, config.revision_number, config.checksum, config.site_id
            )
            for config in changed
            if config.revision_id
            and config.status in WANTED
            and config.checksum != config.applied_checksum
            and not config.hold
        ]
    )
    waiting = [config.pk for config in unchanged if config.status in WANTED]
    if waiting:
        ensure(Config.objects.filter(pk__in=waiting))


def missing(configs: QuerySet[Config], *, also_given_up: bool = False) -> QuerySet[Config]:
    """Return those that wait for their device to fetch them, and for which nothing was ever sent or will be.

    What a person took back stays so; what a hold took back counts as never written. With `also_given_up`, a task that
    ended without being applied does not count.
    """
    tasks = ConfigTask.objects.filter(device_id=OuterRef("device_id"))
    same = tasks.filter(revision_id=OuterRef("revision_id"))
    tried = same.exclude(state=State.CANCELLED, error=HELD)
    if also_given_up:
        tried = same.filter(state__in=(State.FAILED, State.ROLLED_BACK))
    held = SiteDevice.objects.filter(device_id=OuterRef("device_id")).filter(
        Q(is_suspended=True) | Q(is_blocked=True) | Q(is_retired=True)
    )
    return (
        configs.filter(status__in=WANTED, revision__isnull=False)
        .exclude(checksum=F("applied_checksum"))
        .exclude(Exists(tasks.filter(state__in=OPEN)))
        .exclude(Exists(tried))
        .exclude(Exists(held))
    )


@transaction.atomic
def ensure(configs: QuerySet[Config], *, also_given_up: bool = False) -> int:
    """Write the tasks that are missing; returns how many."""
    rows = locked(missing(configs, also_given_up=also_given_up).order_by("pk"))
    columns = ("device_id", "revision_id", "revision_number", "checksum", "device__place__site_id")
    return len(queue([Wanted(*row) for row in rows.values_list(*columns)]))


@transaction.atomic
def cancel(task: ConfigTask) -> None:
    """Take a task back that the device has not begun. Raises Conflict."""
    if not move(
        ConfigTask.objects.filter(pk=task.pk, state__in=(State.PENDING, State.SENT)), State.CANCELLED
    ):
        raise Conflict("The device has begun already, or the task has ended.")
    task.refresh_from_db()
    device = task.device
    audit.record(
        "config.push_cancelled",
        device,
        organization_id=device.organization_id,
        changes={"revision": (task.number, None)},
    )


def hold(device_ids: Collection[UUID]) -> int:
    """Take back everything that was not begun, for devices that are suspended, blocked or gone from service."""
    return move(
        ConfigTask.objects.filter(device_id__in=device_ids, state__in=(State.PENDING, State.SENT)),
        State.CANCELLED,
        error=HELD,
    )
