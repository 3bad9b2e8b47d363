"""From stale to computed: render what changed, write a revision when the bytes really differ.

A computation that lost a race writes nothing: the generation it read must be newer than the one stored. So it may
run twice, be killed at any point, or meet a newer change half way; the rows left stale are simply taken up again.
"""

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from time import perf_counter
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, QuerySet

from config_merge import inputs
from config_merge.engine import Artefact, EngineError
from config_merge.models import Config
from config_merge.services.storing import Computation as Computation
from config_merge.services.storing import store as store
from config_merge.services.storing import store_and_tell
from core import metrics
from core.db import claim, claiming

logger = logging.getLogger(__name__)
CHUNK = 100
# A chunk that took less than BRIEF seconds is followed by one of twice as many, up to LARGEST: the first devices are
# served soon, and what a chunk costs by itself is paid less often.
LARGEST, BRIEF = 400, 0.25
UNEXPECTED = "Its stored data cannot be read or rendered; the server's log says more."
_draining = threading.Lock()
_later: ContextVar[bool] = ContextVar("muster_compute_later", default=False)


def stale_configs() -> QuerySet[Config]:
    """Return the configurations that wait to be computed."""
    return Config.objects.filter(generation__gt=F("computed_generation"))


def compute(item: inputs.Inputs, artefact: Artefact | None = None) -> Computation:
    """Render one configuration, unless its `artefact` is known; what the engine refuses becomes its `problem`."""
    if item.is_held:
        return Computation(item.config_id, item.generation, None, is_held=True)
    try:
        if artefact is None:
            effective = item.effective()
            try:
                artefact = item.artefact(effective)
            except EngineError as error:
                problem = item.refused(error, effective)
                return Computation(item.config_id, item.generation, None, problem, item)
    except EngineError as error:
        return Computation(item.config_id, item.generation, None, str(error), item)
    except Exception:
        # Whatever is wrong with one device's data must not stop the other devices' turn.
        logger.exception("a configuration cannot be computed", extra={"config": str(item.config_id)})
        return Computation(item.config_id, item.generation, None, UNEXPECTED)
    return Computation(item.config_id, item.generation, artefact, item=item)


def compute_all(config_ids: Sequence[UUID]) -> list[Computation]:
    """Load and render configurations; one that cannot even be read becomes a `problem` of its own."""
    try:
        return [compute(item) for item in inputs.load_stored(config_ids)]
    except (ImproperlyConfigured, ValueError):
        if len(config_ids) > 1:
            return [outcome for config_id in config_ids for outcome in compute_all([config_id])]
        logger.exception("a configuration cannot be read", extra={"config": str(config_ids[0])})
        generations = Config.objects.filter(pk__in=config_ids).values_list("pk", "generation")
        return [Computation(config_id, generation, None, UNEXPECTED) for config_id, generation in generations]


def drain(*, chunk: int = CHUNK) -> int:
    """Compute chunk by chunk, at first `chunk`, until nothing is stale; returns how many configurations were computed.

    In one process only one thread drains: on SQLite two would compute the same rows, and anywhere they would
    only share one interpreter. Who finds the lock taken leaves the rows to its holder, or to the next sweep.
    """
    if not _draining.acquire(blocking=False):
        return 0
    total, size = 0, chunk
    try:
        began = perf_counter()
        while done := recompute_chunk(size):
            total += done
            ended = perf_counter()
            size = min(LARGEST, 2 * size) if ended - began < BRIEF else chunk
            began = ended
    finally:
        _draining.release()
    if total:
        logger.info("configurations computed", extra={"count": total})
    return total


def recompute_chunk(size: int = CHUNK) -> int:
    """Compute up to `size` stale configurations that no other worker holds; returns how many were taken."""
    with claiming():
        ids = list(claim(stale_configs()).order_by("pk").values_list("pk", flat=True)[:size])
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
    recompute_these([config_id])


def recompute_these(config_ids: Collection[UUID]) -> None:
    """Compute those that are stale now, waiting for whoever computes them already; all in one go, so name hundreds."""
    if _later.get() or not config_ids:
        return
    with claiming():
        waiting = stale_configs().filter(pk__in=list(config_ids)).order_by("pk")
        ids = list(claim(waiting, wait=True).values_list("pk", flat=True))
        if ids:
            _work_off(ids)


def _work_off(config_ids: Sequence[UUID]) -> None:
    """Compute and store, and count it."""
    started = perf_counter()
    outcomes = compute_all(config_ids)
    settle(outcomes)
    metrics.observe(metrics.RECOMPUTE, perf_counter() - started)


def settle(outcomes: Sequence[Computation]) -> None:
    """Store outcomes and count them; call it where the rows that were read are still held."""
    store_and_tell(outcomes)
    failed = sum(outcome.artefact is None and not outcome.is_held for outcome in outcomes)
    metrics.add(metrics.RECOMPUTED, "problem", amount=failed)
    metrics.add(metrics.RECOMPUTED, "computed", amount=len(outcomes) - failed)
