"""The devices of a job that are done together, and how many those are.

Invariant: a portion is one transaction, with its results in it, so whoever is killed has done all of it or nothing. Its
size follows from how long the last one took: while it lasts, nobody else writes to SQLite, and nobody can cancel.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from django.db import transaction

from config_merge.models import Job, JobItem
from config_merge.services import job_sets
from core.clock import now
from core.db import bulk_set, let_others_write, locked
from tenancy.models import User

logger = logging.getLogger(__name__)
SECONDS = 0.2
FEWEST, MOST = 25, 500
MESSAGE_LENGTH = 512


@dataclass(slots=True)
class Portions:
    """Does portions of a job; `size` is how many devices the next shall have."""

    size: int = FEWEST
    _since: float = field(default_factory=perf_counter)

    def do(self, job: Job, items: Sequence[JobItem]) -> list[JobItem]:
        """Do what is plainly in order, together; returns what is left to be done one by one."""
        try:
            with transaction.atomic():
                # From here on, since waiting for the others is not what takes long.
                began = perf_counter()
                left = _done(job, items)
        except Exception:
            # One device's data can be wrong in a way that nobody expected; one by one, only its own item fails of it.
            logger.exception("a part of a job is done one by one", extra={"job": str(job.pk)})
            return list(items)
        self._follow(len(items), perf_counter() - began)
        return left

    def _follow(self, devices: int, seconds: float) -> None:
        fitting = int(devices * SECONDS / max(seconds, 0.001))
        self.size = max(FEWEST, min(fitting, 2 * self.size, MOST))

    def rest(self) -> None:
        """Let other writers have their turn, once there was enough work since they last had it."""
        worked = perf_counter() - self._since
        if worked >= SECONDS / 2:
            let_others_write(after=worked)
            self._since = perf_counter()


def _done(job: Job, items: Sequence[JobItem]) -> list[JobItem]:
    """Do them and write what became of them; what somebody else has settled meanwhile is neither done nor left."""
    pending = JobItem.objects.filter(pk__in=[item.pk for item in items], outcome=JobItem.Outcome.PENDING)
    found = dict(locked(pending.order_by("pk")).values_list("device_id", "pk"))
    # Read now: the role may have been taken away since the last portion.
    user = User.objects.filter(pk=job.creator_id).first() if job.creator_id else None
    said = job_sets.perform(job, list(found), user) if found else {}
    at = now()
    rows = [
        (found[device_id], [outcome, message[:MESSAGE_LENGTH], at])
        for device_id, (outcome, message) in said.items()
    ]
    bulk_set(JobItem, ["outcome", "message", "at"], rows)
    return [item for item in items if item.device_id in found and item.device_id not in said]
