"""API keys in SQL, for requests that have no time to load them: how a text is looked up, and which keys are open.

Invariant: the same keys as `tenancy.api_keys.api_key_of` opens, and imported ones beside them. Several apps put these
fragments into one statement with what they do for the key.
"""

import threading
import time
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Q

from core.clock import now
from core.crypto import digest
from core.db import rows_of, time_parameter, uuid_value
from tenancy.api_keys import LAST_USED_RESOLUTION, TEXT
from tenancy.models import ApiKey

# No key is longer; what is need not be hashed.
LENGTH_LIMIT = 256
# Keys `k` of what is asked for, `w`: a table of credentials (`core.db.rows_of`).
KEY_SOURCE = (
    "tenancy_apikey k ON k.digest = w.column1 AND CASE WHEN k.is_imported THEN '' ELSE k.key_id END = w.column2 "
    "JOIN tenancy_organization o ON o.id = k.organization_id JOIN tenancy_user u ON u.id = k.user_id "
    "LEFT JOIN tenancy_membership m ON m.user_id = k.user_id AND m.organization_id = k.organization_id"
)
KEY_IS_OPEN = (
    "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > %s) AND o.is_active AND u.is_active "
    "AND (u.is_superuser OR m.role IS NOT NULL)"
)
_FACTS = (
    "SELECT k.id, k.organization_id, k.key_id, k.name, k.read_only, "  # noqa: S608 - constants
    f"CASE WHEN u.is_superuser THEN 'owner' ELSE m.role END FROM {rows_of(1, 2)} AS w JOIN {KEY_SOURCE} "
    f"WHERE {KEY_IS_OPEN}"
)


class Credential(NamedTuple):
    """What a key's text is looked up by, in the order of `KEY_SOURCE`: a digest, and the id of a key that has one."""

    digest: str
    key_id: str


class KeyFacts(NamedTuple):
    """A key that is open now, and its user's role in its organization."""

    id: UUID
    organization_id: UUID
    key_id: str
    name: str
    is_read_only: bool
    role: str


NOBODY = Credential("", "")


def credential_of(text: str) -> Credential:
    """Return what to look a key's text up by; what cannot be a key finds none.

    >>> credential_of("deadbeef").key_id, len(credential_of("deadbeef").digest)
    ('', 64)
    >>> credential_of("x" * 300) == NOBODY
    True
    """
    if not text or len(text) > LENGTH_LIMIT:
        return NOBODY
    parts = TEXT.fullmatch(text)
    return Credential(digest(parts[2]), parts[1]) if parts is not None else Credential(digest(text), "")


def key_facts(text: str, *, at: datetime) -> KeyFacts | None:
    """Return the open key with this text, imported or made here. One indexed query."""
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, [*credential_of(text), time_parameter(at)])
        row = cursor.fetchone()
    if row is None:
        return None
    pk, organization_id, key_id, name, read_only, role = row
    ids: Any = uuid_value(pk), uuid_value(organization_id)
    return KeyFacts(ids[0], ids[1], key_id, name, bool(read_only), role)


class LastUsed:
    """Which keys this process has lately said are used, a bounded number of them."""

    def __init__(self, *, limit: int = 65_536) -> None:
        self._limit = limit
        self._said: dict[Any, float] = {}
        self._lock = threading.Lock()

    def due(self, keys: Collection[Any]) -> list[Any]:
        """Return those of the keys that have to be said again, which counts as done."""
        moment = time.monotonic()
        since = moment - LAST_USED_RESOLUTION.total_seconds()
        found = [key for key in keys if self._said.get(key, -1e9) < since]
        if found:
            with self._lock:
                if len(self._said) + len(found) > self._limit:
                    self._said.clear()
                self._said.update(dict.fromkeys(found, moment))
        return found

    def note(self, keys: Collection[Any]) -> None:
        """Write down that keys are used, at most once a minute each."""
        if due := self.due(set(keys)):
            at = now()
            old = Q(last_used__isnull=True) | Q(last_used__lt=at - LAST_USED_RESOLUTION)
            ApiKey.objects.filter(old, pk__in=due).update(last_used=at)


last_used = LastUsed()
