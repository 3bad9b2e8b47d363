"""Devices put into and taken out of service, and deleted: one or hundreds in the same number of statements.

Invariant: everything is written in the caller's transaction and computed in it, so that a device's status is exact when
it ends. Devices first, configurations second, each by key: the order every writer of both keeps.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from config_merge.models import Cause, Config, ConfigTemplate, Status
from config_merge.services import assignment, deleted, recompute, stale, telling
from config_merge.services.given import Given
from config_merge.status import move
from core.db import locked
from core.deleting import delete_together
from devices import many as inventory
from devices.models import Device
from tenancy import audit


@transaction.atomic
def devices_deactivate(device_ids: Collection[UUID], *, actor_id: UUID | None = None) -> set[UUID]:
    """Take devices out of service (spec 2.2); returns which, without those that are out already, or gone.

    They are handed an empty configuration and then nothing; their own settings and variables stay stored, their
    templates are unassigned. Of one that is suspended, blocked or decommissioned nothing is waited for, nor of one
    that has nothing to fetch.
    """
    stale.reading_templates()
    devices = _locked(device_ids, is_deactivated=False)
    configs = list(_configs_of(devices).only("pk", "device_id", "checksum"))
    with telling.status_changes([config.pk for config in configs]):
        _empty(configs, devices, actor_id=actor_id)
    waiting = Config.objects.filter(device_id__in=list(devices), status=Status.DEACTIVATING)
    Device.objects.filter(pk__in=list(devices)).exclude(pk__in=waiting.values("device_id")).update(
        management_ip=None
    )
    _record("device.deactivated", devices.values())
    return set(devices)


def _empty(configs: Sequence[Config], devices: Mapping[UUID, Device], *, actor_id: UUID | None) -> None:
    """Leave the configurations nothing, compute them, and move them as far as they get by themselves."""
    held = {config.pk: config.checksum for config in configs}
    mine = Config.objects.filter(pk__in=list(held))
    ConfigTemplate.objects.filter(config_id__in=list(held)).delete()
    # Those out of service are never marked, so first marked, then out of service.
    if held:
        stale.mark(Q(pk__in=list(held)), cause=Cause.DEACTIVATED, actor_id=actor_id, background=False)
    inventory.devices_flag_set(devices, deactivated=True)
    if not held:
        return
    move(mine, Status.DEACTIVATING)
    recompute.recompute_these(list(held))
    after = mine.exclude(checksum="").values_list("pk", "checksum")
    have_it = [pk for pk, checksum in after if checksum == held[pk]]
    move(mine.filter(Q(pk__in=have_it) | ~Q(hold="")), Status.DEACTIVATED)


@transaction.atomic
def devices_activate(device_ids: Collection[UUID], *, actor_id: UUID | None = None) -> set[UUID]:
    """Put devices back into service with their automatic templates; returns which, without the active and the gone."""
    stale.reading_templates()
    devices = _locked(device_ids, is_deactivated=True)
    configs = list(_configs_of(devices).only("pk", "device_id", "backend"))
    with telling.status_changes([config.pk for config in configs]):
        inventory.devices_flag_set(devices, deactivated=False)
        if configs:
            _fill(configs, devices, actor_id=actor_id)
    _record("device.activated", devices.values())
    return set(devices)


def _fill(configs: Sequence[Config], devices: Mapping[UUID, Device], *, actor_id: UUID | None) -> None:
    """Give the configurations what devices are given by themselves, and compute them."""
    ids = [config.pk for config in configs]
    mine = Config.objects.filter(pk__in=ids)
    given, held = Given.of(devices.values()), assignment.held_by(ids)
    wanted = {
        config.pk: given.starting(devices[config.device_id], backend=config.backend) for config in configs
    }
    assignment.rewrite({pk: chosen for pk, chosen in wanted.items() if chosen != held.get(pk, [])})
    move(mine, Status.MODIFIED)
    stale.mark(Q(pk__in=ids), cause=Cause.ACTIVATED, actor_id=actor_id, background=False)
    recompute.recompute_these(ids)
    move(mine.filter(checksum=F("applied_checksum")).exclude(checksum=""), Status.APPLIED)


@transaction.atomic
def devices_delete(device_ids: Collection[UUID], *, force: bool = False) -> set[UUID]:
    """Delete devices that were deactivated and have confirmed it; returns which. `force` deletes whatever is there."""
    # Many rows go in no particular order: no edit of the whole fleet may be under way.
    stale.reading_templates()
    rows = list(locked(Device.objects.filter(pk__in=list(device_ids)).order_by("pk")))
    allowed = deletable(rows, force=force)
    devices = [row for row in rows if row.pk in allowed]
    deleted.devices_keep(devices)
    delete_together(Device, [row.pk for row in devices])
    audit.record_all(
        audit.event(
            "device.deleted",
            row,
            organization_id=row.organization_id,
            changes={name: (was, None) for name, (_, was) in audit.contents(row).items()},
        )
        for row in devices
    )
    return {row.pk for row in devices}


def deletable(devices: Collection[Device], *, force: bool) -> set[UUID]:
    """Return which of the devices may be deleted: the decommissioned, and those out of service that confirmed it."""
    if force:
        return {device.pk for device in devices}
    retired = {device.pk for device in devices if device.is_retired}
    out = {device.pk for device in devices if device.is_deactivated} - retired
    unconfirmed = Config.objects.filter(device_id__in=out).exclude(status=Status.DEACTIVATED)
    return retired | (out - set(unconfirmed.values_list("device_id", flat=True)))


def _locked(device_ids: Collection[UUID], **condition: bool) -> dict[UUID, Device]:
    rows = locked(Device.objects.filter(pk__in=list(device_ids), **condition).order_by("pk"))
    return {row.pk: row for row in rows.only("pk", "name", "organization_id", "group_id")}


def _configs_of(devices: Collection[UUID]) -> QuerySet[Config]:
    return locked(Config.objects.filter(device_id__in=list(devices)).order_by("pk"))


def _record(action: str, devices: Collection[Device]) -> None:
    audit.record_all(audit.event(action, row, organization_id=row.organization_id) for row in devices)
