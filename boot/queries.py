"""What is configured to boot, what a device would get, and which devices of the inventory have been tracked."""

from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from boot.models import DEFAULT, BootConfig, BootVersion, DeletedBootConfig, Operation, Quota
from boot.quotas import LIMITS
from devices.models import Device
from tenancy.api_keys import living
from tenancy.models import ApiKey, Organization
from tenancy.queries import organization_ids_where, restrict
from tracking.models import TrackedDevice


class Effective(NamedTuple):
    """What a device is served: its own configuration, or its key's default; `is_own` tells which."""

    config: BootConfig
    is_own: bool


def boot_configs_visible_to(user: Any) -> QuerySet[BootConfig]:
    """Return the boot configurations of the organizations `user` belongs to."""
    return restrict(BootConfig.objects.select_related("organization", "api_key"), user)


def boot_versions_visible_to(user: Any) -> QuerySet[BootVersion]:
    """Return what was configured before, newest first."""
    return restrict(BootVersion.objects.select_related("organization", "api_key"), user)


def quotas_visible_to(user: Any) -> QuerySet[Quota]:
    """Return the limits that organizations of `user` have for themselves."""
    return restrict(Quota.objects.select_related("organization"), user)


def deleted_configs_visible_to(user: Any) -> QuerySet[DeletedBootConfig]:
    """Return the deletions after which nothing has come, newest first: what can be brought back."""
    later = BootVersion.objects.filter(
        api_key=OuterRef("api_key"), device=OuterRef("device"), number__gt=OuterRef("number")
    ).order_by()
    rows = DeletedBootConfig.objects.filter(~Exists(later), body="").select_related("organization", "api_key")
    return restrict(rows, user)


class Limit(NamedTuple):
    """What holds for each key of an organization: `limit`; `own` None where that is everybody's `standard`."""

    operation: str
    label: str
    period: str
    standard: int
    allowed: int
    own: int | None

    @property
    def limit(self) -> int:
        """What holds."""
        return self.standard if self.own is None else self.own


def limits_of(organization: Organization) -> list[Limit]:
    """Return the limits of an organization's keys, and how far its managers may raise each."""
    rows = {row.operation: row for row in Quota.objects.filter(organization=organization).order_by()}
    found = []
    for operation, label in Operation.choices:
        item, row = LIMITS[operation], rows.get(operation)
        allowed = item.amount if row is None or row.ceiling is None else row.ceiling
        own = row.amount if row is not None else None
        found.append(Limit(operation, str(label), item.GRANULARITY.name, item.amount, allowed, own))
    return found


def versions_of(*, api_key_id: UUID, device: str) -> QuerySet[BootVersion]:
    """Return the kept versions of a device's configuration, newest first."""
    return BootVersion.objects.filter(api_key_id=api_key_id, device=device).order_by("-number")


def effective(*, api_key_id: UUID, device: str) -> Effective | None:
    """Return what a device of a key would be served now; None when it has nothing and there is no default."""
    rows = BootConfig.objects.filter(api_key_id=api_key_id, device__in=(device, DEFAULT))
    found = {row.device: row for row in rows}
    row = found.get(device) or found.get(DEFAULT)
    return Effective(row, row.device == device) if row is not None else None


def spellings(mac_address: str) -> tuple[str, ...]:
    """Return how the inventory may have written a MAC address, empty for none.

    >>> spellings("b8:27:eb:00:00:01")[:2]
    ('b8:27:eb:00:00:01', 'B8:27:EB:00:00:01')
    """
    if not mac_address:
        return ()
    dashed = mac_address.replace(":", "-")
    return mac_address, mac_address.upper(), dashed, dashed.upper()


def device_of(tracked: TrackedDevice) -> Device | None:
    """Return the device of the inventory that a tracked one is: the one of the organization with its MAC address."""
    names = spellings(tracked.mac_address)
    if not names:
        return None
    rows = Device.objects.filter(organization_id=tracked.organization_id, is_retired=False)
    return rows.filter(mac_address__in=names).first()


def devices_of(rows: list[TrackedDevice]) -> dict[UUID, Device]:
    """Return the devices of the inventory by tracked device, for a page of them. One query."""
    wanted = Q()
    for row in rows:
        if row.mac_address:
            wanted |= Q(organization_id=row.organization_id, mac_address__in=spellings(row.mac_address))
    if not wanted:
        return {}
    known = {
        (device.organization_id, device.mac_address.replace("-", ":").lower()): device
        for device in Device.objects.filter(wanted, is_retired=False)
    }
    pairs = ((row.pk, known.get((row.organization_id, row.mac_address))) for row in rows)
    return {pk: device for pk, device in pairs if device is not None}


def tracks_of(device: Device) -> QuerySet[TrackedDevice]:
    """Return the tracks of a device of the inventory, under whichever keys of its organization."""
    mac_address = device.mac_address.replace("-", ":").lower()
    rows = TrackedDevice.objects.select_related("api_key")
    return rows.filter(organization_id=device.organization_id, mac_address=mac_address)


def keys_visible_to(user: Any) -> QuerySet[ApiKey]:
    """Return the API keys, by id and name, of the organizations `user` belongs to: what devices boot hangs on them."""
    return restrict(ApiKey.objects.select_related("organization"), user)


def keys_of_writers(user: Any, action: str, model: Any) -> QuerySet[ApiKey]:
    """Return all keys, also those that are over, of the organizations in which `user` may do `action`."""
    keys = ApiKey.objects.select_related("organization")
    if user.is_superuser and user.is_active:
        return keys
    return keys.filter(organization_id__in=list(organization_ids_where(user, action, model)))


def keys_writable_by(user: Any, action: str, model: Any) -> QuerySet[ApiKey]:
    """Return the living keys of the organizations in which `user` may do `action` to objects of `model`."""
    return living(keys_of_writers(user, action, model))
