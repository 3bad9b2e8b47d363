"""Writing down who is linked, for many devices at once. Every function is one transaction.

Invariant: of two links of one device the one written last stands; the other's process finds that out at the latest at
its next look (`verdicts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from core.clock import now
from core.db import bulk_set, locked, uuid_parameter, uuid_value
from core.events import publish
from devices.events import DevicesMeasured, LinksClosed, LinksOpened, Opening
from devices.link.door import door
from devices.models import Device, Link, LinkServer

# A process says every BEAT_SECONDS that it lives; after DEAD_SECONDS without a word its links count as lost.
BEAT_SECONDS = 1.5
DEAD_SECONDS = 6.0
_WRITTEN = (
    "server_id",
    "epoch",
    "key_digest",
    "opened_at",
    "address",
    "agent",
    "boot_id",
    "capabilities",
    "telemetry",
    "telemetry_at",
)


@dataclass(frozen=True, slots=True)
class Welcome:
    """What became of an opening: `replaced` is the epoch of the link it took the place of, `answer` hello's result."""

    answer: Mapping[str, Any] = field(repr=False)
    replaced: UUID | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a device measured; `actual` is empty when it did not say."""

    device_id: UUID
    epoch: UUID
    values: Mapping[str, Any]
    actual: str = ""


@transaction.atomic
def links_open(server_id: UUID, openings: Sequence[Opening]) -> list[Welcome | None]:
    """Write links down, each in place of the device's last; None for a device that is not there any more."""
    last = {opening.device_id: opening for opening in openings}
    # Device first, link second: the order every writer of both keeps.
    there = set(locked(Device.objects.filter(pk__in=list(last)).order_by("pk")).values_list("pk", flat=True))
    before = dict(Link.objects.filter(device_id__in=there).values_list("device_id", "epoch"))
    at = now()
    _server_alive(server_id, at)
    rows = [
        Link(
            device_id=device_id,
            server_id=server_id,
            epoch=opening.epoch,
            key_digest=opening.key_digest,
            opened_at=at,
            address=opening.address,
            agent=opening.agent,
            boot_id=opening.boot_id,
            capabilities=list(opening.capabilities),
        )
        for device_id, opening in last.items()
        if device_id in there
    ]
    Link.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["device"], update_fields=[*_fields(_WRITTEN)]
    )
    Device.objects.filter(pk__in=there).update(last_seen=at)
    answers: dict[UUID, dict[str, Any]] = {device_id: {} for device_id in there}
    publish(LinksOpened(tuple(o for o in last.values() if o.device_id in there), answers))
    return [
        Welcome(
            answers[opening.device_id],
            # An earlier opening of the same device in this very batch was never written.
            before.get(opening.device_id) if last[opening.device_id] is opening else opening.epoch,
        )
        if opening.device_id in there
        else None
        for opening in openings
    ]


def _fields(columns: Sequence[str]) -> list[str]:
    return [name.removesuffix("_id") if name == "server_id" else name for name in columns]


def _server_alive(server_id: UUID, at: Any) -> None:
    LinkServer.objects.bulk_create(
        [LinkServer(id=server_id, started_at=at, beat_at=at)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["beat_at"],
    )


@transaction.atomic
def links_close(epochs: Sequence[UUID]) -> int:
    """Take links away that are still the devices' current ones; returns how many."""
    devices = locked(Device.objects.filter(link__epoch__in=list(epochs)).order_by("pk"))
    return _closed(list(devices.values_list("pk", flat=True)), Link.objects.filter(epoch__in=list(epochs)))


def _closed(device_ids: list[UUID], links: Any) -> int:
    """Delete the links of devices that are locked; their devices are gone from this moment on."""
    gone = list(links.filter(device_id__in=device_ids).values_list("device_id", flat=True))
    if gone:
        Link.objects.filter(device_id__in=gone).delete()
        at = now()
        Device.objects.filter(pk__in=gone).update(last_seen=at, unlinked_at=at)
        publish(LinksClosed(tuple(gone)))
    return len(gone)


def server_beat(server_id: UUID) -> bool:
    """Say that a process lives; False when it was given up, or holds nothing written yet."""
    return bool(LinkServer.objects.filter(pk=server_id).update(beat_at=now()))


@transaction.atomic
def server_close(server_id: UUID) -> int:
    """Take away a process with all its links; returns how many."""
    devices = locked(Device.objects.filter(link__server_id=server_id).order_by("pk"))
    count = _closed(list(devices.values_list("pk", flat=True)), Link.objects.filter(server_id=server_id))
    LinkServer.objects.filter(pk=server_id, links__isnull=True).delete()
    return count


def servers_sweep() -> int:
    """Give up processes that do not beat any more; returns how many links were lost with them."""
    silent = LinkServer.objects.filter(beat_at__lt=now() - timedelta(seconds=DEAD_SECONDS))
    return sum(server_close(server_id) for server_id in silent.values_list("pk", flat=True))


def seen(device_ids: Sequence[UUID]) -> None:
    """Stamp linked devices that were heard as seen now."""
    at = now()
    for start in range(0, len(device_ids), 500):
        Device.objects.filter(pk__in=device_ids[start : start + 500]).update(last_seen=at)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the database thinks of a process's links: the current epochs, and the devices not served any more."""

    epochs: Mapping[UUID, UUID]
    unserved: frozenset[UUID]


def verdicts(server_id: UUID) -> Verdicts:
    """Return which links of a process stand (two queries)."""
    epochs = dict(Link.objects.filter(server_id=server_id).values_list("device_id", "epoch"))
    if not epochs:
        return Verdicts({}, frozenset())
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT l.device_id FROM {door().source} "  # noqa: S608 - constants of our own
            f"JOIN devices_link l ON l.device_id = {door().key} "
            f"WHERE l.server_id = %s AND (l.key_digest <> d.key_digest OR {door().unserved})",
            [uuid_parameter(server_id)],
        )
        rows = cursor.fetchall()
    return Verdicts(epochs, frozenset(found for (raw,) in rows if (found := uuid_value(raw)) is not None))


@transaction.atomic
def telemetry_write(items: Sequence[Telemetry]) -> list[None]:
    """Keep the latest measurements of devices, and tell what is on them."""
    last = {item.device_id: item for item in items}
    ids = locked(Link.objects.filter(device_id__in=list(last)).order_by("pk")).values_list("pk", "epoch")
    current = [last[device_id] for device_id, epoch in ids if last[device_id].epoch == epoch]
    at = now()
    bulk_set(Link, ["telemetry", "telemetry_at"], [(item.device_id, [item.values, at]) for item in current])
    digests = {item.device_id: item.actual for item in current if item.actual}
    if digests:
        publish(DevicesMeasured(digests))
    return [None] * len(items)
