"""How this dialect prints sites, devices and their settings (spec/cattlepi_ignitenet.md B4-B6)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.utils.text import slugify

from config_merge.engine import Level, Merged, merge
from config_merge.inputs import site_level
from config_merge.models import Config, Managed, Site, SiteDevice, Status
from core.clock import now
from core.redaction import mark_of
from core.secret_names import is_secret_name

# A device that was heard of within so long counts as online.
ONLINE = timedelta(minutes=5)
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
    """Return a device; `place.device` and its `config` are loaded."""
    device = place.device
    config: Config | None = getattr(device, "config", None)
    seen = device.last_seen is not None and now() - device.last_seen < ONLINE
    return {
        "id": str(place.number),
        "name": device.name,
        "site_id": str(place.site.number),
        "sn": place.serial,
        "mac": device.mac_address,
        "status_id": _status(device.last_seen is not None, seen),
        "state_id": "STATE_REGISTERED" if device.last_seen is not None else "STATE_PENDING",
        "health_id": _health(config, known=device.last_seen is not None, seen=seen),
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


def merged_of(place: SiteDevice) -> Merged:
    """Return what a device's settings come to; `place.site` is loaded."""
    theirs = site_level(place.site) if place.inherits else Level({})
    return merge(theirs, Level.of(place.settings), defaults=place.site.defaults)


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


def hidden_entries(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings with marks in place of secrets, for who may not see them."""
    return {
        key: {**entry, "value": mark_of(entry["value"])}
        if is_secret_name(key) and entry["value"]
        else dict(entry)
        for key, entry in entries.items()
    }


def hidden_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return defaults with marks in place of secrets."""
    return {
        key: mark_of(value) if isinstance(value, str) and value and is_secret_name(key) else value
        for key, value in defaults.items()
    }


def unfinished(places: Iterable[UUID] | None = None, *, site: Site | None = None) -> Counter[UUID]:
    """Return how many configurations of devices are on their way and not arrived, by device (one query)."""
    rows = Config.objects.filter(Q(status=Status.MODIFIED) | Q(generation__gt=F("computed_generation")))
    rows = rows.filter(managed_by=Managed.SITE, device__is_deactivated=False, device__place__is_retired=False)
    rows = (
        rows.filter(device__place__site=site) if site is not None else rows.filter(device_id__in=places or ())
    )
    return Counter(rows.filter(device__place__is_suspended=False).values_list("device_id", flat=True))
