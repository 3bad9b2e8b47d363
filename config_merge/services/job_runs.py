"""Working jobs off, a slice at a time so that other background work has its turn.

Invariants: an item leaves `pending` by a conditional UPDATE in the very transaction that does its work, so it is done
once, whoever is killed or woken twice. Whoever asked needs the right again when an item's turn comes. A lease keeps
workers apart; it only saves work, nothing is wrong when two believe they hold it. Every job ends: what goes wrong with
an item fails the item, what goes wrong with the job fails the job.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet

from config_merge.models import Job, JobItem
from config_merge.queries import job_progress
from config_merge.services import job_actions, job_portions, job_previews
from core.acting import Actor, acting_as
from core.clock import now
from core.errors import MusterError
from tenancy import audit, webhooks
from tenancy.models import Notification, User
from tenancy.services import notify

logger = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)
SLICE = timedelta(seconds=5)
OPEN = (Job.State.QUEUED, Job.State.RUNNING)
# A lock held too long, a deadlock, a lost connection: nothing of it is the job's fault.
DATABASE = (OperationalError, InterfaceError)
MOST_TRIES = 5
AGAIN_AFTER = timedelta(seconds=10)
BUSY = "The database could not do it, however often it was tried; the server's log says more."
UNEXPECTED = "Something unexpected went wrong; the server's log says more."


class _Busy(Exception):
    """The database could not do an item now."""

    def __init__(self, item: JobItem) -> None:
        super().__init__(item)
        self.item = item


def run_open() -> int:
    """Work a slice off every job nobody holds, oldest first; returns how many were taken up (the sweeper's)."""
    waiting = _free(Job.objects.filter(state__in=OPEN)).order_by("created", "id")
    ids = list(waiting.values_list("pk", flat=True))
    for job_id in ids:
        try:
            run(job_id)
        except Exception:
            # Nothing of it is lost: its lease runs out. The other jobs need not wait for that.
            logger.exception("a job cannot be worked off", extra={"job": str(job_id)})
            _reconnect()
    return len(ids)


def run(job_id: UUID) -> bool:
    """Take a job up where it was left, for one slice; tells whether more is left to do at once.

    A job that somebody holds, or that has ended, is left alone. What goes wrong ends the job, unless it was the
    database: then it is tried again later, a few times.
    """
    lease = uuid4()
    free = _free(Job.objects.filter(pk=job_id, state__in=OPEN))
    if not free.update(state=Job.State.RUNNING, lease=lease, lease_until=now() + LEASE):
        return False
    Job.objects.filter(pk=job_id, started__isnull=True).update(started=now())
    # What a preview was given may not be readable; only its own turn may fail of that.
    job = Job.objects.defer("proposal", "result").get(pk=job_id)
    actor = Actor(name=job.creator_name, via="job", user_id=job.creator_id, reason=job.reason)
    with acting_as(actor):
        try:
            _work(job, lease)
        except _Busy as busy:
            return _put_off(job, lease, busy.item)
        except DATABASE:
            logger.exception("the database could not do a job", extra={"job": str(job.pk)})
            return _put_off(job, lease, None)
        except Exception:
            logger.exception("a job failed", extra={"job": str(job.pk)})
            _give_up(job, lease, UNEXPECTED)
    return _released(job, lease)


def _work(job: Job, lease: UUID) -> None:
    if job.kind == Job.Kind.PREVIEW:
        _preview(job, lease)
        return
    _items(job, lease)
    if not _pending(job).exists():
        _finish(job, lease)


def _released(job: Job, lease: UUID) -> bool:
    return bool(Job.objects.filter(pk=job.pk, lease=lease).update(lease=None))


def _reconnect() -> None:
    """Let go of a connection that was lost, so that the next query makes a new one."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _put_off(job: Job, lease: UUID, item: JobItem | None) -> bool:
    """Leave the job, or one item of it, for later; after some tries it fails. Tells whether more is left at once.

    How often the same was tried stands among the job's parameters, under `tries`.
    """
    _reconnect()
    of = item.pk if item is not None else 0
    known = job.parameters.get("tries", {})
    count = known.get("count", 0) + 1 if known.get("of") == of else 1
    if count < MOST_TRIES:
        tries = {"of": of, "count": count}
        # The lease is kept: until it runs out nobody takes the job up.
        _held(job, lease).update(
            parameters={**job.parameters, "tries": tries}, lease_until=now() + AGAIN_AFTER * count
        )
        return False
    if item is None:
        _give_up(job, lease, BUSY)
        return False
    _settle(item, JobItem.Outcome.FAILED, BUSY)
    return _released(job, lease)


def _give_up(job: Job, lease: UUID, problem: str) -> None:
    """End a job that cannot go on; what was not done has failed."""
    with transaction.atomic():
        if not _closed(job, lease, problem=problem):
            return
        JobItem.objects.filter(job_id=job.pk, outcome=JobItem.Outcome.PENDING).update(
            outcome=JobItem.Outcome.FAILED, message=problem, at=now()
        )
    try:
        with transaction.atomic():
            _tell(job)
    except Exception:
        # It may be the telling that has failed.
        logger.exception("the end of a job cannot be told", extra={"job": str(job.pk)})


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
    """Do pending items until none is left, the slice is over, or the job is not ours any more.

    They are done together, many in one transaction; those with which something is not in order, one by one.
    """
    until = now() + SLICE
    portions = job_portions.Portions()
    while now() < until and (chunk := list(_pending(job)[: portions.size])):
        if not _held(job, lease).exists():
            return
        left = portions.do(job, chunk)
        portions.rest()
        for item in left:
            if now() >= until or not _held(job, lease).exists():
                return
            _do(job, item)
            portions.rest()


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
    except DATABASE as error:
        logger.exception("the database could not do an item", extra={"job": str(job.pk), "item": item.pk})
        raise _Busy(item) from error
    except Exception:
        # Whatever is wrong with one device must not stop the others' turn.
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
    if _closed(job, lease):
        _tell(job)


def _closed(job: Job, lease: UUID, **columns: Any) -> bool:
    ended = _held(job, lease)
    return bool(ended.update(state=Job.State.FINISHED, finished=now(), lease=None, **columns))


def _tell(job: Job) -> None:
    """Write down that a job has ended, and tell people."""
    job.refresh_from_db(fields=["state", "problem", "total", "looked_at"])
    counts = job_progress([job])[job.pk]
    changes = {name: (None, counts[name]) for name in ("done", "failed", "skipped")}
    audit.record("job.finished", job, organization_id=job.organization_id, changes=changes)
    _announce(job, counts)


def _outcome(job: Job, counts: Mapping[str, int]) -> str:
    """Return in words what a job did, or what the change it looked at would do."""
    if job.kind != Job.Kind.PREVIEW:
        return f"{counts['done']:,} done, {counts['failed']:,} failed, {counts['skipped']:,} skipped"
    job.refresh_from_db(fields=["result"])
    found = {name: job.result.get(name, 0) for name in ("changed", "failed", "unchanged")}
    return (
        f"{found['changed']:,} would change, {found['failed']:,} would fail, "
        f"{found['unchanged']:,} would stay the same"
    )


def _announce(job: Job, counts: Mapping[str, int]) -> None:
    """Tell people that a job has ended; one that spans organizations is its creator's business alone."""
    if job.organization_id is None:
        return
    failed = counts["failed"] or bool(job.problem)
    devices = "1 device" if job.total == 1 else f"{job.total:,} devices"
    notify(
        organization_id=job.organization_id,
        kind="job_finished",
        level=Notification.Level.WARNING if failed else Notification.Level.INFO,
        target_type="job",
        target_id=job.pk,
        message=f"{job.get_kind_display()}, {devices}: {(job.problem or _outcome(job, counts)).rstrip('.')}.",
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
