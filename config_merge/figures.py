"""The fleet in numbers: what the dashboard draws, for a set of organizations.

Invariant: every number is of devices in `organizations` (None: all, which only superusers may ask for), and comes from
a fixed number of grouped queries whose answers are bounded, however many devices there are. The counts of an instant
(`standing`) are cheap enough to ask for again and again; what changes slowly (`make_up`) is asked for less often.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Count, F, Model, Q, QuerySet
from django.db.models.functions import TruncHour

from config_merge.models import Config, ConfigRevision
from devices.models import Device
from devices.queries import with_presence

Organizations = frozenset[UUID] | None
M = TypeVar("M", bound=Model)

MOST_KINDS = 6
HOURS = 24


@dataclass(frozen=True, slots=True)
class Share:
    """How many devices have a value; `key` is what the device list filters by, None for all the others."""

    label: str
    key: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in an hour: devices that registered or were added, and configurations that were rendered."""

    start: datetime
    registered: int
    rendered: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How things are at an instant. `seen` has disjoint parts: online, within an hour, a day, longer ago, never."""

    total: int
    active: int
    online: int
    seen: tuple[int, int, int, int, int]
    statuses: tuple[tuple[str, int], ...]
    stale: int
    problems: int


@dataclass(frozen=True, slots=True)
class MakeUp:
    """What the fleet consists of, and what happened lately."""

    models: tuple[Share, ...]
    systems: tuple[Share, ...]
    groups: tuple[Share, ...]
    hours: tuple[Hour, ...]


def _within(queryset: QuerySet[M], organizations: Organizations, *, path: str) -> QuerySet[M]:
    queryset = queryset.order_by()
    return queryset if organizations is None else queryset.filter(**{f"{path}__in": list(organizations)})


def standing(organizations: Organizations, *, at: datetime) -> Standing:
    """Return the counts of now (two queries). Deactivated devices are in `total` and `statuses` only."""
    in_service = Q(is_deactivated=False)
    away = in_service & Q(is_online=False)
    hour, day = at - timedelta(hours=1), at - timedelta(days=1)
    devices = _within(Device.objects.all(), organizations, path="organization")
    counted = with_presence(devices).aggregate(
        total=Count("pk"),
        active=Count("pk", filter=in_service),
        online=Count("pk", filter=in_service & Q(is_online=True)),
        hour=Count("pk", filter=away & Q(last_seen__gte=hour)),
        day=Count("pk", filter=away & Q(last_seen__gte=day, last_seen__lt=hour)),
        older=Count("pk", filter=away & Q(last_seen__lt=day)),
        never=Count("pk", filter=away & Q(last_seen__isnull=True)),
    )
    rows = list(
        _within(Config.objects.all(), organizations, path="device__organization")
        .values("status")
        .annotate(
            total=Count("pk"),
            stale=Count("pk", filter=Q(generation__gt=F("computed_generation"))),
            problems=Count("pk", filter=~Q(problem="")),
        )
        .order_by("status")
    )
    return Standing(
        total=counted["total"],
        active=counted["active"],
        online=counted["online"],
        seen=(counted["online"], counted["hour"], counted["day"], counted["older"], counted["never"]),
        statuses=tuple((row["status"], row["total"]) for row in rows),
        stale=sum(row["stale"] for row in rows),
        problems=sum(row["problems"] for row in rows),
    )


def make_up(organizations: Organizations, *, at: datetime, total: int) -> MakeUp:
    """Return what the fleet of `total` devices is made of (three queries) and a day's activity (two)."""
    devices = _within(Device.objects.all(), organizations, path="organization")
    groups = (
        devices.values("group_id", "group__name")
        .annotate(count=Count("pk"))
        .order_by("-count", "group__name", "group_id")[:MOST_KINDS]
    )
    named = [
        Share(row["group__name"] or "No group", str(row["group_id"]) if row["group_id"] else "", row["count"])
        for row in groups
    ]
    return MakeUp(
        models=_shares(_kinds(devices, "model"), total=total),
        systems=_shares(_kinds(devices, "os"), total=total),
        groups=_shares(named, total=total),
        hours=_hours(organizations, devices, at=at),
    )


def _kinds(devices: QuerySet[Device], field: str) -> list[Share]:
    rows = devices.values(field).annotate(count=Count("pk")).order_by("-count", field)[:MOST_KINDS]
    return [Share(row[field] or "Unknown", row[field], row["count"]) for row in rows]


def _shares(named: Iterable[Share], *, total: int) -> tuple[Share, ...]:
    """Add what is not among the first; counts of other instants can disagree by a few devices."""
    shares = tuple(named)
    others = total - sum(share.count for share in shares)
    return (*shares, Share("Others", None, others)) if others > 0 and len(shares) == MOST_KINDS else shares


def _hours(organizations: Organizations, devices: QuerySet[Device], *, at: datetime) -> tuple[Hour, ...]:
    last = at.replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=HOURS - 1)
    revisions = _within(ConfigRevision.objects.all(), organizations, path="config__device__organization")
    registered = _by_hour(devices.filter(created__gte=first))
    rendered = _by_hour(revisions.filter(created__gte=first))
    starts = (first + timedelta(hours=number) for number in range(HOURS))
    return tuple(Hour(start, registered.get(start, 0), rendered.get(start, 0)) for start in starts)


def _by_hour(rows: QuerySet[Any]) -> dict[datetime, int]:
    counted = rows.annotate(hour=TruncHour("created")).values("hour").annotate(count=Count("pk"))
    return {row["hour"]: row["count"] for row in counted.order_by("hour")}
