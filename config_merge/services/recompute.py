"""From stale to computed: render what changed, write a revision when the bytes really differ.

A computation that lost a race writes nothing: the generation it read must be newer than the one stored. So it may
run twice, be killed at any point, or meet a newer change half way; the rows left stale are simply taken up again.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, QuerySet

from config_merge import inputs
from config_merge.engine import Artefact, EngineError
from config_merge.hiding import Secrecy
from config_merge.models import Config, ConfigRevision, Status
from config_merge.services import telling
from config_merge.status import after_computation, clipped_reason, sources_of
from core import metrics
from core.clock import now
from core.db import bulk_set, claim, claiming, locked
from tenancy.models import Notification
from tenancy.services import notify

logger = logging.getLogger(__name__)
CHUNK = 100
UNEXPECTED = "Its stored data cannot be read or rendered; the server's log says more."
_draining = threading.Lock()
_later: ContextVar[bool] = ContextVar("muster_compute_later", default=False)
WRITTEN = [
    "checksum",
    "status",
    "error_reason",
    "problem",
    "computed_generation",
    "revision_id",
    "revision_number",
    "modified",
]


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
    item: inputs.Inputs | None = field(default=None, repr=False)
    is_held: bool = False


def stale_configs() -> QuerySet[Config]:
    """Return the configurations that wait to be computed."""
    return Config.objects.filter(generation__gt=F("computed_generation"))


def compute(item: inputs.Inputs) -> Computation:
    """Render one configuration; what the engine refuses becomes the outcome's `problem`."""
    if item.is_held:
        return Computation(item.config_id, item.generation, None, is_held=True)
    try:
        artefact = item.artefact()
    except EngineError as error:
        return Computation(item.config_id, item.generation, None, str(error), item)
    except Exception:
        # Whatever is wrong with one device's data must not stop the other devices' turn.
        logger.exception("a configuration cannot be computed", extra={"config": str(item.config_id)})
        return Computation(item.config_id, item.generation, None, UNEXPECTED)
    return Computation(item.config_id, item.generation, artefact, item=item)


def compute_all(config_ids: Sequence[UUID]) -> list[Computation]:
    """Load and render configurations; one that cannot even be read becomes a `problem` of its own."""
    rows = Config.objects.filter(pk__in=config_ids)
    try:
        return [compute(item) for item in inputs.load(rows)]
    except (ImproperlyConfigured, ValueError):
        if len(config_ids) > 1:
            return [outcome for config_id in config_ids for outcome in compute_all([config_id])]
        logger.exception("a configuration cannot be read", extra={"config": str(config_ids[0])})
        generations = rows.values_list("pk", "generation")
        return [Computation(config_id, generation, None, UNEXPECTED) for config_id, generation in generations]


def drain(*, chunk: int = CHUNK) -> int:
    """Compute chunk by chunk until nothing is stale; returns how many configurations were computed.

    In one process only one thread drains: on SQLite two would compute the same rows, and anywhere they would
    only share one interpreter. Who finds the lock taken leaves the rows to its holder, or to the next sweep.
    """
    if not _draining.acquire(blocking=False):
        return 0
    total = 0
    try:
        while done := recompute_chunk(chunk):
            total += done
    finally:
        _draining.release()
    if total:
        logger.info("configurations computed", extra={"count": total})
    return total


def recompute_chunk(size: int = CHUNK) -> int:
    """Compute up to `size` stale configurations that no other worker holds; returns how many were taken."""
    with claiming():
        ids = [config.pk for config in claim(stale_configs().only("pk"))[:size]]
        if ids:
            _work_off(ids)
    return len(ids)


@contextlib.contextmanager
def computed_later() -> Iterator[None]:
    """Leave the configurations that the block writes stale, for the background: many devices, one transaction."""
    token = _later.set(True)
    try:
        yield
    finally:
        _later.reset(token)


def recompute_one(config_id: UUID) -> None:
    """Compute one configuration now if it is stale, waiting for whoever computes it already."""
    if _later.get():
        return
    with claiming():
        ids = [config.pk for config in claim(stale_configs().filter(pk=config_id).only("pk"), wait=True)]
        if ids:
            _work_off(ids)


