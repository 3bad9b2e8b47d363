"""Reads of templates, configurations and revisions beyond a primary key."""

import io
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from config_merge.engine import File, Level, entity_of, overridden
from config_merge.models import (
    Config,
    ConfigCount,
    ConfigRevision,
    ConfigTask,
    ConfigTemplate,
    Job,
    JobItem,
    Managed,
    Site,
    SiteDevice,
    Template,
)
from config_merge.site_reading import site_level
from devices.models import Device
from tenancy.queries import restrict

MOST_OVERRIDING = 5_000


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


def job_progress(found: Sequence[Job]) -> dict[UUID, dict[str, int]]:
    """Return the same of jobs as people follow them: a preview has no items, what it has compared counts as done."""
    counts = job_counts([job.pk for job in found])
    for job in found:
        if job.kind == Job.Kind.PREVIEW:
            rest = max(job.total - job.looked_at, 0)
            ended = job.state in (Job.State.FINISHED, Job.State.CANCELLED)
            left = ("failed" if job.problem else "skipped") if ended else "pending"
            counts[job.pk] |= {"done": job.looked_at, left: rest}
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


# --- tasks ------------------------------------------------------------------------------------------------------------


def tasks_visible_to(user: Any) -> QuerySet[ConfigTask]:
    """Return the tasks of the devices `user` may see, newest first."""
    return restrict(
        ConfigTask.objects.select_related("device").defer("device__key"), user, path="device__organization"
    )


def tasks_of(device: Device) -> QuerySet[ConfigTask]:
    """Return a device's tasks, newest first."""
    return ConfigTask.objects.filter(device_id=device.pk).order_by("-created", "id")


# --- sites ------------------------------------------------------------------------------------------------------------


def sites_visible_to(user: Any) -> QuerySet[Site]:
    """Return the sites of the organizations `user` belongs to."""
    return restrict(Site.objects.select_related("organization"), user)


def places_at(site: Site) -> QuerySet[SiteDevice]:
    """Return the devices of a site with what lists show of them, without their settings."""
    return (
        SiteDevice.objects.filter(site_id=site.pk)
        .select_related("site", "device__config")
        .defer("settings", "site__settings", "site__defaults", "site__context")
        .defer("device__config__config", "device__config__context", "device__key")
        .order_by("device__name", "device_id")
    )


@dataclass(frozen=True, slots=True)
class Overriding:
    """A device that does not follow its site, and where: keys of the site's settings, entities by their declaration.

    `number` is its id in the cloud's API.
    """

    device_id: UUID
    name: str
    number: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Devices that override their site's settings, by name; `is_complete` is false where not all were looked at."""

    devices: tuple[Overriding, ...]
    is_complete: bool


def overrides_of(site: Site, key: str | None = None, *, most: int = MOST_OVERRIDING) -> Overrides:
    """Return which devices of a site override which of its settings: all, or the one under `key`.

    Devices that do not take their settings from the site are none of it. One query; at most `most` devices that say
    something of their own are looked at. The merge itself tells, so the answer cannot disagree with what arrives.
    """
    rows = (
        SiteDevice.objects.filter(
            site_id=site.pk, inherits=True, is_retired=False, device__config__managed_by=Managed.SITE
        )
        .exclude(settings={})
        .order_by("device__name", "device_id")
        .values_list("device_id", "device__name", "number", "settings")
    )
    theirs = site_level(site)
    found, looked_at = [], 0
    for device_id, name, number, settings in rows[: most + 1].iterator(chunk_size=500):
        looked_at += 1
        keys = overridden(theirs, Level.of(settings)) if looked_at <= most else ()
        if keys and (key is None or (entity_of(key) or key) in keys):
            found.append(Overriding(device_id, name, number, tuple(sorted(keys))))
    return Overrides(tuple(found), is_complete=looked_at <= most)
