"""Devices as rows of a table, for whoever asks: secrets are marks where that person may not reveal them."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import Prefetch, QuerySet

from config_merge.exchange.columns import COLUMNS, PLACES
from config_merge.models import Config, ConfigTemplate
from core.redaction import mark_of, redacted
from devices.models import Device
from tenancy.queries import may_reveal

CHUNK = 500


def chosen(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the known ones among the asked columns, in the table's order; all when none is asked for."""
    return tuple(name for name in COLUMNS if name in set(columns)) or COLUMNS


def rows_of(devices: QuerySet[Device], *, user: Any) -> Iterator[dict[str, Any]]:
    """Yield one row per device, read in chunks of 500; three queries each."""
    assigned = Prefetch("config__config_templates", ConfigTemplate.objects.order_by("position", "pk"))
    complete = devices.defer(None).select_related(None).select_related("organization", "group", "config")
    for device in complete.prefetch_related(assigned).iterator(chunk_size=CHUNK):
        yield row_of(device, reveal=may_reveal(user, device.organization_id))


def row_of(device: Device, *, reveal: bool) -> dict[str, Any]:
    """Return a device's cells by column."""
    config: Config | None = getattr(device, "config", None)
    row: dict[str, Any] = dict.fromkeys(PLACES, "")
    row |= {
        "id": str(device.pk),
        "name": device.name,
        "mac_address": device.mac_address,
        "organization": device.organization.name,
        "organization_id": str(device.organization_id),
        "group": device.group.name if device.group else "",
        "group_id": str(device.group_id or ""),
        "model": device.model,
        "os": device.os,
        "system": device.system,
        "notes": device.notes,
        "last_ip": device.last_ip or "",
        "management_ip": device.management_ip or "",
        "key": device.key if reveal else mark_of(device.key),
        "created": device.created.isoformat(),
        "modified": device.modified.isoformat(),
    }
    if config is None:
        return row | dict.fromkeys(
            ("config_status", "config_backend", "config_data", "config_context", "config_templates"), ""
        )
    return row | {
        "config_status": config.status,
        "config_backend": config.backend,
        "config_data": config.config if reveal else redacted(config.config),
        "config_context": config.context if reveal else redacted(config.context),
        "config_templates": ",".join(str(link.template_id) for link in config.config_templates.all()),
    }
