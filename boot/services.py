"""Every write to boot configurations and quotas, for devices, people and the admin alike."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from boot.documents import InvalidDocument, body_of, document_of
from boot.images.references import TURN
from boot.models import BootConfig, BootVersion, Operation, Quota
from boot.queries import device_of, versions_of
from boot.quotas import LIMITS
from config_merge.services.configs import managed_device_create
from core.acting import current
from core.clock import now
from core.crypto import digest
from core.db import in_turn, locked
from core.errors import Conflict, Forbidden
from devices import services as inventory
from devices.models import Device
from tenancy import audit
from tenancy.models import ApiKey, Organization, User
from tenancy.policy import allows
from tenancy.queries import roles_of
from tracking.models import DEVICE_LENGTH, TrackedDevice
from tracking.services import mac_of

VERSIONS = 20
NO_KEY = "There is no such API key."
UNPRINTABLE = "Enter a device id of printable characters without a slash."
IS_THERE = "This device has a configuration under this API key: bring its versions back there."
NO_VERSION = "There is no such version to bring back, or not any more."
NOT_YOURS = "Only superusers and managers of the organization change its quotas."
TOO_MUCH = "At most {most:,} are allowed here; superusers raise that."

NO_MAC = "Enter the MAC address: this device does not call itself by one."


# --- configurations -------------------------------------------------------------------------------------------


def checked_body(document: Mapping[str, Any]) -> str:
    """Return the body of a document as it will be served. Raises ValidationError by member."""
    try:
        return body_of(document_of(document))
    except InvalidDocument as error:
        raise ValidationError({error.member.partition(".")[0] or "config": error.reason}) from error


def check_device(device: str) -> None:
    if not device or len(device) > DEVICE_LENGTH or "/" in device or not device.isprintable():
        raise ValidationError({"device": UNPRINTABLE})


def take_whole_turn(*api_key_ids: UUID) -> None:
    """Let nobody else write configurations of these keys until the transaction ends; first of all its locks."""
    for pk in sorted(api_key_ids):
        in_turn(f"boot key:{pk}")


def _take_turn(api_key_id: UUID, device: str) -> None:
    in_turn(f"boot key:{api_key_id}", shared=True)
    in_turn(f"boot:{api_key_id}:{device}")


@transaction.atomic
def boot_config_set(*, api_key_id: UUID, device: str, document: Mapping[str, Any]) -> BootConfig:
    """Make `document` the whole configuration of a device under a key; what it does not say is empty.

    It belongs to the key's organization. Setting what is there already writes nothing. Raises ValidationError.
    """
    check_device(device)
    body = checked_body(document)
    key = ApiKey.objects.filter(pk=api_key_id).only("organization_id").first()
    if key is None:
        raise ValidationError({"api_key": NO_KEY})
    _take_turn(api_key_id, device)
    row = locked(BootConfig.objects.filter(api_key_id=api_key_id, device=device)).first()
    if row is not None and row.body == body:
        return row
    # Nobody removes an image that is being named.
    in_turn(TURN, shared=True)
    given = row or BootConfig(api_key_id=key.pk, organization_id=key.organization_id, device=device)
    return body_write(given, body)


def body_write(row: BootConfig, body: str) -> BootConfig:
    """Store a checked body as the next version of a configuration, new or locked. In a transaction with its turns."""
    before = row.body
    number = _next_number(row.api_key_id, row.device)
    if not before:
        row.body, row.number = body, number
        row.save(force_insert=True)
    else:
        row.body, row.number = body, number
        row.save(update_fields=("body", "number", "modified"))
    _keep_version(row, number=number, body=body)
    action = "boot_config.changed" if before else "boot_config.created"
    audit.record(action, row, organization_id=row.organization_id, changes=_changes(before, body, number))
    return row


@transaction.atomic
def boot_config_delete(*, api_key_id: UUID, device: str) -> bool:
    """Remove a device's configuration, so that it gets its key's default; tells whether there was one."""
    _take_turn(api_key_id, device)
    row = locked(BootConfig.objects.filter(api_key_id=api_key_id, device=device)).first()
    if row is None:
        return False
    config_drop(row)
    return True


def config_drop(row: BootConfig) -> None:
    """Remove a locked configuration; what it was can be brought back. In a transaction with its turn."""
    number = _next_number(row.api_key_id, row.device)
    _keep_version(row, number=number, body="")
    audit.record(
        "boot_config.deleted",
        row,
        organization_id=row.organization_id,
        changes=_changes(row.body, "", number),
    )
    row.delete()


@transaction.atomic
def boot_config_restore(*, api_key_id: UUID, device: str, number: int | None = None) -> BootConfig:
    """Bring a deleted configuration back as it was last, or in a version. Raises Conflict, ValidationError."""
    _take_turn(api_key_id, device)
    if BootConfig.objects.filter(api_key_id=api_key_id, device=device).exists():
        raise Conflict(IS_THERE)
    kept = versions_of(api_key_id=api_key_id, device=device).exclude(body="")
    version = (kept if number is None else kept.filter(number=number)).first()
    if version is None or version.document is None:
        raise ValidationError({"version": NO_VERSION})
    return boot_config_set(api_key_id=api_key_id, device=device, document=version.document)


def _next_number(api_key_id: UUID, device: str) -> int:
    kept = BootVersion.objects.filter(api_key_id=api_key_id, device=device)
    return (kept.aggregate(last=Max("number"))["last"] or 0) + 1


def _keep_version(row: BootConfig, *, number: int, body: str) -> None:
    BootVersion.objects.create(
        api_key_id=row.api_key_id,
        organization_id=row.organization_id,
        device=row.device,
        number=number,
        body=body,
        at=now(),
        actor_name=current().name[:150],
    )
    kept = BootVersion.objects.filter(api_key_id=row.api_key_id, device=row.device)
    kept.filter(number__lte=number - VERSIONS).delete()


def _changes(before: str, after: str, number: int) -> dict[str, tuple[Any, Any]]:
    """Return what the trail says of a change: digests, since scripts and Wi-Fi keys are no business of its."""
    shown = tuple(digest(body)[:16] if body else "" for body in (before, after))
    return {"sha256": (shown[0], shown[1]), "version": (None, number)}


# --- quotas ---------------------------------------------------------------------------------------------------


@transaction.atomic
def quota_set(*, by: User, organization: Organization, operation: str, amount: int | None) -> Quota | None:
    """Give an organization its own limit for an operation of each of its keys; None gives the usual one back.

    Who runs the installation pays for it, and says what is allowed; less harms nobody else. From superusers it is what
    is allowed and what holds; from managers what holds, at most what is allowed, which their None gives back. Raises
    Forbidden, ValidationError.
    """
    raises = by.is_superuser and by.is_active
    if not raises and not allows(roles_of(by).get(organization.pk), "change", Quota):
        raise Forbidden(NOT_YOURS)
    if operation not in Operation.values:
        raise ValidationError({"operation": "There is no such operation."})
    in_turn(f"boot quota:{organization.pk}")
    row = Quota.objects.filter(organization=organization, operation=operation).first()
    ceiling = row.ceiling if row is not None else None
    most = LIMITS[operation].amount if ceiling is None else ceiling
    if raises:
        ceiling = amount
    elif amount is not None and amount > most:
        raise ValidationError({"amount": TOO_MUCH.format(most=most)})
    wanted = amount if amount is not None else ceiling
    if wanted is None:
        if row is not None:
            audit.record("quota.deleted", row, organization_id=organization.pk)
            row.delete()
        return None
    return _quota_stored(row or Quota(organization=organization, operation=operation), wanted, ceiling)


def _quota_stored(row: Quota, amount: int, ceiling: int | None) -> Quota:
    before = (row.amount, row.ceiling)
    row.amount, row.ceiling = amount, ceiling
    row.full_clean()
    row.save()
    if before != (amount, ceiling):
        changes = {
            "operation": (row.operation, row.operation),
            "amount": (before[0], amount),
            "allowed": (before[1], ceiling),
        }
        audit.record("quota.set", row, organization_id=row.organization_id, changes=changes)
    return row


# --- the inventory --------------------------------------------------------------------------------------------


@transaction.atomic
def tracked_adopt(tracked: TrackedDevice, *, by: User, name: str = "", mac_address: str = "") -> Device:
    """Make a tracked device one of the inventory, or return the one that it already is. Raises ValidationError.

    Who may create devices of the organization may adopt: callers ask the policy. `mac_address` is needed for a device
    that does not call itself by one, which is then found by it from now on.
    """
    row = locked(TrackedDevice.objects.filter(pk=tracked.pk)).get()
    if row.mac_address:
        known = device_of(row)
        if known is not None:
            return known
    address = row.mac_address or mac_of(mac_address)
    if not address:
        raise ValidationError({"mac_address": NO_MAC})
    device = managed_device_create(
        organization=Organization.objects.get(pk=row.organization_id),
        name=name or address.upper(),
        mac_address=address.upper(),
        actor_id=by.pk,
    )
    if row.mac_address != address:
        row.mac_address = address
        row.save(update_fields=("mac_address", "modified"))
    tracked.mac_address = address
    inventory.last_seen_flush([device.pk], at=row.last_at)
    device.last_seen = row.last_at
    return device
