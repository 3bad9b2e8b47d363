"""Reads of templates, configurations and revisions beyond a primary key."""

import io
import tarfile
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from config_merge.engine import File
from config_merge.models import Config, ConfigCount, ConfigRevision, ConfigTemplate, Job, JobItem, Template
from devices.models import Device
from tenancy.queries import restrict


def templates_visible_to(user: Any) -> QuerySet[Template]:
    """Return the templates of the organizations `user` belongs to, and the shared ones."""
    return restrict(Template.objects.select_related("organization"), user, shared=True)


def configs_visible_to(user: Any) -> QuerySet[Config]:
    """Return the configurations of the devices `user` may see."""
    return restrict(Config.objects.select_related("device"), user, path="device__organization")


def configs_counted(tenants: Collection[UUID] | None, **kind: str) -> int:
    """Return how many configurations of a `status` or `backend` the organizations have (None: all of them)."""
    counts = ConfigCount.objects.filter(**kind)
    if tenants is not None:
        counts = counts.filter(organization_id__in=tenants)
    return int(counts.aggregate(total=Sum("n"))["total"] or 0)


def revisions_of(device: Device) -> QuerySet[ConfigRevision]:
    """Return a device's revisions, newest first, without their archives."""
    return (
        ConfigRevision.objects.filter(config__device=device)
        .select_related("actor")
        .defer("artefact", "inputs")
    )


def template_users(template_id: UUID, user: Any) -> QuerySet[Config]:
    """Return the configurations with the template that `user` may see."""
    users = ConfigTemplate.objects.filter(template_id=template_id)
    return configs_visible_to(user).filter(pk__in=users.values("config_id"))


def jobs_visible_to(user: Any) -> QuerySet[Job]:
    """Return the jobs of the organizations `user` belongs to, without what they were given or found."""
    return restrict(Job.objects.select_related("organization").defer("proposal", "result"), user)


def job_counts(job_ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """Return how many items of each job are pending, done, failed and skipped (one query)."""
    counts = {job_id: dict.fromkeys(JobItem.Outcome.values, 0) for job_id in job_ids}
    rows = JobItem.objects.filter(job_id__in=list(job_ids)).order_by().values_list("job_id", "outcome")
    for job_id, outcome, number in rows.annotate(number=Count("pk")):
        counts[job_id][outcome] = number
    return counts


def job_results(job: Job) -> QuerySet[JobItem]:
    """Return what became of each device of a job, by name."""
    return JobItem.objects.filter(job=job).order_by("name", "device_id")


def files_in(archive: bytes) -> tuple[File, ...]:
    """Return the files of a revision's archive, in its order. Raises tarfile.TarError for what is none."""
    files: list[File] = []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
        for member in packed.getmembers():
            content = packed.extractfile(member)
            if content is not None:
                files.append(File(member.name, f"{member.mode:04o}", content.read()))
    return tuple(files)
