"""So many calls an hour or a month, counted for good: in Redis where there is one, else in the database.

Windows are those of the calendar in UTC, and only what is admitted counts. Invariant: of any number of calls at once,
in any number of processes, exactly as many are admitted as the limit allows (docs/adr/0013). A counter belongs to one
window by its name, so that nothing is ever set back; what is over is removed by `prune`. While Redis does not answer,
the database counts in its place, from nothing: a window in which that happens admits its limit twice at most.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error, connection
from django.db.models import F
from limits import RateLimitItem
from limits.storage import RedisStorage, Storage
from limits.strategies import RateLimiter
from limits.util import WindowStats
from redis.exceptions import RedisError

from core import outage
from core.clock import now
from core.db import greatest, least, rows_of, time_parameter
from core.models import Counter

# Machines whose clocks differ a little must not lose a window that is not over for all of them.
GRACE = timedelta(minutes=5)


class Window(NamedTuple):
    """From `start` to before `end`, aware, UTC."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """What tells it from other windows in a counter's name."""
        return self.start.strftime("%Y%m%dT%H")

    def seconds_left(self, at: datetime) -> int:
        """Return after how many whole seconds the window is over, at least one."""
        return max(1, -((at - self.end) // timedelta(seconds=1)))


def hour_of(at: datetime) -> Window:
    """Return the hour of the calendar that a time in UTC is in.

    >>> from datetime import UTC
    >>> hour_of(datetime(2026, 1, 31, 23, 59, tzinfo=UTC)).end.isoformat()
    '2026-02-01T00:00:00+00:00'
    """
    start = at.replace(minute=0, second=0, microsecond=0)
    return Window(start, start + timedelta(hours=1))


def month_of(at: datetime) -> Window:
    """Return the month of the calendar that a time in UTC is in.

    >>> from datetime import UTC
    >>> month_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)).end.isoformat()
    '2027-01-01T00:00:00+00:00'
    """
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Window(start, (start + timedelta(days=31)).replace(day=1))


def window_of(item: RateLimitItem, at: datetime) -> Window:
    """Return the window that a limit by the hour or the month counts in."""
    return month_of(at) if item.GRANULARITY.name == "month" else hour_of(at)


class Taking(NamedTuple):
    """So many calls that are wanted of a counter by its name, of the so many it may have."""

    name: str
    allowed: int
    wanted: int


def taking_sql(*, name: str, wanted: str, allowed: str, expires: str, source: str, returning: str) -> str:
    """Return the statement that takes of limits as much as is wanted and left (SQL fragments, trusted).

    `source` is the FROM and WHERE of the caller, each row of which is one limit, named once; they are locked in its
    order. What is returned are the limits of which something was granted, `core_counter.granted` of it.
    """
    first = least(wanted, allowed)
    given = least("excluded.granted", greatest("excluded.allowed - core_counter.used", "0"))
    return (
        "INSERT INTO core_counter (name, used, granted, allowed, expires_at) "
        f"SELECT {name}, {first}, {first}, {allowed}, {expires} {source} "
        f"ON CONFLICT (name) DO UPDATE SET used = core_counter.used + {given}, granted = {given}, "
        "allowed = excluded.allowed WHERE core_counter.used < excluded.allowed "
        f"RETURNING {returning}"
    )


class DatabaseStorage(Storage):
    """The storage that `limits` lacks: counters in Django's database, which outlive every process."""

    STORAGE_SCHEME = ["django"]

    @property
    def base_exceptions(self) -> type[Exception]:
        """What a database that fails raises."""
        return Error

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a counter, or take back what was added; returns what it is now."""
        if amount < 0:
            Counter.objects.filter(name=key, used__gte=-amount).update(used=F("used") + amount)
            return self.get(key)
        sql = (
            "INSERT INTO core_counter (name, used, granted, allowed, expires_at) VALUES (%s, %s, 0, 0, %s) "
            "ON CONFLICT (name) DO UPDATE SET used = core_counter.used + excluded.used RETURNING used"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [key, amount, time_parameter(now() + timedelta(seconds=expiry))])
            return int(cursor.fetchone()[0])

    def take_all(self, takings: Sequence[Taking], *, expires_at: datetime) -> list[int]:
        """Take of several counters, one after the other; returns how much of each."""
        return [self.take(*taking, expires_at=expires_at) for taking in takings]

    def take(self, key: str, allowed: int, wanted: int, *, expires_at: datetime) -> int:
        """Add as much of `wanted` as `allowed` leaves; returns how much that is."""
        sql = taking_sql(
            name="w.column1",
            wanted="w.column2",
            allowed="w.column3",
            expires="%s",
            source=f"FROM {rows_of(1, 3)} AS w WHERE w.column3 > 0",
            returning="core_counter.granted",
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [time_parameter(expires_at), key, wanted, allowed])
            row = cursor.fetchone()
        return int(row[0]) if row is not None else 0

    def get(self, key: str) -> int:
        """Return a counter, 0 for one that nobody used."""
        return Counter.objects.filter(name=key).values_list("used", flat=True).first() or 0

    def get_expiry(self, key: str) -> float:
        """Return when a counter expires, in seconds since 1970; now for one that is not there."""
        at = Counter.objects.filter(name=key).values_list("expires_at", flat=True).first()
        return (at or now()).timestamp()

    def check(self) -> bool:
        """Tell whether the database answers."""
        try:
            Counter.objects.exists()
        except Error:
            return False
        return True

    def reset(self) -> int:
        """Forget all counters; returns how many there were."""
        return Counter.objects.all().delete()[0]

    def clear(self, key: str) -> None:
        """Forget one counter."""
        Counter.objects.filter(name=key).delete()


# Of several counters in one round trip; what is refused writes nothing. The time to live is relative, so that it does
# not matter what time Redis thinks it is.
_TAKE = """
local granted = {}
for i, key in ipairs(KEYS) do
    local allowed, wanted = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local left = allowed - tonumber(redis.call('GET', key) or '0')
    granted[i] = math.max(0, math.min(wanted, left))
    if granted[i] > 0 then
        redis.call('INCRBY', key, granted[i])
        redis.call('EXPIRE', key, ARGV[1])
    end
end
return granted
"""


class RedisCounters(RedisStorage):
    """The library's storage in Redis, which also takes as much as is left."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._take = self.get_connection().register_script(_TAKE.encode())

    def take_all(self, takings: Sequence[Taking], *, seconds: int) -> list[int]:
        """Take of several counters, which live so long from now; returns how much of each. Raises RedisError."""
        names = [self.prefixed_key(taking.name) for taking in takings]
        amounts = [amount for taking in takings for amount in taking[1:]]
        return [int(granted) for granted in self._take(names, [seconds, *amounts])]


class Ask(NamedTuple):
    """So many calls that are wanted of a limit by whom."""

    item: RateLimitItem
    who: tuple[str, ...]
    wanted: int


class CalendarWindows(RateLimiter):
    """A strategy of `limits` whose windows are hours and months of the calendar; who is refused uses nothing up.

    A storage in Redis has the database beside it, for when it does not answer.
    """

    def __init__(
        self, storage: DatabaseStorage | RedisCounters, *, away: outage.Outage | None = None
    ) -> None:
        super().__init__(storage)
        self._away = away or outage.redis
        self._database = storage if isinstance(storage, DatabaseStorage) else DatabaseStorage()

    @property
    def is_in_database(self) -> bool:
        """Tell whether it is the database that counts now."""
        return self.storage is self._database or self._away.is_on

    def name(self, item: RateLimitItem, *identifiers: str, at: datetime) -> str:
        """Return the counter's name. The limit's amount is no part of it, so that it may change within a window."""
        return "/".join(("quota", *identifiers, window_of(item, at).name))

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Count a call; tells whether it is admitted."""
        return self.hit_at(now(), item, *identifiers, cost=cost)

    def hit_at(self, at: datetime, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Count a call made at a time, wholly or not at all."""
        (granted,), where = self._taken(at, [Ask(item, identifiers, cost)])
        if 0 < granted < cost:
            where.incr(self.name(item, *identifiers, at=at), 1, amount=-granted)
        return granted == cost

    def take_at(self, at: datetime, item: RateLimitItem, *identifiers: str, wanted: int) -> int:
        """Count as many of `wanted` calls as are left; returns how many."""
        return self.take_all_at(at, [Ask(item, identifiers, wanted)])[0]

    def take_all_at(self, at: datetime, asks: Sequence[Ask]) -> list[int]:
        """Do the same for several, whose windows end together, in one round trip where it is Redis that counts."""
        return self._taken(at, asks)[0] if asks else []

    def _taken(self, at: datetime, asks: Sequence[Ask]) -> tuple[list[int], Storage]:
        """Return how many calls were counted, and where."""
        takings = [Taking(self.name(ask.item, *ask.who, at=at), ask.item.amount, ask.wanted) for ask in asks]
        expires_at = window_of(asks[0].item, at).end + GRACE
        if isinstance(self.storage, RedisCounters) and self._away.may_ask():
            seconds = max(1, round((expires_at - at).total_seconds()))
            try:
                granted = self.storage.take_all(takings, seconds=seconds)
            except RedisError as error:
                self._away.failed(error)
            else:
                self._away.answered()
                return granted, self.storage
        return self._database.take_all(takings, expires_at=expires_at), self._database

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Tell whether a call would be admitted now."""
        return self.used(item, *identifiers, at=now()) + cost <= item.amount

    def used(self, item: RateLimitItem, *identifiers: str, at: datetime) -> int:
        """Return how much of the window is used up, where calls are counted now."""
        name = self.name(item, *identifiers, at=at)
        if isinstance(self.storage, RedisCounters) and self._away.may_ask():
            try:
                found = self.storage.get(name)
            except RedisError as error:
                self._away.failed(error)
            else:
                self._away.answered()
                return max(0, found)
        return max(0, self._database.get(name))

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """Return when the window is over, in seconds since 1970, and how much is left."""
        at = now()
        left = max(0, item.amount - self.used(item, *identifiers, at=at))
        return WindowStats(window_of(item, at).end.timestamp(), left)

    def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        """Forget what was counted in the present window."""
        self.storage.clear(self.name(item, *identifiers, at=now()))


@lru_cache(maxsize=1)
def windows() -> CalendarWindows:
    """Return the one that counts for all processes of this installation."""
    url = settings.MUSTER.redis_url
    if not url:
        return CalendarWindows(DatabaseStorage())
    options = outage.connection_options()
    return CalendarWindows(RedisCounters(url, key_prefix="muster-quotas", **options))


def in_database() -> bool:
    """Tell whether it is the database that counts now."""
    return windows().is_in_database


def prune() -> int:
    """Remove the database's counters of windows that are over; returns how many."""
    return Counter.objects.filter(expires_at__lt=now()).delete()[0]
