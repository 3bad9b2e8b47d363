"""Storing what was computed: a new revision where the bytes really differ, and the task to deliver it.

Invariant: a computation is written only if the generation it read is newer than the one stored; revision, status and
task are one transaction. Rows are read and written as values: for a site's thousand devices, making an object of each
row costs more than the database's work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from config_merge.delivery import queue
from config_merge.engine import Artefact, measure
from config_merge.hiding import Secrecy
from config_merge.made_of import Inputs
from config_merge.models import Config, ConfigRevision, Status
from config_merge.services import telling
from config_merge.status import after_computation, clipped_reason, sources_of
from core import metrics
from core.clock import now
from core.crypto import equal_tokens
from core.db import bulk_insert, bulk_set, locked
from core.ids import uuids
from tenancy.models import Notification
from tenancy.services import notice, notify_all

WRITTEN = ("status", "error_reason", "problem", "computed_generation")
ISSUED = (*WRITTEN, "checksum", "revision_id", "revision_number", "modified")


@dataclass(frozen=True, slots=True)
class Computation:
    """The outcome for one configuration: an artefact and what it was made of, or why there is none.

    `problem` is in the engine's words, which may quote secrets; it is stored without them. `is_held` says that the
    device keeps what it has.
    """

    config_id: UUID
    generation: int
    artefact: Artefact | None
    problem: str = field(default="", repr=False)
    item: Inputs | None = field(default=None, repr=False)
    is_held: bool = False


@transaction.atomic
def store_and_tell(computations: Sequence[Computation]) -> None:
    """Store outcomes; people are told of a device that can no longer be given what it should be."""
    failed = [item.config_id for item in computations if item.artefact is None and not item.is_held]
    well = Config.objects.filter(pk__in=failed, problem="").select_related("device")
    news = list(well.only("pk", "device__name", "device__organization_id")) if failed else []
    store(computations)
    notify_all(
        notice(
            organization_id=config.device.organization_id,
            kind="config_problem",
            level=Notification.Level.ERROR,
            target_type="device",
            target_id=config.device_id,
            message=f"The configuration of {config.device.name} cannot be computed.",
        )
        for config in news
    )


@dataclass(slots=True)
class Row:
    """What is stored of a configuration, as far as a computation looks at it or changes it."""

    pk: UUID
    device_id: UUID
    status: str
    error_reason: str
    checksum: str
    applied_checksum: str
    problem: str
    computed_generation: int
    revision_number: int
    hold: str
    stale_cause: str
    stale_actor_id: UUID | None
    site_id: UUID | None
    # Of a new revision alone.
    revision_id: UUID | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A revision to be written, beside what it was rendered to."""

    pk: UUID
    config_id: UUID
    number: int
    checksum: str
    cause: str
    artefact: Artefact = field(repr=False)
    digest: str
    actor_id: UUID | None
    inputs: Mapping[str, Any] = field(repr=False)


_ROW = (
    "pk", "device_id", "status", "error_reason", "checksum", "applied_checksum", "problem", "computed_generation",
    "revision_number", "hold", "stale_cause", "stale_actor_id", "device__place__site_id",
)  # fmt: skip
_REVISION = (
    "id", "config_id", "number", "artefact", "checksum", "sha256", "size", "digest", "cause", "actor_id", "inputs",
)  # fmt: skip


@transaction.atomic
def store(computations: Sequence[Computation]) -> int:
    """Write the outcomes that are still news; returns how many configurations got a new revision."""
    rows = locked(Config.objects.filter(pk__in=[item.config_id for item in computations]).order_by("pk"))
    current = {row[0]: Row(*row) for row in rows.values_list(*_ROW)}
    news = [
        (item, row)
        for item in computations
        if (row := current.get(item.config_id)) and row.computed_generation < item.generation
    ]
    before = {row.pk: row.status for _, row in news}
    issued = _Issuing(news).all()
    # That two archives are equal is no secret: their checksums stand beside them.
    with equal_tokens():
        bulk_insert(ConfigRevision, _REVISION, [_columns(each) for each in issued])
    _write(ISSUED, [row for _, row in news if row.revision_id is not None])
    _write(WRITTEN, [row for _, row in news if row.revision_id is None])
    queue.computed(
        [row for _, row in news if row.revision_id is not None],
        [row for item, row in news if item.artefact is not None and row.revision_id is None],
    )
    telling.computed({row.pk: (before[row.pk], row.status) for _, row in news}, issued)
    metrics.add(metrics.REVISIONS, amount=len(issued))
    return len(issued)


