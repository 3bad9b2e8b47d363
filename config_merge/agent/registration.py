"""How a device lets itself in with its organization's shared secret (spec 1A.8).

A new device costs six statements: the organization with whatever device holds the key, and five inserts: device,
configuration, templates, notification, audit. Its configuration is left stale: the first poll computes it, or the
sweeper.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from config_merge.agent import presence
from config_merge.agent.messages import AgentRequest, AgentResponse, text
from config_merge.models import Backend, Config, Hold, SiteDevice
from config_merge.services import assignment, configs, stale, telling
from core.acting import Actor, acting_as
from core.clock import now
from core.crypto import decrypt, digest
from core.db import uuid_value
from core.net import valid_address
from devices import services as inventory
from devices.models import Device
from devices.validators import same_mac
from tenancy import audit
from tenancy.services import notify

REQUIRED = ("secret", "name", "mac_address", "backend")
SENT_FIELDS = ("name", "mac_address", "hardware_id", "model", "os", "system")
REFRESHED = ("name", "os", "model", "system")


_ADMISSION = """
SELECT f.organization_id, o.name, f.shared_secret, f.registration_enabled, f.device_limit, d.id
FROM devices_fleetsettings f JOIN tenancy_organization o ON o.id = f.organization_id
LEFT JOIN devices_device d ON d.organization_id = f.organization_id AND d.key_digest = %s
WHERE f.shared_secret_digest = %s AND o.is_active = %s
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """The organization a secret opens, and the device of it that already holds the sent key."""

    organization_id: UUID
    organization_name: str
    shared_secret: str
    registration_enabled: bool
    device_limit: int | None
    device_id: UUID | None


def register(request: AgentRequest) -> AgentResponse:
    """Answer a registration; every check in the order of the spec."""
    fields = request.fields
    if not settings.MUSTER.registration_enabled:
        return text(403, "error: registration disabled")
    for name in REQUIRED:
        if not fields.get(name):
            return text(400, f'error: missing required parameter "{name}"\n')
    if fields["backend"] not in Backend.values:
        return text(403, "error: wrong backend")
    key = fields.get("key", "") if settings.MUSTER.consistent_registration else ""
    admission = admission_of(fields["secret"], key=key)
    if admission is None:
        return text(403, "error: unrecognized secret")
    if not admission.registration_enabled:
        return text(403, "error: registration disabled")
    if admission.device_id is None and not settings.MUSTER.registration_self_creation:
        return text(404, "error: unknown device\n")
    try:
        with acting_as(agent_of(fields["name"], request)):
            if admission.device_id is not None:
                return _return(request, admission.device_id)
            return _admit(request, admission, key=key)
    except ValidationError as error:
        return text(400, " ".join(error.messages))


def agent_of(name: str, request: AgentRequest) -> Actor:
    """Return who acts when a device speaks for itself."""
    return Actor(name=f"device {name}", via="agent", address=request.client or "")


def admission_of(secret: str, *, key: str) -> Admission | None:
    """Return what a shared secret opens; None for an unknown secret and a disabled organization alike."""
    # In SQL, because putting this query together by the ORM takes a third of a whole registration.
    with connection.cursor() as cursor:
        cursor.execute(_ADMISSION, [digest(key) if key else "", digest(secret), True])
        row = cursor.fetchone()
    if row is None:
        return None
    organization_id, name, sealed, enabled, limit, device_id = row
    return Admission(
        organization_id=UUID(str(organization_id)),
        organization_name=name,
        shared_secret=decrypt(sealed.encode()).decode(),
        registration_enabled=bool(enabled),
        device_limit=limit,
        device_id=uuid_value(device_id),
    )


def _success(device: Device, *, is_new: bool) -> AgentResponse:
    presence.note(device.pk)
    return text(
        201,
        "registration-result: success\n"
        f"uuid: {device.pk.hex}\nkey: {device.key}\nhostname: {device.name}\nis-new: {int(is_new)}\n",
    )


# --- a new device -----------------------------------------------------------------------------------------------------


def _admit(request: AgentRequest, admission: Admission, *, key: str) -> AgentResponse:
    """Create the device, its configuration and its templates in one transaction. Raises ValidationError."""
    device = _device_of(request, admission, key=key)
    try:
        with transaction.atomic():
            stale.reading_templates()
            if admission.device_limit != 0:
                inventory.limit_check(
                    organization_id=admission.organization_id,
                    organization_name=admission.organization_name,
                    limit=admission.device_limit,
                )
            device.save(force_insert=True)
            _configure(device, request.fields)
            _announce(device, is_new=True)
            audit.record(
                "device.registered",
                device,
                organization_id=device.organization_id,
                changes=audit.contents(device),
            )
    except IntegrityError as error:
        if (expected := _expected(device)) is not None:
            return _return(request, expected)
        _explain(device)
        raise ValidationError("Device already exists.") from error
    return _success(device, is_new=True)


