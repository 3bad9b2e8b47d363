"""Keeping what deleted devices were, so that a deletion can be taken back for thirty days."""

from typing import Any

from config_merge.exchange.models import DeletedDevice
from config_merge.models import Config, ConfigTemplate
from core.acting import current
from core.clock import now
from devices.models import Device

DEVICE_FIELDS = ("name", "mac_address", "key", "model", "os", "system", "notes", "hardware_id")


def device_keep(device: Device) -> None:
    """Write down what a device is; call it in the transaction that deletes the device, before it does."""
    config = Config.objects.filter(device_id=device.pk).first()
    snapshot: dict[str, Any] = {
        "device": {name: getattr(device, name) for name in DEVICE_FIELDS},
        "group": str(device.group_id) if device.group_id else None,
        "config": _contents(config) if config is not None else None,
    }
    DeletedDevice.objects.create(
        organization_id=device.organization_id,
        device_id=device.pk,
        name=device.name,
        mac_address=device.mac_address,
        status=config.status if config is not None else "",
        deleted_by=current().name[:150],
        snapshot=snapshot,
    )


def _contents(config: Config) -> dict[str, Any]:
    links = ConfigTemplate.objects.filter(config=config).order_by("position", "pk")
    return {
        "backend": config.backend,
        "config": config.config,
        "context": config.context,
        "templates": [
            {"id": str(pk), "name": name} for pk, name in links.values_list("template_id", "template__name")
        ],
    }


def deleted_devices_prune() -> int:
    """Forget the devices that were deleted more than thirty days ago; returns how many."""
    return DeletedDevice.objects.filter(created__lt=now() - DeletedDevice.KEPT).delete()[0]
