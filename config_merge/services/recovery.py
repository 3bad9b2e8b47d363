"""Taking a deletion back: the device returns with its id, its key and its configuration, as one to be configured.

Its revisions are gone and what it has applied is not known, so it starts as `modified`; addresses come with its next
request.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from config_merge.exchange.models import DeletedDevice
from config_merge.models import Template
from config_merge.services import assignment, configs, stale
from core.db import locked
from core.errors import Conflict
from devices import services as inventory
from devices.models import Device, DeviceGroup
from tenancy import audit


@dataclass(frozen=True, slots=True)
class Restored:
    """The device, and what of its past is gone, in words."""

    device: Device
    skipped: tuple[str, ...]


@transaction.atomic
def device_restore(kept: DeletedDevice, *, actor_id: UUID | None = None) -> Restored:
    """Bring a deleted device back. Raises ValidationError, Conflict."""
    stale.reading_templates()
    row = locked(DeletedDevice.objects.filter(pk=kept.pk)).select_related("organization").first()
    if row is None:
        raise Conflict("The device was restored already.")
    skipped: list[str] = []
    group = _group(row, skipped)
    if Device.objects.filter(pk=row.device_id).exists():
        raise ValidationError("A device with this id exists.")
    fields = {**row.snapshot["device"], "organization": row.organization, "group": group}
    device = inventory.device_create(id=row.device_id, **fields)
    contents = row.snapshot.get("config")
    if contents is not None:
        _configure(device, contents, skipped, actor_id=actor_id)
    row.delete()
    changes = {"restored": (None, True), "skipped": (None, skipped)}
    audit.record("device.restored", device, organization_id=device.organization_id, changes=changes)
    return Restored(device, tuple(skipped))


def _group(row: DeletedDevice, skipped: list[str]) -> DeviceGroup | None:
    wanted = row.snapshot.get("group")
    if wanted is None:
        return None
    found = DeviceGroup.objects.filter(pk=wanted, organization_id=row.organization_id).first()
    if found is None:
        skipped.append("Its group does not exist any more.")
    return found


def _configure(
    device: Device, contents: dict[str, Any], skipped: list[str], *, actor_id: UUID | None
) -> None:
    """Give the device its configuration with those of its templates that still fit, in their order."""
    named = {UUID(entry["id"]): entry["name"] for entry in contents["templates"]}
    usable = Template.objects.filter(assignment.usable_by(device.organization_id), pk__in=named)
    fitting = {row.pk: row for row in usable.filter(backend=contents["backend"])}
    skipped += [
        f"Template {name} is gone or does not fit any more."
        for pk, name in named.items()
        if pk not in fitting
    ]
    chosen = [fitting[pk] for pk in named if pk in fitting]
    with configs.config_errors():
        config = configs.config_create(
            device,
            backend=contents["backend"],
            config=contents["config"],
            context=contents["context"],
            templates=chosen,
            actor_id=actor_id,
        )
        if chosen and assignment.current_ids(config.pk) != [row.pk for row in chosen]:
            config.device = device
            configs.config_update(config, templates=chosen, actor_id=actor_id)
