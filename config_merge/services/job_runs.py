"""Working jobs off, item by item, a slice at a time so that other background work has its turn.

Invariants: an item leaves `pending` by a conditional UPDATE in the very transaction that does its work, so it is done
once, whoever is killed or woken twice. Whoever asked needs the right again when an item's turn comes. A lease keeps
workers apart; it only saves work, nothing is wrong when two believe they hold it.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DataError, IntegrityError, transaction
from django.db.models import Q, QuerySet

from config_merge.models import Job, JobItem
from config_merge.queries import job_counts
from config_merge.services import job_actions, job_previews
from core.acting import Actor, acting_as
from core.clock import now
from core.errors import MusterError
from tenancy import audit, webhooks
from tenancy.models import Notification, User
from tenancy.services import notify

logger = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)
SLICE = timedelta(seconds=5)
CHUNK = 50
OPEN = (Job.State.QUEUED, Job.State.RUNNING)


def run_open() -> int:
    """Work a slice off every job nobody holds, oldest first; returns how many were taken up (the sweeper's)."""
    waiting = _free(Job.objects.filter(state__in=OPEN)).order_by("created", "id")
    ids = list(waiting.values_list("pk", flat=True))
    for job_id in ids:
        run(job_id)
    return len(ids)


def run(job_id: UUID) -> bool:
    """Take a job up where it was left, for one slice; tells whether more is left to do.

    A job that somebody holds, or that has ended, is left alone.
    """
    lease = uuid4()
    free = _free(Job.objects.filter(pk=job_id, state__in=OPEN))
    if not free.update(state=Job.State.RUNNING, lease=lease, lease_until=now() + LEASE):
        return False
    Job.objects.filter(pk=job_id, started__isnull=True).update(started=now())
    job = Job.objects.get(pk=job_id)
    actor = Actor(name=job.creator_name, via="job", user_id=job.creator_id, reason=job.reason)
    with acting_as(actor):
        if job.kind == Job.Kind.PREVIEW:
            _preview(job, lease)
        else:
            _items(job, lease)
            if not _pending(job).exists():
                _finish(job, lease)
    return bool(Job.objects.filter(pk=job_id, lease=lease).update(lease=None))


def _pending(job: Job) -> QuerySet[JobItem]:
    return JobItem.objects.filter(job_id=job.pk, outcome=JobItem.Outcome.PENDING).order_by("pk")


def _free(jobs: QuerySet[Job]) -> QuerySet[Job]:
    return jobs.filter(Q(lease__isnull=True) | Q(lease_until__lt=now()))


def _held(job: Job, lease: UUID) -> QuerySet[Job]:
    """Return the job unless it was cancelled, deleted or taken over."""
    return Job.objects.filter(pk=job.pk, lease=lease, state=Job.State.RUNNING)


def _holds(job: Job, lease: UUID, **columns: Any) -> bool:
    """Renew the lease; a slice of items is shorter than one, a preview may not be."""
    return bool(_held(job, lease).update(lease_until=now() + LEASE, **columns))


def _items(job: Job, lease: UUID) -> None:
    """Do pending items until none is left, the slice is over, or the job is not ours any more."""
    until = now() + SLICE
    while now() < until and (chunk := list(_pending(job)[:CHUNK])):
        for item in chunk:
            if now() >= until or not _held(job, lease).exists():
                return
            _do(job, item)


def _do(job: Job, item: JobItem) -> None:
    """Do one item and write its outcome in the same transaction; what is refused is written in one of its own."""
    try:
        with transaction.atomic():
            if not _settle(item, JobItem.Outcome.DONE, ""):
                return
            # Read now: the role may have been taken away since the last item.
            user = User.objects.filter(pk=job.creator_id).first() if job.creator_id else None
            said = job_actions.perform(job, item.device_id, user)
            JobItem.objects.filter(pk=item.pk).update(message=said)
    except job_actions.Nothing as nothing:
        _settle(item, JobItem.Outcome.SKIPPED, str(nothing))
    except ValidationError as error:
        _settle(item, JobItem.Outcome.FAILED, "; ".join(error.messages))
    except MusterError as error:
        _settle(item, JobItem.Outcome.FAILED, str(error))
    except (IntegrityError, DataError):
        _settle(item, JobItem.Outcome.FAILED, "The change conflicts with another object.")
    except (ImproperlyConfigured, ValueError, TypeError, KeyError):
        # Stored data of one device that cannot be read must not stop the others' turn.
        logger.exception("an item of a job failed", extra={"job": str(job.pk), "item": item.pk})
        _settle(item, JobItem.Outcome.FAILED, job_actions.UNEXPECTED)


def _settle(item: JobItem, outcome: str, message: str) -> bool:
    pending = JobItem.objects.filter(pk=item.pk, outcome=JobItem.Outcome.PENDING)
    return bool(pending.update(outcome=outcome, message=message[:512], at=now()))


def _preview(job: Job, lease: UUID) -> None:
    """Compute the preview a job asks for; it writes nothing, so it is begun anew after a crash."""

    class Lost(Exception):
        """Somebody else has the job."""

    def progress(done: int) -> None:
        if not _holds(job, lease, looked_at=done):
            raise Lost

    try:
        total, result = job_previews.computed(job, progress=progress)
    except Lost:
        return
    except (ValidationError, MusterError) as error:
        _holds(job, lease, problem=job_previews.worded(error)[:512])
    else:
        _held(job, lease).update(result=result, total=total, looked_at=total)
    _finish(job, lease)


@transaction.atomic
def _finish(job: Job, lease: UUID) -> None:
    """Close a job all of whose items are done, once."""
    if not _held(job, lease).update(state=Job.State.FINISHED, finished=now(), lease=None):
        return
    job.refresh_from_db()
    counts = job_counts([job.pk])[job.pk]
    changes = {name: (None, counts[name]) for name in ("done", "failed", "skipped")}
    audit.record("job.finished", job, organization_id=job.organization_id, changes=changes)
    _announce(job, counts)


def _announce(job: Job, counts: Mapping[str, int]) -> None:
    """Tell people that a job has ended; one that spans organizations is its creator's business alone."""
    if job.organization_id is None:
        return
    failed = counts["failed"] or bool(job.problem)
    words = job.problem or f"{counts['done']} done, {counts['failed']} failed, {counts['skipped']} skipped"
    notify(
        organization_id=job.organization_id,
        kind="job_finished",
        level=Notification.Level.WARNING if failed else Notification.Level.INFO,
        target_type="job",
        target_id=job.pk,
        message=f"{job.get_kind_display()} of {job.total} devices has ended: {words}.",
    )
    told = {name: counts[name] for name in ("done", "failed", "skipped")}
    data = {
        "id": str(job.pk),
        "kind": job.kind,
        "state": job.state,
        "total": job.total,
        "dry_run": job.dry_run,
    }
    webhooks.emit(organization_id=job.organization_id, event="job.finished", data=data | told)
