"""Sliding windows: so many calls in any so many seconds, counted for whoever the caller names.

The log of calls is kept in Redis where there is one, so that all processes count together, else in this process, as it
is while Redis does not answer. It guards against floods and is no lock.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from functools import lru_cache

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage, Storage
from limits.storage.base import MovingWindowSupport
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from core import outage

# How many names this process keeps calls of.
MOST_NAMES = 10_000


class NearStorage(Storage, MovingWindowSupport):
    """The calls of a bounded number of names, in this process: where there are too many, the quietest is forgotten.

    The library's own keeps as many names as there are, and a thread that looks at all of them.
    """

    STORAGE_SCHEME = ["near"]

    def __init__(self, *, most: int = MOST_NAMES) -> None:
        super().__init__()
        self._most = most
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing is raised."""
        return ValueError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note calls, unless that were more than the limit; tells which."""
        with self._lock:
            moment = time.time()
            calls = self._living(key, moment, expiry)
            if len(calls) + amount > limit:
                return False
            self._note(key, calls, moment + expiry, amount)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest call that still counts was made (now when there is none), and how many do."""
        with self._lock:
            moment = time.time()
            calls = self._living(key, moment, expiry)
            return (calls[0] - expiry if calls else moment), len(calls)

    def _note(self, key: str, calls: deque[float], end: float, amount: int) -> None:
        """Keep calls of a name by when they end to count."""
        calls.extend([end] * amount)
        self._calls[key] = calls
        self._calls.move_to_end(key)
        while len(self._calls) > self._most:
            self._calls.popitem(last=False)

    def _living(self, key: str, moment: float, expiry: float) -> deque[float]:
        calls = self._calls.get(key) or deque()
        if calls and calls[-1] > moment + expiry:
            # The clock was set back; nobody shall wait for it to catch up.
            calls.clear()
        while calls and calls[0] <= moment:
            calls.popleft()
        return calls

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Note calls whatever their number; returns how many count now."""
        with self._lock:
            moment = time.time()
            calls = self._living(key, moment, expiry)
            self._note(key, calls, moment + expiry, amount)
            return len(calls)

    def get(self, key: str) -> int:
        """Return how many calls of a name count now."""
        with self._lock:
            return len(self._living(key, time.time(), math.inf))

    def get_expiry(self, key: str) -> float:
        """Return when the last call of a name ends to count (seconds since 1970); now when none does."""
        with self._lock:
            moment = time.time()
            calls = self._living(key, moment, math.inf)
            return calls[-1] if calls else moment

    def check(self) -> bool:
        """It is here."""
        return True

    def reset(self) -> int:
        """Forget all calls; returns of how many names."""
        with self._lock:
            count = len(self._calls)
            self._calls.clear()
            return count

    def clear(self, key: str) -> None:
        """Forget the calls of one name."""
        with self._lock:
            self._calls.pop(key, None)


@lru_cache(maxsize=1)
def _near() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(NearStorage())


@lru_cache(maxsize=1)
def _limiter() -> MovingWindowRateLimiter:
    """Return the one that counts for all processes; one process alone is all of them."""
    url = settings.MUSTER.redis_url
    if not url:
        return _near()
    options = outage.connection_options()
    return MovingWindowRateLimiter(RedisStorage(url, key_prefix="muster-rates", **options))


def per_seconds(amount: int, seconds: int) -> RateLimitItem:
    """Return the limit of `amount` calls in any `seconds`."""
    return RateLimitItemPerSecond(amount, seconds)


def wait_for(limit: RateLimitItem, *who: str) -> int:
    """Count a call; return 0 when it is admitted, else after how many whole seconds one will be. Refusals don't count.

    `who` names the counter, such as a dialect and an address.
    """
    limiter = _limiter()
    if limiter is not _near() and outage.redis.may_ask():
        try:
            wait = _wait(limiter, limit, *who)
        except RedisError as error:
            outage.redis.failed(error)
        else:
            outage.redis.answered()
            return wait
    return wait_here(limit, *who)


def wait_here(limit: RateLimitItem, *who: str) -> int:
    """Do the same within this process, for what is asked so often that others need not know of it."""
    return _wait(_near(), limit, *who)


def _wait(limiter: MovingWindowRateLimiter, limit: RateLimitItem, *who: str) -> int:
    if limiter.hit(limit, *who):
        return 0
    free_at = limiter.get_window_stats(limit, *who).reset_time
    return max(1, math.ceil(free_at - time.time()))


def forget_here() -> None:
    """Forget the calls that this process has counted by itself."""
    _near().storage.reset()


def forget() -> None:
    """Forget all calls that were counted."""
    forget_here()
    _limiter().storage.reset()
