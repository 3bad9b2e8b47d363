"""Keeping what deleted devices were, so that a deletion can be taken back for thirty days."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from config_merge.exchange.models import DeletedDevice
from config_merge.models import Config, ConfigTemplate
from core.acting import current
from core.clock import now
from core.db import bulk_insert_objects
from devices.models import Device

DEVICE_FIELDS = ("name", "mac_address", "key", "model", "os", "system", "notes", "hardware_id")


def devices_keep(devices: Sequence[Device]) -> None:
    """Write down what devices are; call it in the transaction that deletes them, before it does. Three statements."""
    configs = {row.device_id: row for row in Config.objects.filter(device_id__in=[row.pk for row in devices])}
    templates: dict[UUID, list[dict[str, str]]] = defaultdict(list)
    links = ConfigTemplate.objects.filter(config_id__in=[row.pk for row in configs.values()])
    columns = ("config_id", "template_id", "template__name")
    for config_id, pk, name in links.order_by("position", "pk").values_list(*columns):
        templates[config_id].append({"id": str(pk), "name": name})
    bulk_insert_objects([_kept(device, configs.get(device.pk), templates) for device in devices])


def _kept(
    device: Device, config: Config | None, templates: Mapping[UUID, list[dict[str, str]]]
) -> DeletedDevice:
    contents: dict[str, Any] | None = None
    if config is not None:
        contents = {
            "backend": config.backend,
            "config": config.config,
            "context": config.context,
            "templates": templates.get(config.pk, []),
        }
    snapshot: dict[str, Any] = {
        "device": {name: getattr(device, name) for name in DEVICE_FIELDS},
        "group": str(device.group_id) if device.group_id else None,
        "config": contents,
    }
    return DeletedDevice(
        organization_id=device.organization_id,
        device_id=device.pk,
        name=device.name,
        mac_address=device.mac_address,
        status=config.status if config is not None else "",
        deleted_by=current().name[:150],
        snapshot=snapshot,
    )


def deleted_devices_prune() -> int:
    """Forget the devices that were deleted more than thirty days ago; returns how many."""
    return DeletedDevice.objects.filter(created__lt=now() - DeletedDevice.KEPT).delete()[0]