def _device_of(request: AgentRequest, admission: Admission, *, key: str) -> Device:
    """Return the unsaved device of the allow-listed fields, validated field by field. Raises ValidationError."""
    sent: dict[str, Any] = {name: request.fields.get(name, "").strip() for name in SENT_FIELDS}
    device = Device(
        organization_id=admission.organization_id,
        key=key or _new_key(sent, admission),
        last_ip=request.client,
        management_ip=valid_address(request.fields.get("management_ip", "")),
        **sent,
    )
    device.mac_address = device.mac_address.upper()
    device.hardware_id = device.hardware_id or None
    device.key_digest = digest(device.key)
    device.clean_fields(exclude=["organization", "group", "notes"])
    return device


def _expected(device: Device) -> UUID | None:
    """Return the device with this MAC address that was added to a site and never called yet."""
    waiting = SiteDevice.objects.filter(
        device__organization_id=device.organization_id,
        device__mac_address=device.mac_address.upper(),
        device__last_seen=None,
        registered_at=None,
        is_retired=False,
    ).exclude(serial="")
    return waiting.values_list("device_id", flat=True).first()


def _new_key(sent: Mapping[str, str], admission: Admission) -> str:
    if not settings.MUSTER.consistent_registration:
        return secrets.token_hex(16)
    identity = (settings.MUSTER.hardware_id and sent["hardware_id"]) or sent["mac_address"].upper()
    return inventory.consistent_key(identity=identity, shared_secret=admission.shared_secret)


def _explain(device: Device) -> None:
    """Word the constraint that refused the device. Raises ValidationError."""
    try:
        device.validate_unique()
        device.validate_constraints()
    except ValidationError as error:
        messages = [m for name, texts in error.message_dict.items() if name != "key_digest" for m in texts]
        raise ValidationError(messages or ["Device with this Key already exists."]) from error


def _configure(device: Device, fields: Mapping[str, str]) -> None:
    """Give a device the configuration it asks for, with its automatic and its tagged templates."""
    config = Config(device=device, backend=fields["backend"])
    config.save(force_insert=True)
    tags = fields.get("tags", "").split()
    assignment.start(config, organization_id=device.organization_id, tags=tags)


def _announce(device: Device, *, is_new: bool) -> None:
    notify(
        organization_id=device.organization_id,
        kind="device_registered",
        target_type="device",
        target_id=device.pk,
        message=f"{device.name} registered" + ("." if is_new else " again."),
    )
    telling.device_registered(device, is_new=is_new)


# --- a device that comes back -----------------------------------------------------------------------------------------


def _return(request: AgentRequest, device_id: UUID) -> AgentResponse:
    """Refresh what a known device says of itself; its organization, MAC and templates stay."""
    with transaction.atomic():
        stale.reading_templates()
        device = Device.objects.select_related("organization", "place").get(pk=device_id)
        place: SiteDevice | None = getattr(device, "place", None)
        if device.is_deactivated or (place is not None and place.hold in (Hold.BLOCKED, Hold.RETIRED)):
            return text(403, "error: device deactivated")
        changes = {
            name: request.fields[name].strip() for name in REFRESHED if request.fields.get(name, "").strip()
        }
        if same_mac(changes.get("name", ""), device.mac_address):
            del changes["name"]
        if place is not None and place.serial:
            # Who added it to its site has named it; what devices call themselves may be the same for all of them.
            changes.pop("name", None)
        if place is not None and place.is_suspended:
            changes.clear()
        if request.client:
            changes["last_ip"] = request.client
        inventory.device_update(device, **changes)
        if not Config.objects.filter(device=device).exists():
            _configure(device, request.fields)
            configs.hold_follow(device.pk)
        if place is not None and place.registered_at is None:
            _registered(place)
        _announce(device, is_new=False)
    return _success(device, is_new=False)


def _registered(place: SiteDevice) -> None:
    """Write down that a device which was added to a site by hand has called for the first time."""
    moment = now()
    if SiteDevice.objects.filter(pk=place.pk, registered_at=None).update(
        registered_at=moment, modified=moment
    ):
        audit.record(
            "device.registered",
            place.device,
            organization_id=place.device.organization_id,
            changes={"serial": (None, place.serial), "registered_at": (None, moment)},
        )
