"""Asking for a job and cancelling it; `job_runs` works it off.

Invariant: the devices of a job are those there were when it was asked for.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet, ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet

from config_merge import job_tasks
from config_merge.models import Job, JobItem
from core.acting import current
from core.clock import now
from core.db import locked, uuid_parameter
from core.errors import Conflict
from core.wake import wake
from devices.models import Device
from tenancy import audit

OPEN = (Job.State.QUEUED, Job.State.RUNNING)
CANCELLED = "The job was cancelled before its turn."

_FREEZE = """
INSERT INTO config_merge_jobitem (job_id, device_id, organization_id, name, outcome, message)
SELECT %s, d.id, d.organization_id, d.name, 'pending', ''
FROM devices_device d WHERE d.id IN ({chosen}) ORDER BY d.name, d.id
"""


@transaction.atomic
def job_create(
    *,
    kind: str,
    devices: QuerySet[Device],
    organization_id: UUID | None,
    creator: Any,
    parameters: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    reason: str = "",
) -> Job:
    """Ask for `kind` to be done to `devices`; they are frozen now, in one statement. Raises ValidationError.

    `parameters` holds ids as text: `group`, `template`, `site`; and `managed_by`, `force`.
    """
    job = Job(
        kind=kind,
        organization_id=organization_id,
        creator=creator,
        creator_name=creator.get_username(),
        parameters=dict(parameters or {}),
        dry_run=dry_run,
        reason=reason or current().reason,
    )
    job.full_clean(exclude=["organization", "creator", "parameters", "proposal", "result"])
    job.save(force_insert=True)
    job.total = _freeze(job, devices)
    if not job.total:
        raise ValidationError({"devices": "No device is chosen."})
    job.save(update_fields=["total"])
    _asked(job)
    return job


@transaction.atomic
def preview_job_create(
    *, proposal: Mapping[str, Any], organization_id: UUID | None, creator: Any, total: int
) -> Job:
    """Ask for a preview of a change (`job_previews.packed`) of about `total` devices."""
    job = Job(
        kind=Job.Kind.PREVIEW,
        organization_id=organization_id,
        creator=creator,
        creator_name=creator.get_username(),
        proposal=dict(proposal),
        dry_run=True,
        total=total,
        reason=current().reason,
    )
    job.save(force_insert=True)
    _asked(job)
    return job


def _asked(job: Job) -> None:
    changes: dict[str, tuple[Any, Any]] = {
        "action": (None, job.kind),
        "devices": (None, job.total),
        "dry_run": (None, job.dry_run),
    }
    changes |= {name: (None, value) for name, value in job.parameters.items() if value is not None}
    audit.record("job.created", job, organization_id=job.organization_id, changes=changes)
    wake(job_tasks.run_job, str(job.pk))


def _freeze(job: Job, devices: QuerySet[Device]) -> int:
    try:
        chosen, parameters = devices.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.format(chosen=chosen), [uuid_parameter(job.pk), *parameters])
        return int(cursor.rowcount)


@transaction.atomic
def job_cancel(job: Job) -> Job:
    """Stop a job; the item under way is finished, the others are skipped. Raises Conflict when it has ended."""
    row = locked(Job.objects.filter(pk=job.pk)).get()
    if row.state not in OPEN:
        raise Conflict("The job has ended already.")
    Job.objects.filter(pk=job.pk).update(state=Job.State.CANCELLED, finished=now(), lease=None)
    JobItem.objects.filter(job_id=job.pk, outcome=JobItem.Outcome.PENDING).update(
        outcome=JobItem.Outcome.SKIPPED, message=CANCELLED, at=now()
    )
    audit.record("job.cancelled", row, organization_id=row.organization_id)
    job.refresh_from_db()
    return job
