"""Sliding windows: so many calls in any so many seconds, counted for whoever the caller names.

The log of calls is kept in Redis where there is one, so that all processes count together, else in this process.
A counter that cannot be reached admits: it guards against floods, it is no lock.
"""

import logging
import math
import time
from functools import lru_cache

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _limiter() -> MovingWindowRateLimiter:
    url = settings.MUSTER.redis_url
    return MovingWindowRateLimiter(RedisStorage(url, key_prefix="muster-rates") if url else MemoryStorage())


def per_seconds(amount: int, seconds: int) -> RateLimitItem:
    """Return the limit of `amount` calls in any `seconds`."""
    return RateLimitItemPerSecond(amount, seconds)


def wait_for(limit: RateLimitItem, *who: str) -> int:
    """Count a call; return 0 when it is admitted, else after how many whole seconds one will be. Refusals don't count.

    `who` names the counter, such as a dialect and an address.
    """
    try:
        if _limiter().hit(limit, *who):
            return 0
        free_at = _limiter().get_window_stats(limit, *who).reset_time
    except RedisError as error:
        logger.warning("calls cannot be counted: %s", type(error).__name__)
        return 0
    return max(1, math.ceil(free_at - time.time()))


def forget() -> None:
    """Forget all calls that were counted."""
    _limiter().storage.reset()