def _write(names: Sequence[str], rows: Sequence[Row]) -> None:
    bulk_set(Config, names, [(row.pk, [getattr(row, name) for name in names]) for row in rows])


def _columns(each: Issued) -> tuple[Any, ...]:
    made = each.artefact
    return (
        each.pk, each.config_id, each.number, made.archive, made.md5, made.sha256, len(made.archive), each.digest,
        each.cause, each.actor_id, each.inputs,
    )  # fmt: skip


class _Issuing:
    """The revisions of one run. What many configurations share is looked through once, and stays one object."""

    def __init__(self, news: Sequence[tuple[Computation, Row]]) -> None:
        self._news = news
        self._at = now()
        self._secrecy = Secrecy()
        self._digests: dict[int, str] = {}
        self._kept: dict[tuple[int, str], Mapping[str, Any]] = {}

    def all(self) -> list[Issued]:
        """Move the rows (in memory) to the computed state; returns the revisions to write, where bytes changed."""
        self._secrecy.learn(
            item.item.organization_id
            for item, row in self._news
            if item.item is not None and (item.artefact is None or item.artefact.md5 != row.checksum)
        )
        changed = [(item, row) for item, row in self._news if _moved(self._worded(item), row, at=self._at)]
        issued = [
            self._issued(item, row, pk) for (item, row), pk in zip(changed, uuids(len(changed)), strict=True)
        ]
        for each, (_, row) in zip(issued, changed, strict=True):
            row.revision_id = each.pk
        return issued

    def _worded(self, item: Computation) -> Computation:
        """Take the secrets out of what the engine says."""
        if not item.problem or item.item is None:
            return item
        return replace(item, problem=self._secrecy.words(item.item, item.problem)[:512])

    def _issued(self, item: Computation, row: Row, pk: UUID) -> Issued:
        artefact = item.artefact
        if artefact is None:
            raise ValueError("nothing was rendered")
        if id(artefact) not in self._digests:
            self._digests[id(artefact)] = measure(artefact.files)
        return Issued(
            pk=pk,
            config_id=row.pk,
            number=row.revision_number,
            checksum=artefact.md5,
            cause=row.stale_cause,
            artefact=artefact,
            digest=self._digests[id(artefact)],
            actor_id=row.stale_actor_id,
            inputs=self._kept_of(item.item) if item.item is not None else {},
        )

    def _kept_of(self, item: Inputs) -> Mapping[str, Any]:
        """Return what a revision keeps: the device's own part of what it is made of, and every secret that went in.

        The secrets hide what stands in its files long after they were replaced everywhere else.
        """
        if item.bare is None:
            return {**item.own(), "secrets": sorted(self._secrecy.secrets(item))}
        # Of its own it has nothing, and all the rest is its site's.
        shared = id(item.bare), item.backend
        if shared not in self._kept:
            self._kept[shared] = {**item.own(), "secrets": sorted(self._secrecy.secrets(item))}
        return self._kept[shared]


def _moved(item: Computation, row: Row, *, at: datetime) -> bool:
    """Move a row (in memory) to the computed state; tells whether the bytes changed, and it gets a new revision."""
    row.computed_generation = item.generation
    if item.is_held:
        return False
    recovered = bool(row.problem) and not item.problem
    row.problem = item.problem
    artefact = item.artefact
    if artefact is None:
        # It keeps its last revision, but that is not what it should be.
        if row.status in sources_of(Status.ERROR):
            row.status = Status.ERROR
            row.error_reason = clipped_reason(f"The configuration cannot be computed: {item.problem}")
        return False
    if recovered and row.status == Status.ERROR:
        held = artefact.md5 == row.checksum == row.applied_checksum
        row.status = Status.APPLIED if held else Status.MODIFIED
        row.error_reason = ""
    if artefact.md5 == row.checksum:
        return False
    row.status = after_computation(
        row.status, checksum=artefact.md5, previous=row.checksum, applied=row.applied_checksum
    )
    if row.status != Status.ERROR:
        row.error_reason = ""
    row.checksum, row.modified = artefact.md5, at
    row.revision_number += 1
    return True
