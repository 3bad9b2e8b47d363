"""Telling organizations' webhooks of events: one row per message, in the transaction of the event.

Who wants what is remembered in the process for a second, so an event nobody wants costs no query; a webhook that was
just made in another process may miss that second. Nothing secret may be in `data`.
"""

import json
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.clock import now
from core.db import bulk_insert_objects
from core.wake import wake
from tenancy import webhook_tasks
from tenancy.webhook_models import EVENTS, Webhook, WebhookDelivery

REMEMBERED_SECONDS = 1.0
Wanted = Mapping[str, Mapping[UUID, tuple[UUID, ...]]]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an organization; `data` is what the webhook's body says of it."""

    organization_id: UUID
    event: str
    data: Mapping[str, Any]


class Subscriptions:
    """Which webhooks of which organizations want which event, as the database had it at most a second ago."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: Wanted = {}
        self._stands_until = 0.0

    def wanted(self) -> Wanted:
        """Return event -> organization -> webhooks."""
        if time.monotonic() >= self._stands_until:
            # Two threads that find it old both read: nobody waits for another's query.
            self.hold(_read(), seconds=REMEMBERED_SECONDS)
        return self._wanted

    def hold(self, wanted: Wanted, *, seconds: float) -> None:
        """Take `wanted` as true for so long."""
        with self._lock:
            self._wanted, self._stands_until = wanted, time.monotonic() + seconds

    def forget(self) -> None:
        """Read again at the next event."""
        with self._lock:
            self._stands_until = 0.0


def _read() -> Wanted:
    rows = Webhook.objects.filter(is_active=True, organization__is_active=True).order_by("created", "id")
    found: dict[str, dict[UUID, tuple[UUID, ...]]] = {}
    for pk, organization_id, events in rows.values_list("pk", "organization_id", "events"):
        for event in events:
            of_event = found.setdefault(event, {})
            of_event[organization_id] = (*of_event.get(organization_id, ()), pk)
    return found


subscriptions = Subscriptions()


def organizations_wanting(*events: str) -> Collection[UUID]:
    """Return the organizations that want one of `events`; to find out costs no query, most often."""
    wanted = subscriptions.wanted()
    return {organization_id for event in events for organization_id in wanted.get(event, {})}


def emit(*, organization_id: UUID, event: str, data: Mapping[str, Any]) -> int:
    """Write the messages of one event; returns how many. Call it in the transaction of the event."""
    return emit_many([Event(organization_id, event, data)])


def emit_many(events: Iterable[Event]) -> int:
    """Write the messages of many events with one INSERT, none when nobody wants them; returns how many."""
    wanted = subscriptions.wanted()
    rows = [
        delivery(event, webhook_id=webhook_id)
        for event in events
        for webhook_id in wanted.get(event.event, {}).get(event.organization_id, ())
    ]
    return write(rows)


def write(rows: Sequence[WebhookDelivery]) -> int:
    """Store messages with one INSERT and ring for whoever carries them; returns how many."""
    if rows:
        bulk_insert_objects(rows)
        wake(webhook_tasks.deliver)
    return len(rows)


def delivery(event: Event, *, webhook_id: UUID) -> WebhookDelivery:
    """Return the message of an event to a webhook, not yet written. Raises ValueError for an unknown event."""
    if event.event not in EVENTS:
        raise ValueError(f"unknown event {event.event!r}")
    moment = now()
    body = {
        "id": str(uuid.uuid4()),
        "event": event.event,
        "organization": str(event.organization_id),
        "created": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": event.data,
    }
    return WebhookDelivery(
        id=uuid.uuid4(),
        created=moment,
        due=moment,
        organization_id=event.organization_id,
        webhook_id=webhook_id,
        event=event.event,
        body=json.dumps(body, separators=(",", ":")),
    )
