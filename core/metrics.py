"""Numbers about this process and this installation, kept where they cost next to nothing.

Counting is an addition in a dictionary of the counting thread: no lock, no allocation that stays. Whoever scrapes adds
the threads up; what a thread counted outlives it. Gauges are callables that apps register in their `wiring.py`; they
are asked at a scrape, at most every CACHE_SECONDS. Invariant: every label value comes from a fixed set.
"""

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import RedisError

from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CACHE_SECONDS = 5.0
WAIT_SECONDS = 2.0
METHODS = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT")}
REQUESTS, POLLS = "muster_http_requests", "muster_agent_requests"
REVISIONS, RECOMPUTED = "muster_revisions_created", "muster_configurations_computed"
SIGN_IN_FAILURES, WEBHOOK_ATTEMPTS = "muster_sign_in_failures", "muster_webhook_attempts"
READ_ERRORS, LINK_FRAMES = "muster_gauge_errors", "muster_link_frames"
DURATION, RECOMPUTE = "muster_http_request_duration_seconds", "muster_recompute_seconds"
UNREADABLE: tuple[type[Exception], ...] = (*DATABASE_ERRORS, RedisError, OSError)
Values = Mapping[tuple[str, ...], float]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number, or one per combination of `labels`, that `read` returns by label values."""

    name: str
    documentation: str
    read: Callable[[], Values]
    labels: tuple[str, ...] = ()


class Cell:
    """What one thread has counted: `counts` by (name, *labels); as buckets and a sum, `times` by (name, *labels) and
    `requests` by (dialect, method, status, endpoint).
    """

    __slots__ = ("counts", "requests", "times")

    def __init__(self) -> None:
        self.counts: dict[Key, float] = {}
        self.times: dict[Key, list[float]] = {}
        self.requests: dict[Key, list[float]] = {}

    def merge(self, other: "Cell") -> None:
        """Add what another cell holds, whose thread may go on counting: each copy is atomic."""
        for key, value in dict(other.counts).items():
            self.counts[key] = self.counts.get(key, 0) + value
        for mine, others in ((self.times, other.times), (self.requests, other.requests)):
            for key, slots in dict(others).items():
                own = mine.get(key)
                mine[key] = [a + b for a, b in zip(own, slots, strict=True)] if own else list(slots)


_local = threading.local()
_guard = threading.Lock()
_cells: list[tuple[threading.Thread, Cell]] = []
_past = Cell()
_gauges: dict[str, Gauge] = {}


def _cell() -> Cell:
    cell = _local.cell = Cell()
    _local.requests = cell.requests
    with _guard:
        _cells.append((threading.current_thread(), cell))
    return cell


def add(name: str, *labels: Any, amount: float = 1) -> None:
    """Count `amount` more of `name`."""
    try:
        counts = _local.cell.counts
    except AttributeError:
        counts = _cell().counts
    key = (name, *labels)
    counts[key] = counts.get(key, 0) + amount


def observe(name: str, seconds: float, *labels: Any) -> None:
    """Add one duration to the histogram `name`."""
    try:
        times = _local.cell.times
    except AttributeError:
        times = _cell().times
    key = (name, *labels)
    slots = times.get(key)
    if slots is None:
        slots = times[key] = _empty()
    slots[bisect_left(BOUNDS, seconds)] += 1
    slots[-1] += seconds


def request(dialect: str, method: str, status: int, seconds: float, endpoint: str = "") -> None:
    """Count one answered request of a dialect, of agents also by endpoint, and how long it took."""
    try:
        slots = _local.requests[dialect, method, status, endpoint]
    except (AttributeError, KeyError):
        slots = _request_slots(dialect, METHODS.get(method, "OTHER"), status, endpoint)
    slots[bisect_left(BOUNDS, seconds)] += 1
    slots[-1] += seconds


def _request_slots(*key: Any) -> list[float]:
    """Return the slots of a request that this thread has not counted under its own name before."""
    try:
        requests = _local.requests
    except AttributeError:
        requests = _cell().requests
    slots: list[float] = requests.setdefault(key, _empty())
    return slots


def _empty() -> list[float]:
    return [0.0] * (len(BOUNDS) + 2)


def counted() -> Cell:
    """Return everything that all threads of this process have counted so far."""
    with _guard:
        # Who is dead counts no more: what it counted moves to the past, and its dictionary goes.
        for entry in [entry for entry in _cells if not entry[0].is_alive()]:
            _past.merge(entry[1])
            _cells.remove(entry)
        total = Cell()
        total.merge(_past)
        for _, cell in _cells:
            total.merge(cell)
        return total


def gauge(name: str, documentation: str, read: Callable[[], Values], *, labels: tuple[str, ...] = ()) -> None:
    """Register a gauge; the same name again replaces it. `read` may ask the database, by an index."""
    _gauges[name] = Gauge(name, documentation, read, labels)
    _readings.forget()


class Readings:
    """The registered gauges as they were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: list[tuple[Gauge, Values]] = []
        self._stands_until = 0.0

    def forget(self) -> None:
        """Read again at the next scrape."""
        self._stands_until = 0.0

    def take(self) -> list[tuple[Gauge, Values]]:
        """Return every gauge that can be read with its values.

        While another scrape reads, and a database that hangs keeps it doing so, the last values have to do.
        """
        if time.monotonic() < self._stands_until or not self._lock.acquire(timeout=WAIT_SECONDS):
            return self._read
        try:
            if time.monotonic() >= self._stands_until:
                self._read = [taken for one in list(_gauges.values()) if (taken := _taken(one))]
                self._stands_until = time.monotonic() + CACHE_SECONDS
            return self._read
        finally:
            self._lock.release()


def _taken(one: Gauge) -> tuple[Gauge, Values] | None:
    try:
        return one, one.read()
    except UNREADABLE as error:
        logger.warning("the gauge %s cannot be read: %s", one.name, type(error).__name__)
        add(READ_ERRORS, one.name)
        return None


_readings = Readings()


def readings() -> list[tuple[Gauge, Values]]:
    """Return the gauges with their values, at most CACHE_SECONDS old."""
    return _readings.take()


def forget_readings() -> None:
    """Read the gauges anew at the next scrape."""
    _readings.forget()
