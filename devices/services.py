"""Every write to devices, groups and organizations' fleet settings.

What a device *should be* follows by event (`devices.events`); nothing here knows about configurations.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from core.changes import changed_row, proposed_row, store
from core.crypto import digest
from core.db import in_turn, locked
from core.errors import Forbidden
from core.events import publish
from devices.events import DevicesChanged, GroupVariablesChanged, OrganizationVariablesChanged
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy import audit
from tenancy.events import OrganizationCreated

DEVICE_FIELDS = frozenset(
    [
        "organization",
        "group",
        "name",
        "mac_address",
        "key",
        "model",
        "os",
        "system",
        "notes",
        "last_ip",
        "management_ip",
        "hardware_id",
    ]
)
ADDRESSES = frozenset({"last_ip", "management_ip"})
DEACTIVATED = "The device is deactivated."
RETIRED = "The device is decommissioned."


def consistent_key(*, identity: str, shared_secret: str) -> str:
    """Return the key a device and the controller derive alike (spec 1A.8): md5 hex of `identity+secret`.

    `identity` is the hardware id where that is in use, else the MAC address as the device prints it.
    """
    return hashlib.md5(f"{identity}+{shared_secret}".encode(), usedforsecurity=False).hexdigest()


# --- fleet settings -------------------------------------------------------------------------------------------


def fleet_settings_create(event: OrganizationCreated) -> None:
    """Give a new organization its settings with a random secret (subscriber)."""
    secret = secrets.token_hex(16)
    FleetSettings.objects.create(
        organization_id=event.organization_id, shared_secret=secret, shared_secret_digest=digest(secret)
    )


@transaction.atomic
def fleet_settings_update(settings_row: FleetSettings, **changes: Any) -> FleetSettings:
    """Change secret, limit, registration or variables of an organization. Raises ValidationError."""
    row, before = changed_row(settings_row, changes)
    row.shared_secret_digest = digest(row.shared_secret)
    if row.device_limit is not None and row.device_limit < 0:
        raise ValidationError({"device_limit": "The limit is 0 for none, or a positive number."})
    row.full_clean(exclude=["shared_secret_digest"])
    taken = FleetSettings.objects.filter(shared_secret_digest=row.shared_secret_digest)
    if len(row.shared_secret) < 8 or taken.exclude(pk=row.pk).exists():
        raise ValidationError({"shared_secret": "Choose another secret: it is too short or in use."})
    limit = row.device_limit
    if limit and limit != before.device_limit:
        count = Device.objects.filter(organization_id=row.pk, is_retired=False).count()
        if limit < count:
            raise ValidationError({"device_limit": f"The organization already has {count} devices."})
    changed = store(row, before=before, onto=settings_row)
    if "context" in changed:
        publish(OrganizationVariablesChanged(organization_id=settings_row.pk))
    if changed:
        audit.record(
            "fleet_settings.changed",
            row,
            organization_id=row.pk,
            changes=audit.difference(before, row),
            name="fleet settings",
        )
    return settings_row


# --- groups ---------------------------------------------------------------------------------------------------


@transaction.atomic
def group_create(**fields: Any) -> DeviceGroup:
    """Create a device group. Raises ValidationError."""
    group = DeviceGroup(**fields)
    _check_group_meta(group)
    group.full_clean()
    group.save(force_insert=True)
    audit.record("group.created", group, organization_id=group.organization_id, changes=audit.contents(group))
    return group


@transaction.atomic
def group_update(group: DeviceGroup, **changes: Any) -> DeviceGroup:
    """Change the named fields of a group. Its organization stays. Raises ValidationError."""
    row, before = changed_row(group, changes)
    _check_group_move(row, before)
    _check_group_meta(row)
    row.full_clean()
    changed = store(row, before=before, onto=group)
    if "context" in changed:
        publish(GroupVariablesChanged(group_id=group.pk))
    if changed:
        audit.record_change("group", before, row, changes=audit.difference(before, row))
    return group


def _check_group_move(row: DeviceGroup, before: DeviceGroup) -> None:
    if row.organization_id != before.organization_id and row.devices.exists():
        raise ValidationError({"organization": "A group with devices cannot move to another organization."})


def _check_group_meta(group: DeviceGroup) -> None:
    if not isinstance(group.meta_data, dict):
        raise ValidationError({"meta_data": "The supplied value is not a JSON object."})


# --- devices --------------------------------------------------------------------------------------------------


def limit_check(
    *, organization_id: UUID, organization_name: str, limit: int | None, only_asking: bool = False
) -> None:
    """Refuse one more device when the organization's limit is reached; null admits none, 0 any number.

    Call it inside the transaction that adds the device: it serialises the adders of a limited organization, unless
    the caller is `only_asking`. Raises ValidationError.
    """
    if limit == 0:
        return
    if limit is not None:
        if not only_asking:
            locked(FleetSettings.objects.filter(pk=organization_id)).values_list("pk").first()
        if Device.objects.filter(organization_id=organization_id, is_retired=False).count() < limit:
            return
    raise ValidationError(
        {
            NON_FIELD_ERRORS: [
                f"The maximum number of devices allowed for {organization_name} has been reached."
            ]
        }
    )


def normalise(device: Device, *, fleets: Mapping[UUID, FleetSettings] | None = None) -> None:
    """Bring a device into the form that is stored: upper-case MAC, null instead of empty hardware id, a key.

    `fleets` saves the look-up of its organization's secret.
    """
    device.mac_address = (device.mac_address or "").upper()
    device.hardware_id = device.hardware_id or None
    if not device.key and device.organization_id:
        if fleets is None:
            secret = FleetSettings.objects.filter(pk=device.organization_id).first()
        else:
            secret = fleets.get(device.organization_id)
        identity = (settings.MUSTER.hardware_id and device.hardware_id) or device.mac_address
        device.key = (
            consistent_key(identity=identity, shared_secret=secret.shared_secret)
            if secret
            else secrets.token_hex(16)
        )
    device.key_digest = digest(device.key)


def _check_relations(device: Device) -> None:
    if device.group is not None and device.group.organization_id != device.organization_id:
        raise ValidationError({"group": "The group belongs to another organization than the device."})


def _full_clean(device: Device) -> None:
    """Validate a device; the digest's uniqueness is worded as the key's."""
    _check_relations(device)
    try:
        device.full_clean()
    except ValidationError as error:
        messages = dict(error.error_dict)
        # The same MAC address derives the same key: then the duplicate address is all there is to tell.
        if messages.pop("key_digest", None) and not messages:
            messages["key"] = [ValidationError("Device with this Key already exists.")]
        raise ValidationError(messages) from error


@transaction.atomic
def device_create(*, check_limit: bool = True, **fields: Any) -> Device:
    """Create a device; `fields` are model fields. Raises ValidationError."""
    device = Device(**fields)
    normalise(device)
    if check_limit:
        limit = FleetSettings.objects.filter(pk=device.organization_id).values_list("device_limit", flat=True)
        limit_check(
            organization_id=device.organization_id,
            organization_name=device.organization.name,
            limit=limit.first() if limit else 0,
        )
    _full_clean(device)
    device.save(force_insert=True)
    audit.record(
        "device.created", device, organization_id=device.organization_id, changes=audit.contents(device)
    )
    return device


@transaction.atomic
def device_update(device: Device, **changes: Any) -> frozenset[str]:
    """Change the named fields; returns those whose value really changed. Raises ValidationError, Forbidden."""
    row, before = changed_row(device, changes)
    check_in_service(before)
    if not changes.get("key", "x"):
        row.key = before.key
    normalise(row)
    if row.organization_id != before.organization_id:
        fleet = FleetSettings.objects.select_related("organization").get(pk=row.organization_id)
        limit_check(
            organization_id=fleet.pk, organization_name=fleet.organization.name, limit=fleet.device_limit
        )
    _full_clean(row)
    changed = store(row, before=before, onto=device) & DEVICE_FIELDS
    if changed:
        publish(DevicesChanged({device.pk: changed}))
    # Where a device was heard from changes by itself; that is no act of anybody.
    if changed - ADDRESSES:
        audit.record_change("device", before, row, changes=audit.difference(before, row))
    return changed


def check_in_service(device: Device) -> None:
    """Refuse to change a device that is out of service. Raises Forbidden."""
    if device.is_deactivated:
        raise Forbidden(DEACTIVATED)
    if device.is_retired:
        raise Forbidden(RETIRED)


@transaction.atomic
def device_retired_set(device: Device, *, retired: bool) -> None:
    """Decommission a device: its name, addresses and key are free for another. Or take it back. Raises ValidationError.

    What it proved itself with opens nothing any more; taken back, it has the key it derives from its address.
    """
    row, before = changed_row(device, {"is_retired": retired})
    if row.is_retired == before.is_retired:
        return
    row.key = secrets.token_hex(16) if retired else ""
    row.management_ip = None
    normalise(row)
    _full_clean(row)
    store(row, before=before, onto=device)
    publish(DevicesChanged({device.pk: frozenset({"key"})}))


def addresses_set(device_id: UUID, *, last_ip: str | None, management_ip: str | None) -> None:
    """Record where a device was heard from, and take duplicate addresses from the devices that had them before.

    A management address is unique among all organizations unless MUSTER_SHARED_MANAGEMENT_IP is `no` (then within
    the device's own); a private last address is treated alike, a public one may be shared (spec 1A.4).
    """
    with transaction.atomic():
        in_turn("devices.addresses")
        device = Device.objects.filter(pk=device_id)
        if not device.update(last_ip=last_ip, management_ip=management_ip):
            return
        others = Device.objects.exclude(pk=device_id)
        if not settings.MUSTER.shared_management_ip:
            others = others.filter(organization__in=device.values("organization"))
        if management_ip:
            others.filter(management_ip=management_ip).update(management_ip=None)
        if last_ip and _is_exclusive(last_ip):
            others.filter(last_ip=last_ip).update(last_ip=None)


def _is_exclusive(address: str) -> bool:
    """Tell whether only one device can have the address: private, and not this very machine's loopback."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_private and not parsed.is_loopback


def last_seen_flush(device_ids: Iterable[UUID], *, at: Any) -> None:
    """Stamp many devices as seen `at`, in one statement per 500."""
    ids = sorted(device_ids)
    for start in range(0, len(ids), 500):
        Device.objects.filter(pk__in=ids[start : start + 500]).update(last_seen=at)


# --- what a change would store --------------------------------------------------------------------------------


def proposed_fleet_settings(settings_row: FleetSettings, changes: Mapping[str, Any]) -> FleetSettings:
    """Return the row an update of the variables would store. Writes nothing. Raises ValidationError."""
    row, _ = proposed_row(settings_row, changes)
    row.full_clean(exclude=["shared_secret_digest"])
    return row


def proposed_group(group: DeviceGroup | None, changes: Mapping[str, Any]) -> DeviceGroup:
    """Return the row `group_update` (or, for None, `group_create`) would store. Writes nothing. Raises as they do."""
    if group is None:
        row = DeviceGroup(**changes)
    else:
        row, before = proposed_row(group, changes)
        _check_group_move(row, before)
    _check_group_meta(row)
    row.full_clean()
    return row


def proposed_device(device: Device, changes: Mapping[str, Any]) -> tuple[Device, Device]:
    """Return the row `device_update` would store, and the stored one. Writes and locks nothing. Raises as it does."""
    row, before = proposed_row(device, changes)
    check_in_service(before)
    if not changes.get("key", "x"):
        row.key = before.key
    normalise(row)
    if row.organization_id != before.organization_id:
        fleet = FleetSettings.objects.select_related("organization").get(pk=row.organization_id)
        limit_check(
            organization_id=fleet.pk,
            organization_name=fleet.organization.name,
            limit=fleet.device_limit,
            only_asking=True,
        )
    _full_clean(row)
    return row, before
