"""The dashboard's parts as they are now, computed once for all who look at the same organizations.

Invariant: however many people look, a process asks the database for the same numbers at most every two seconds, and
never spends more than a tenth of its time on it; it keeps no more than `MOST_KEPT` answers.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from config_merge.admin.charts import parts
from config_merge.figures import MakeUp, Organizations, Standing, make_up, standing
from core.clock import now
from tenancy.queries import organizations_visible_to

LIVE_PATH = "/ws/dashboard/"
EVERY_SECONDS = 2.0
SLOWLY_SECONDS = 15.0
MOST_KEPT = 256
# An answer that took a second is asked for again after ten.
REST = 10


@dataclass(slots=True)
class _Kept:
    value: Any
    until: float


class Answers:
    """The latest answer to each question, kept for a while that grows with what it cost."""

    def __init__(self, *, most: int = MOST_KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._asking: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, ask: Callable[[], Any], *, seconds: float) -> Any:
        """Return the kept answer, or ask; who comes meanwhile waits for the same one."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._clock() < kept.until:
                return kept.value
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._lock:
                kept = self._kept.get(key)
                if kept is not None and self._clock() < kept.until:
                    return kept.value
            begun = self._clock()
            value = ask()
            ended = self._clock()
            with self._lock:
                self._kept[key] = _Kept(value, ended + max(seconds, REST * (ended - begun)))
                self._kept.move_to_end(key)
                while len(self._kept) > self._most:
                    self._asking.pop(self._kept.popitem(last=False)[0], None)
            return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._asking.clear()


answers = Answers()


def _standing(organizations: Organizations) -> Standing:
    return standing(organizations, at=now())


def organizations_looked_at_by(user: Any) -> Organizations:
    """Return the organizations whose devices `user` may see; None for all of them."""
    if user.is_superuser and user.is_active:
        return None
    return frozenset(organizations_visible_to(user).values_list("pk", flat=True))


def current_parts(organizations: Organizations, *, fresh: bool = False) -> dict[str, str]:
    """Return the HTML of the dashboard's parts by name. `fresh`: not kept ones, for who just opened the page."""
    if fresh:
        counted = _standing(organizations)
        return parts(counted, make_up(organizations, at=now(), total=counted.total))
    counted = answers.get(
        ("standing", organizations), lambda: _standing(organizations), seconds=EVERY_SECONDS
    )
    # Another number of devices means other models and other hours, so it is another question.
    slow: MakeUp = answers.get(
        ("make-up", organizations, counted.total),
        lambda: make_up(organizations, at=now(), total=counted.total),
        seconds=SLOWLY_SECONDS,
    )
    return parts(counted, slow)
