"""Writing to tracks: one statement an entry, whoever else writes at the same time.

Invariant: an append shifts the columns of one row, so entries are neither lost nor doubled, never more than ten, and
their times rise: an entry that was made before the newest one is dated a microsecond after it (docs/adr/0013).
"""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from core.db import greatest, time_parameter, uuid_parameter
from tracking.models import ENTRIES, TrackedDevice
from tracking.queries import active_since

# Of 256 characters an entry has 26 for the time and one for the blank after it (seeds/001, "track").
TEXT_LENGTH = 229
TABLE = "tracking_trackeddevice"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PRUNED_AT_ONCE = 1000
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}")


def text_of(info: str) -> str:
    r"""Return what is kept of a text: control characters are blanks, half characters marks, and its end is cut off.

    >>> text_of("a\tb\x00"), len(text_of("x" * 500))
    ('a b ', 229)
    """
    return _SURROGATE.sub("\ufffd", _UNWRITABLE.sub(" ", info[:TEXT_LENGTH]))


def mac_of(device: str) -> str:
    """Return a device's name as a MAC address in lower case with colons, empty when it is none.

    >>> mac_of("B8-27-EB-00-00-01"), mac_of("default")
    ('b8:27:eb:00:00:01', '')
    """
    return device.replace("-", ":").lower() if _MAC.fullmatch(device) else ""


class Entry(NamedTuple):
    """What is appended to the track of a device under a key; the text is written as it is (`text_of`)."""

    api_key_id: UUID
    organization_id: UUID
    device: str
    text: str


@lru_cache(maxsize=256)
def _append_sql(count: int) -> str:
    """Return the statement for so many devices; its parameters are those of `_parameters`, one after the other."""
    last = ENTRIES - 1
    shifted = ", ".join(
        f"t{slot} = {TABLE}.t{slot + 1}, e{slot} = {TABLE}.e{slot + 1}" for slot in range(last)
    )
    empty = ", ".join(f"e{slot}" for slot in range(last))
    blanks = ", ".join(["''"] * last)
    row = f"({', '.join(['%s'] * 10)}, 1, {blanks})"
    newest = greatest(f"{TABLE}.t{last} + 1", f"excluded.t{last}")
    seen = greatest(f"{TABLE}.last_at", "excluded.last_at")
    return (
        f"INSERT INTO {TABLE} (id, created, modified, api_key_id, organization_id, device, mac_address, last_at, "  # noqa: S608
        f"t{last}, e{last}, seq, {empty}) VALUES {', '.join([row] * count)} "
        f"ON CONFLICT (api_key_id, device) DO UPDATE SET {shifted}, t{last} = {newest}, e{last} = excluded.e{last}, "
        f"last_at = {seen}, modified = {seen}, seq = {TABLE}.seq + 1"
    )


def append(entries: Sequence[Entry], *, at: datetime, returning: str = "") -> list[tuple[Any, ...]]:
    """Append to the tracks of devices, each of them named once, and note that they were there. One statement.

    Rows are locked in the order of `entries`. `returning` is SQL, trusted, about a row of TABLE: a caller that needs
    something else of the devices gets it with the same statement, in no particular order.
    """
    stamp, micros = time_parameter(at), (at - EPOCH) // MICROSECOND
    parameters: list[Any] = []
    for entry in entries:
        parameters += (
            uuid_parameter(uuid.uuid4()), stamp, stamp, uuid_parameter(entry.api_key_id),
            uuid_parameter(entry.organization_id), entry.device, mac_of(entry.device), stamp, micros, entry.text,
        )  # fmt: skip
    sql = _append_sql(len(entries))
    with connection.cursor() as cursor:
        if not returning:
            cursor.execute(sql, parameters)
            return []
        cursor.execute(f"{sql} RETURNING {returning}", parameters)
        return list(cursor.fetchall())


def track(*, api_key_id: UUID, organization_id: UUID, device: str, info: str, at: datetime) -> None:
    """Append what a device says of itself."""
    append([Entry(api_key_id, organization_id, device, text_of(info))], at=at)


def prune(*, at: datetime) -> int:
    """Forget devices that are active no more; returns how many."""
    removed = 0
    old = TrackedDevice.objects.filter(last_at__lt=active_since(at)).order_by()
    while chunk := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        # Who has come back meanwhile stays.
        gone = old.filter(pk__in=chunk).delete()[0]
        removed += gone
        if not gone:
            break
    return removed