def _work_off(config_ids: Sequence[UUID]) -> None:
    """Compute and store, and count it."""
    started = perf_counter()
    outcomes = compute_all(config_ids)
    _store_and_tell(outcomes)
    metrics.observe(metrics.RECOMPUTE, perf_counter() - started)
    failed = sum(outcome.artefact is None and not outcome.is_held for outcome in outcomes)
    metrics.add(metrics.RECOMPUTED, "problem", amount=failed)
    metrics.add(metrics.RECOMPUTED, "computed", amount=len(outcomes) - failed)


@transaction.atomic
def _store_and_tell(computations: Sequence[Computation]) -> None:
    """Store the outcomes; people are told of a device that can no longer be given what it should be."""
    failed = [item.config_id for item in computations if item.artefact is None and not item.is_held]
    well = Config.objects.filter(pk__in=failed, problem="").select_related("device")
    news = list(well.only("pk", "device__name", "device__organization_id")) if failed else []
    store(computations)
    for config in news:
        notify(
            organization_id=config.device.organization_id,
            kind="config_problem",
            level=Notification.Level.ERROR,
            target_type="device",
            target_id=config.device_id,
            message=f"The configuration of {config.device.name} cannot be computed.",
        )


@transaction.atomic
def store(computations: Sequence[Computation]) -> int:
    """Write the outcomes that are still news; returns how many configurations got a new revision."""
    rows = locked(Config.objects.filter(pk__in=[item.config_id for item in computations])).defer(
        "config", "context"
    )
    current = {config.pk: config for config in rows}
    news = [
        (item, config)
        for item in computations
        if (config := current.get(item.config_id)) and config.computed_generation < item.generation
    ]
    before = {config.pk: config.status for _, config in news}
    secrecy = Secrecy()
    secrecy.learn(
        item.item.organization_id
        for item, config in news
        if item.item is not None and (item.artefact is None or item.artefact.md5 != config.checksum)
    )
    revisions = [revision for item, config in news if (revision := _apply(item, config, secrecy))]
    ConfigRevision.objects.bulk_create(revisions)
    bulk_set(
        Config, WRITTEN, [(config.pk, [getattr(config, name) for name in WRITTEN]) for _, config in news]
    )
    telling.computed({config.pk: (before[config.pk], config.status) for _, config in news}, revisions)
    metrics.add(metrics.REVISIONS, amount=len(revisions))
    return len(revisions)


def _apply(item: Computation, config: Config, secrecy: Secrecy) -> ConfigRevision | None:
    """Move `config` (in memory) to the computed state; returns the revision to write, if the bytes changed."""
    if item.problem and item.item is not None:
        item = replace(item, problem=secrecy.words(item.item, item.problem)[:512])
    config.computed_generation = item.generation
    if item.is_held:
        return None
    recovered = bool(config.problem) and not item.problem
    config.problem = item.problem
    artefact = item.artefact
    if artefact is None:
        # It keeps its last revision, but that is not what it should be.
        if config.status in sources_of(Status.ERROR):
            config.status = Status.ERROR
            config.error_reason = clipped_reason(f"The configuration cannot be computed: {item.problem}")
        return None
    if recovered and config.status == Status.ERROR:
        held = artefact.md5 == config.checksum == config.applied_checksum
        config.status = Status.APPLIED if held else Status.MODIFIED
        config.error_reason = ""
    if artefact.md5 == config.checksum:
        return None
    config.status = after_computation(
        config.status, checksum=artefact.md5, previous=config.checksum, applied=config.applied_checksum
    )
    if config.status != Status.ERROR:
        config.error_reason = ""
    config.checksum = artefact.md5
    config.revision_number += 1
    config.modified = now()
    revision = ConfigRevision(
        config_id=config.pk,
        number=config.revision_number,
        artefact=artefact.archive,
        checksum=artefact.md5,
        sha256=artefact.sha256,
        size=len(artefact.archive),
        cause=config.stale_cause,
        actor_id=config.stale_actor_id,
        inputs=_kept(item.item, secrecy) if item.item is not None else {},
    )
    config.revision_id = revision.pk
    return revision


def _kept(item: inputs.Inputs, secrecy: Secrecy) -> dict[str, Any]:
    """Return what a revision keeps: the device's own part of what it is made of, and every secret that went into it.

    The secrets hide what stands in its files long after they were replaced everywhere else.
    """
    return {**item.own(), "secrets": sorted(secrecy.secrets(item))}
