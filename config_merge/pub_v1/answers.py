"""How this dialect prints sites, devices and their settings (spec/cattlepi_ignitenet.md B4-B6)."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q
from django.utils.text import slugify

from config_merge.delivery.states import OPEN
from config_merge.engine import Merged
from config_merge.models import Config, ConfigTask, Drift, Managed, Site, SiteDevice, Status
from config_merge.names import name_of

BRAND = "1"


def instant(moment: datetime | None) -> str | None:
    """Return a time as the dialect prints it: UTC, milliseconds.

    >>> from datetime import UTC
    >>> instant(datetime(2018, 5, 21, 19, 30, 44, 285999, UTC))
    '2018-05-21T19:30:44.285Z'
    """
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z" if moment else None


def site_body(site: Site) -> dict[str, Any]:
    """Return a site."""
    return {
        "id": str(site.number),
        "name": site.name,
        "created_at": instant(site.created),
        "updated_at": instant(site.modified),
    }


def device_body(place: SiteDevice) -> dict[str, Any]:
    """Return a device; `place.device` and its `config` are loaded, the place was read `with_presence`."""
    device = place.device
    config: Config | None = getattr(device, "config", None)
    known = device.last_seen is not None or bool(place.is_linked)  # type: ignore[attr-defined]
    seen: bool = place.is_online  # type: ignore[attr-defined]
    return {
        "id": str(place.number),
        "name": name_of(place),
        "site_id": str(place.site.number),
        "sn": place.serial,
        "mac": device.mac_address,
        "status_id": _status(known, seen),
        "state_id": "STATE_REGISTERED" if known or place.registered_at is not None else "STATE_PENDING",
        "health_id": _health(config, known=known, seen=seen),
        "blocked": place.is_blocked,
        "last_contact": instant(device.last_seen),
        "created_at": instant(place.created),
        "updated_at": instant(max(place.modified, device.modified)),
        "product_brand_id": BRAND,
        "type": "NET_ENTERPRISE" if place.inherits else "NET_INDIVIDUAL",
        "hostname": slugify(device.name),
        "suspend_config": place.is_suspended,
        "decomm": place.is_retired,
        "license_type": place.license_type,
    }


def _status(known: bool, seen: bool) -> str:
    return "STATUS_ONLINE" if seen else "STATUS_OFFLINE" if known else "STATUS_UNKNOWN"


def _health(config: Config | None, *, known: bool, seen: bool) -> str:
    if not known:
        return "HEALTH_UNKNOWN"
    if not seen:
        return "HEALTH_CRITICAL"
    failed = config is not None and (config.status == Status.ERROR or config.problem)
    return "HEALTH_WARNING" if failed else "HEALTH_NORMAL"


# --- settings ---------------------------------------------------------------------------------------------------------


def device_map(place: SiteDevice, merged: Merged) -> dict[str, dict[str, Any]]:
    """Return a device's own entries, and copies of those it inherits."""
    inherited = {
        key: {"value": _plain(merged.values[key]), "origin": "site"}
        for key, source in merged.sources.items()
        if source == "site" and key not in place.settings
    }
    return dict(sorted((place.settings | inherited).items()))


def in_force(place: SiteDevice, merged: Merged) -> dict[str, dict[str, Any]]:
    """Return the settings a device is to have, each with the origin that its level names."""
    levels = {"device": place.settings, "site": place.site.settings}
    return {
        key: {
            "value": _plain(value),
            "origin": levels.get(merged.sources[key], {}).get(key, {}).get("origin", "default"),
        }
        for key, value in sorted(merged.values.items())
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def unfinished(which: Q) -> int:
    """Return how many configurations are on their way: tasks that have not ended, and changes with none yet.

    `which` chooses configurations.
    """
    here = Config.objects.filter(which)
    open_tasks = ConfigTask.objects.filter(state__in=OPEN, device__config__in=here).count()
    waiting = ConfigTask.objects.filter(device_id=OuterRef("device_id"), state=ConfigTask.State.PENDING)
    coming = here.filter(generation__gt=F("computed_generation"), managed_by=Managed.SITE, hold="")
    return open_tasks + coming.filter(device__is_deactivated=False).exclude(Exists(waiting)).count()


TASK_COLUMNS = (
    "id", "device_id", "kind", "state", "attempt", "created", "sent_at", "started_at", "finished_at", "error",
)  # fmt: skip
# How this dialect calls the states of a task.
TASK_STATES = {"pending": "queued", "running": "executing", "applied": "done"}


def task_body(task: ConfigTask, place: SiteDevice) -> dict[str, Any]:
    """Return a task; `task.revision` is loaded."""
    return {
        "id": str(task.pk),
        "device_id": str(place.number),
        "kind": task.kind,
        "state": TASK_STATES.get(task.state, task.state),
        "config_sha256": task.revision.sha256,
        "attempts": task.attempt,
        "created_at": instant(task.created),
        "sent_at": instant(task.sent_at),
        "started_at": instant(task.started_at),
        "finished_at": instant(task.finished_at),
        "error": task.error,
    }


def resync(site: Site) -> bool:
    """Tell whether a device of a site has something else than it confirmed, so that a full push is due."""
    places = SiteDevice.objects.filter(site=site, is_retired=False)
    return places.filter(device__config__drift=Drift.DIFFERS).exists()
