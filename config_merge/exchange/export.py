"""Devices as rows of a table, for whoever asks: secrets are marks where that person may not reveal them.

Invariant: that secrets leave is written to the audit trail before the first of them does.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, Prefetch, Q, QuerySet

from config_merge.carrying import secret_names_of
from config_merge.exchange.columns import COLUMNS, PLACES
from config_merge.models import Config, ConfigTemplate
from core.redaction import Names, mark_of, redacted, variables_of_secrets
from devices.models import Device
from tenancy import audit
from tenancy.disclosure import Disclosure
from tenancy.queries import may_reveal

CHUNK = 500
# Columns with secrets in them, or room for some.
SECRETS = frozenset({"key", "config_data", "config_context"})


def chosen(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the known ones among the asked columns, in the table's order; all when none is asked for."""
    return tuple(name for name in COLUMNS if name in set(columns)) or COLUMNS


@transaction.atomic
def export_record(
    devices: QuerySet[Device], *, disclosure: Disclosure, columns: Sequence[str], kind: str
) -> None:
    """Write down that secrets of devices are about to leave in a table; one event for each organization.

    Devices whose secrets the person may not see, and tables without a column for secrets, leave no trace.
    """
    if not SECRETS & set(columns):
        return
    found = Device.objects.filter(pk__in=devices.order_by().values("pk")).order_by()
    counts = found.values_list("organization_id").annotate(count=Count("pk"))
    for organization_id, count in counts:
        if not disclosure.may(organization_id):
            continue
        disclosure.note_list(Device, organization_id=organization_id, count=count)
        said = {"count": count, "format": kind, "columns": ", ".join(columns)}
        changes = {name: (None, value) for name, value in said.items()}
        audit.record("devices.exported", organization_id=organization_id, changes=changes)
    disclosure.write()


def rows_of(devices: QuerySet[Device], *, user: Any) -> Iterator[dict[str, Any]]:
    """Yield one row per device, read in chunks of 500; three queries each.

    Templates are those that the device's organization may use, whatever is stored.
    """
    usable = Q(template__organization__isnull=True) | Q(
        template__organization=F("config__device__organization")
    )
    assigned = Prefetch(
        "config__config_templates", ConfigTemplate.objects.filter(usable).order_by("position", "pk")
    )
    complete = devices.defer(None).select_related(None).select_related("organization", "group", "config")
    names: dict[UUID, frozenset[str]] = {}
    for device in complete.prefetch_related(assigned).iterator(chunk_size=CHUNK):
        place = device.organization_id
        reveal = may_reveal(user, place)
        if not reveal and place not in names:
            names[place] = secret_names_of([place])
        yield row_of(device, reveal=reveal, names=names.get(place, frozenset()))


def row_of(device: Device, *, reveal: bool, names: Names) -> dict[str, Any]:
    """Return a device's cells by column; `names` are the variables whose values are secrets in its organization."""
    config: Config | None = getattr(device, "config", None)
    group = device.group if device.group and device.group.organization_id == device.organization_id else None
    row: dict[str, Any] = dict.fromkeys(PLACES, "")
    row |= {
        "id": str(device.pk),
        "name": device.name,
        "mac_address": device.mac_address,
        "organization": device.organization.name,
        "organization_id": str(device.organization_id),
        "group": group.name if group else "",
        "group_id": str(group.pk) if group else "",
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
    secret = names | variables_of_secrets(config.config)
    return row | {
        "config_status": config.status,
        "config_backend": config.backend,
        "config_data": config.config if reveal else redacted(config.config),
        "config_context": config.context if reveal else redacted(config.context, names=secret),
        "config_templates": ",".join(str(link.template_id) for link in config.config_templates.all()),
    }
