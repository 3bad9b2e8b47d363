"""The chain that makes the audit trail's rows hold each other: sealing them, and finding what was tampered with.

The sealer takes what has been committed, gives each row the next number, and stores an HMAC over the row and the seal
before it. Whoever changes, removes or inserts a sealed row contradicts a seal, and whoever cuts the end off contradicts
the anchored head; the key is stored encrypted, so the database alone is not enough to forge either.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from core.canonical import canonical_json
from core.db import bulk_set, in_turn
from tenancy.models import AuditEvent, AuditHead

CHUNK = 1000
RESTARTED = "audit.restarted"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Rows are sealed in the order of their commits, and bear the time of their writing.
LONGEST_TRANSACTION = timedelta(hours=1)
_SEALED = (
    "id", "created", "organization_id", "actor_id", "actor_name", "via", "address", "request_id", "reason", "action",
    "target_type", "target_id", "target_name", "changes",
)  # fmt: skip


def _body(row: AuditEvent) -> bytes:
    values = {name: getattr(row, name) for name in _SEALED}
    values["created"] = row.created.isoformat()
    plain = {name: value if name == "changes" else value and str(value) for name, value in values.items()}
    return canonical_json(plain)


def _sealed(key: bytes, previous: str, sequence: int, body: bytes) -> str:
    return hmac.new(key, f"{previous}:{sequence}:".encode() + body, hashlib.sha256).hexdigest()


def _anchored(key: bytes, sequence: int, seal: str) -> str:
    return hmac.new(key, f"head:{sequence}:{seal}".encode(), hashlib.sha256).hexdigest()


def _head() -> AuditHead:
    """Return the end of the chain; one that is missing was removed, and its successor says so in its first event."""
    head = AuditHead.objects.first()
    if head is None:
        key = secrets.token_hex(32)
        head = AuditHead(pk=1, key=key, anchor=_anchored(key.encode(), 0, ""))
        head.save(force_insert=True)
        AuditEvent(created=EPOCH, actor_name="system", via="system", action=RESTARTED).save(force_insert=True)
    return head


def _waiting(head: AuditHead) -> QuerySet[AuditEvent]:
    """Return the rows to seal: committed ones that are about as old as they should be.

    A row much older than the last sealed one was not written by the program, which seals within seconds.
    """
    waiting = AuditEvent.objects.filter(sequence__isnull=True)
    last = AuditEvent.objects.filter(sequence=head.sequence).values_list("created", flat=True).first()
    if last is not None:
        waiting = waiting.exclude(created__lt=last - LONGEST_TRANSACTION)
    return waiting


@transaction.atomic
def seal_chunk(limit: int = CHUNK) -> int:
    """Chain up to `limit` committed rows that are not sealed yet; returns how many. Safe to run anywhere, any time."""
    if not AuditEvent.objects.filter(sequence__isnull=True).exists():
        return 0
    in_turn("tenancy.audit")
    head = _head()
    key = head.key.encode()
    rows = list(_waiting(head).order_by("created", "id")[:limit])
    if not rows:
        return 0
    seals: list[tuple[UUID, list[Any]]] = []
    for row in rows:
        head.sequence += 1
        head.seal = _sealed(key, head.seal, head.sequence, _body(row))
        seals.append((row.pk, [head.sequence, head.seal]))
    bulk_set(AuditEvent, ["sequence", "seal"], seals)
    head.anchor = _anchored(key, head.sequence, head.seal)
    head.save(update_fields=["sequence", "seal", "anchor"])
    return len(rows)


def seal_all() -> int:
    """Chain every committed row; returns how many."""
    total = 0
    while done := seal_chunk():
        total += done
    return total


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the chain does not hold: the number of the row, and what is wrong with it."""

    sequence: int
    text: str


def verify() -> Iterator[Fault]:
    """Yield every place where the trail was tampered with; nothing when it is whole.

    Each row is checked against the stored seal before it, so one changed row is one fault, not all that follow.
    """
    head = AuditHead.objects.first()
    if head is None:
        yield Fault(0, "the head of the chain is missing")
        return
    key = head.key.encode()
    if not hmac.compare_digest(head.anchor, _anchored(key, head.sequence, head.seal)):
        yield Fault(head.sequence, "the head of the chain was changed")
    expected, previous = 1, ""
    rows = AuditEvent.objects.filter(sequence__isnull=False).order_by("sequence")
    for row in rows.iterator(chunk_size=CHUNK):
        number = row.sequence or 0
        if number != expected:
            missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
            yield Fault(expected, f"event {missing} is missing")
        elif not hmac.compare_digest(row.seal, _sealed(key, previous, number, _body(row))):
            yield Fault(number, f"event {number} ({row.action}, {row.pk}) was changed")
        if row.action == RESTARTED:
            yield Fault(number, "the chain was begun anew here; what was before it is gone")
        expected, previous = number + 1, row.seal
    late = AuditEvent.objects.filter(sequence__isnull=True).exclude(pk__in=_waiting(head).values("pk"))
    for row in late[:CHUNK]:
        yield Fault(0, f"an event ({row.action}, {row.pk}) was inserted with a time long past")
    if expected <= head.sequence:
        yield Fault(expected, f"the end is missing, from event {expected} to {head.sequence}")
    elif expected > head.sequence + 1:
        yield Fault(head.sequence + 1, "events were added after the end")
    elif head.sequence and previous != head.seal:
        yield Fault(head.sequence, "the last event is not the one that was sealed last")
