"""Whether Redis answers: who finds that it does not tells everybody in this process, so that nobody waits for it again.

Invariant: while it is away, one caller in `RETRY` seconds asks it, and waits for it no longer than `SECONDS` twice (to
connect, to be answered); the others do without it at once.
"""

import logging
import threading
import time
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)
SECONDS = 0.5
RETRY = 10.0


def connection_options() -> dict[str, Any]:
    """Return options of a Redis client that gives up soon, and does not try again by itself."""
    return {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "retry": Retry(NoBackoff(), 0)}


class Outage:
    """State: whether Redis is away, and when somebody asks it again."""

    def __init__(self, *, retry: float = RETRY) -> None:
        self._retry = retry
        self._again: float | None = None
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        """Tell whether Redis is away and it is not yet time to ask it again."""
        again = self._again
        return again is not None and time.monotonic() < again

    def may_ask(self) -> bool:
        """Tell whether the caller should ask Redis: everybody while it is there, else one of them when it is time."""
        if self._again is None:
            return True
        with self._lock:
            again, moment = self._again, time.monotonic()
            if again is not None:
                if moment < again:
                    return False
                self._again = moment + self._retry
            return True

    def failed(self, error: Exception) -> None:
        """Note that Redis did not answer."""
        with self._lock:
            is_news, self._again = self._again is None, time.monotonic() + self._retry
        if is_news:
            logger.warning("Redis does not answer, this process does without it: %s", type(error).__name__)

    def answered(self) -> None:
        """Note that it did."""
        if self._again is None:
            return
        with self._lock:
            is_news, self._again = self._again is not None, None
        if is_news:
            logger.warning("Redis answers again")


redis = Outage()
