"""What devices have said, and which were heard of lately."""

import calendar
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from tenancy.queries import restrict
from tracking.models import ENTRIES, TrackedDevice

ACTIVE_MONTHS = 3


def active_since(at: datetime) -> datetime:
    """Return the time three months of the calendar earlier; a day the month does not have is its last.

    >>> active_since(datetime(2026, 5, 31, 12)), active_since(datetime(2026, 1, 15))
    (datetime.datetime(2026, 2, 28, 12, 0), datetime.datetime(2025, 10, 15, 0, 0))
    """
    months = at.year * 12 + at.month - 1 - ACTIVE_MONTHS
    year, month = divmod(months, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


def tracked_devices_visible_to(user: Any) -> QuerySet[TrackedDevice]:
    """Return the tracked devices of the organizations `user` belongs to."""
    return restrict(TrackedDevice.objects.select_related("organization", "api_key"), user)


def timeline_of(row: TrackedDevice) -> list[tuple[datetime, str]]:
    """Return a device's entries with their times, oldest first."""
    pairs = ((getattr(row, f"t{slot}"), getattr(row, f"e{slot}")) for slot in range(ENTRIES))
    return [(_time(stamp), text) for stamp, text in pairs if stamp is not None]


def _time(stamp: int) -> datetime:
    from_epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return from_epoch + timedelta(microseconds=stamp)


def entries_of(row: TrackedDevice) -> list[str]:
    """Return a device's entries as they are served, oldest first: `2018-08-05 03:23:37.625624 BOOT GET`."""
    return [f"{at:%Y-%m-%d %H:%M:%S.%f} {text}" for at, text in timeline_of(row)]


def entries(*, api_key_id: UUID, device: str) -> list[str]:
    """Return the entries of a device under a key; an unknown one has none."""
    row = TrackedDevice.objects.filter(api_key_id=api_key_id, device=device).first()
    return entries_of(row) if row is not None else []


def active_devices(*, api_key_id: UUID, at: datetime) -> list[str]:
    """Return the ids of the devices that were heard of within three months, sorted."""
    rows = TrackedDevice.objects.filter(api_key_id=api_key_id, last_at__gte=active_since(at))
    return sorted(rows.order_by().values_list("device", flat=True))
