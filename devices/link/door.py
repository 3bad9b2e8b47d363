"""Who may open a link: decided from one row, before the handshake is answered.

A higher floor that knows more reasons to refuse a device puts its own `Door` here (`use`).
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing
from django.core.cache import cache

from core.crypto import digest
from core.db import uuid_value

TICKET_SECONDS = 30
_SALT = "devices.link.ticket"


@dataclass(frozen=True, slots=True)
class Door:
    """How to read what decides: SQL fragments for a row reader, whose first column is the device's id.

    `admits` gets the row and returns the digest of the device's key when the device is served, else None.
    `unserved` is an SQL condition on the same source that is true for devices whose link must be closed.
    """

    columns: str
    source: str
    key: str
    admits: Callable[[tuple[Any, ...]], str | None]
    unserved: str


def _admits(row: tuple[Any, ...]) -> str | None:
    _, key_digest, is_deactivated, is_active = row
    return str(key_digest) if is_active and not is_deactivated else None


_door = Door(
    columns="d.id, d.key_digest, d.is_deactivated, o.is_active",
    source="devices_device d JOIN tenancy_organization o ON o.id = d.organization_id",
    key="d.id",
    admits=_admits,
    unserved="d.is_deactivated OR NOT o.is_active",
)


def use(door: Door) -> None:
    """Replace the door."""
    global _door
    _door = door


def door() -> Door:
    """Return the door in use."""
    return _door


def key_fits(key: str, key_digest: str) -> bool:
    """Tell whether a key is the device's, in constant time."""
    return hmac.compare_digest(digest(key), key_digest)


def ticket_new(device_id: UUID, key_digest: str) -> str:
    """Return a ticket: good for one link of the device within TICKET_SECONDS, and only while its key stays."""
    return signing.dumps([device_id.hex, key_digest[:16], secrets.token_hex(8)], salt=_SALT)


def ticket_fits(ticket: str, device_id: UUID, key_digest: str) -> bool:
    """Tell whether a ticket opens a link of the device, and use it up."""
    try:
        of, key_part, nonce = signing.loads(ticket, salt=_SALT, max_age=TICKET_SECONDS)
    except (signing.BadSignature, ValueError):
        return False
    if uuid_value(of) != device_id or key_part != key_digest[:16]:
        return False
    return bool(cache.add(f"muster-link-ticket:{nonce}", 1, timeout=TICKET_SECONDS * 2))
