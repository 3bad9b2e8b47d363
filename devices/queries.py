"""Reads of what exists."""

from typing import Any

from django.db.models import QuerySet

from devices.models import Device, DeviceGroup, FleetSettings
from tenancy.queries import restrict


def devices_visible_to(user: Any) -> QuerySet[Device]:
    """Return the devices of the organizations `user` belongs to."""
    return restrict(Device.objects.select_related("organization"), user)


def groups_visible_to(user: Any) -> QuerySet[DeviceGroup]:
    """Return the device groups of the organizations `user` belongs to."""
    return restrict(DeviceGroup.objects.select_related("organization"), user)


def shared_secret_of(slug: str) -> str:
    """Return the shared secret of the organization `slug`. Raises FleetSettings.DoesNotExist."""
    return FleetSettings.objects.get(organization__slug=slug).shared_secret
