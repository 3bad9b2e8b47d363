"""Going back: a device's own configuration, variables and templates as an earlier revision had them.

Invariant: history is only added to. What the templates, the group and the organization say is not the device's own
and stays as it is now, so the result may differ from the old revision; the caller is told.
"""

from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from config_merge.models import Cause, Config, ConfigRevision, Managed, SiteDevice, Template
from config_merge.services import places, stale
from config_merge.services.assignment import usable_by
from config_merge.services.configs import config_update
from core.db import locked
from core.errors import NotFound
from devices.models import Device
from tenancy import audit


@dataclass(frozen=True, slots=True)
class Restored:
    """The number of the revision in force now, and whether its bytes are those of the one asked for."""

    revision: int
    identical: bool


@transaction.atomic
def revision_restore(
    device: Device, *, number: int, skip_missing: bool = False, actor_id: UUID | None = None
) -> Restored:
    """Give a device what it had at revision `number`. Raises NotFound, ValidationError, Forbidden.

    Templates that are gone, or that the device may no longer use, refuse it by name unless `skip_missing`.
    """
    stale.reading_templates()
    # Device first, configuration second: the order every writer of both keeps.
    row = locked(Device.objects.filter(pk=device.pk)).first()
    config = Config.objects.filter(device_id=device.pk).first()
    revision = (
        ConfigRevision.objects.defer("artefact").filter(config=config, number=number).first()
        if config is not None
        else None
    )
    if row is None or config is None or revision is None:
        raise NotFound("The device has no such revision.")
    if not revision.inputs:
        raise ValidationError(
            {
                NON_FIELD_ERRORS: [
                    f"Revision {number} is older than the records a restore needs: "
                    "only its files are known, not what they were made from."
                ]
            }
        )
    config.device = row
    if "settings" in revision.inputs:
        changed = _settings_restored(config, revision, actor_id=actor_id)
        return _restored(changed, revision, row)
    if config.managed_by != Managed.TEMPLATES:
        config = places.device_manage(row, by=Managed.TEMPLATES, actor_id=actor_id)
        config.device = row
    changed = config_update(
        config,
        backend=revision.inputs["backend"],
        config=revision.inputs["config"],
        context=revision.inputs["context"],
        templates=_templates(revision, row, skip_missing=skip_missing),
        actor_id=actor_id,
        cause=Cause.RESTORED,
    )
    return _restored(changed, revision, row)


def _settings_restored(config: Config, revision: ConfigRevision, *, actor_id: UUID | None) -> Config:
    """Give a device the settings it had; its site's stay as they are now. Raises ValidationError."""
    place = SiteDevice.objects.filter(device_id=config.device_id).first()
    if place is None:
        raise ValidationError({NON_FIELD_ERRORS: ["The device is in no site any more."]})
    places.place_settings_restore(place, revision.inputs["settings"], actor_id=actor_id)
    return places.device_manage(config.device, by=Managed.SITE, actor_id=actor_id)


def _restored(changed: Config, revision: ConfigRevision, device: Device) -> Restored:
    # The same files may have been issued more than once, each time with another checksum.
    identical = changed.checksum == revision.checksum or _digest(changed) == revision.digest != ""
    audit.record(
        "revision.restored",
        device,
        organization_id=device.organization_id,
        changes={"revision": (None, revision.number), "identical": (None, identical)},
    )
    return Restored(changed.revision_number, identical)


def _digest(config: Config) -> str | None:
    """Return what a device measures that has what it should."""
    if config.revision_id is None:
        return None
    return ConfigRevision.objects.filter(pk=config.revision_id).values_list("digest", flat=True).first()


def _templates(revision: ConfigRevision, device: Device, *, skip_missing: bool) -> list[Template]:
    named = {UUID(pk): name for pk, name in revision.inputs["templates"]}
    usable = Template.objects.filter(usable_by(device.organization_id), pk__in=list(named)).in_bulk()
    missing = [name for pk, name in named.items() if pk not in usable]
    if missing and not skip_missing:
        raise ValidationError(
            {
                "templates": [
                    f"This template is gone, or no longer the device's to use: {name}." for name in missing
                ]
            }
        )
    return [usable[pk] for pk in named if pk in usable]
