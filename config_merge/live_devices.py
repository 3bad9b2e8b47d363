"""What pages show of devices and tasks as it is now: the parts that `presence.js` puts in place.

Invariant: two queries, whatever the number of devices and of people who look; each part comes with the organization
that may see it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from config_merge.admin.badges import drift_text, revision_text, seen_text, state_text, status_badge
from config_merge.figures import Organizations
from config_merge.models import Config, ConfigTask
from devices.models import Device
from devices.queries import with_presence

LIVE_PATH = "/ws/presence/"
# What a page can be told of a device; `mark` is another one whenever the device's delivery page would be another one.
KINDS = ("seen", "status", "drift", "revision", "mark")
STATE = "state"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one device (by kind) or of one task, and whose they are."""

    organization_id: UUID
    texts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Now:
    """Devices and tasks as they are."""

    devices: dict[UUID, Parts]
    tasks: dict[UUID, Parts]


def current(device_ids: Iterable[UUID], task_ids: Iterable[UUID]) -> Now:
    """Return the parts of devices and tasks; of those that are gone there are none."""
    latest = ConfigTask.objects.filter(device_id=OuterRef("pk")).order_by("-created", "id").values("pk")[:1]
    rows = with_presence(Device.objects.filter(pk__in=set(device_ids)))
    devices = list(
        rows.annotate(latest_task=Subquery(latest))
        .select_related("config")
        .defer("key", "notes", "config__config", "config__context")
        .order_by()
    )
    wanted = set(task_ids)
    newest = {device.latest_task for device in devices} - {None}  # type: ignore[attr-defined]
    tasks = {task.pk: task for task in _tasks(wanted | newest)}
    return Now(
        {device.pk: _device_parts(device, tasks) for device in devices},
        {
            pk: Parts(tasks[pk].device.organization_id, {STATE: state_text(tasks[pk])})
            for pk in wanted
            if pk in tasks
        },
    )


def _tasks(task_ids: set[UUID]) -> QuerySet[ConfigTask]:
    columns = ("state", "attempt", "error", "log", "device_id", "device__organization_id")
    return ConfigTask.objects.filter(pk__in=task_ids).select_related("device").only(*columns).order_by()


def _device_parts(device: Device, tasks: dict[UUID, ConfigTask]) -> Parts:
    config: Config | None = getattr(device, "config", None)
    task = tasks.get(device.latest_task)  # type: ignore[attr-defined]
    mark = [config.drift, str(config.revision_number), config.status] if config is not None else []
    mark += [str(task.pk), task.state, str(task.attempt), str(len(task.log))] if task is not None else []
    texts = {
        "seen": seen_text(device),
        "status": status_badge(config),
        "drift": drift_text(config),
        "revision": revision_text(config),
        "mark": " ".join(mark),
    }
    return Parts(device.organization_id, {kind: str(texts[kind]) for kind in KINDS})


def seen_by(
    organizations: Organizations, device_ids: set[UUID], task_ids: set[UUID]
) -> tuple[set[UUID], set[UUID]]:
    """Return those of the devices and tasks that belong to organizations (None: all there are), in two queries."""
    devices = Device.objects.filter(pk__in=device_ids)
    tasks = ConfigTask.objects.filter(pk__in=task_ids)
    if organizations is not None:
        devices = devices.filter(organization_id__in=organizations)
        tasks = tasks.filter(device__organization_id__in=organizations)
    return set(devices.values_list("pk", flat=True)), set(tasks.values_list("pk", flat=True))
