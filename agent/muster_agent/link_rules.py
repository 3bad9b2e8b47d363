"""How long to wait before the link is dialled again. Source: docs/link-protocol.md, Closing.

Invariant: no ending of a link leads to a wait of nothing at all twice in a row. Chance is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass

from muster_agent.settings import Timing

TOO_LARGE, RESTARTING, REPLACED, NOT_UNDERSTOOD, NOT_SERVED = 1009, 1012, 4000, 4002, 4003
REFUSALS = (403, 404)
JITTER = 0.1

Uniform = Callable[[float, float], float]


@dataclass(frozen=True)
class Ending:
    """How a link ended: a close code, or the status its handshake was refused with, or neither.

    `lasted` counts from the answer to `hello`. `retry_after` is the controller's wish, in seconds.
    """

    reason: str
    code: int | None = None
    status: int | None = None
    retry_after: float = 0.0
    lasted: float = 0.0
    unsupported: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether the controller does not want this device, or does not speak this protocol."""
        return self.code == NOT_SERVED or self.status in REFUSALS or self.unsupported

    @property
    def is_silence(self) -> bool:
        """Whether nobody has answered, or no longer."""
        return self.code is None and self.status is None and not self.unsupported


class Redial:
    """Remembers how often it failed; `wait_after` says how long to wait this time."""

    def __init__(self, timing: Timing, *, uniform: Uniform) -> None:
        self._timing = timing
        self._uniform = uniform
        self._bound = timing.link_backoff_first

    def wait_after(self, ending: Ending) -> float:
        """Seconds until the next try."""
        timing = self._timing
        if ending.lasted >= timing.link_steady:
            self._bound = timing.link_backoff_first
        if ending.code == RESTARTING:
            return self._uniform(0.0, timing.link_restart_wait)
        if ending.code == REPLACED:
            return self._uniform(*timing.link_replaced_wait)
        if ending.is_refusal:
            return jittered(timing.link_refused_wait, uniform=self._uniform)
        return min(ending.retry_after, timing.link_refused_wait) + self._back_off()

    def begin_anew(self) -> float:
        """Seconds until the first try in a network that may be another one."""
        self._bound = self._timing.link_backoff_first
        return self._uniform(0.0, self._timing.link_restart_wait)

    def _back_off(self) -> float:
        low, most = self._timing.link_backoff
        wait = self._uniform(min(low, self._bound), self._bound)
        self._bound = min(self._bound * 2, most)
        return wait


def jittered(seconds: float, *, uniform: Uniform) -> float:
    """`seconds`, give or take a tenth."""
    return seconds * uniform(1.0 - JITTER, 1.0 + JITTER)


def retry_after(value: str) -> float:
    """The seconds of a Retry-After header; a date, or none at all, counts as 0.

    >>> retry_after("7"), retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), retry_after("")
    (7.0, 0.0, 0.0)
    """
    return float(value) if value.isascii() and value.isdigit() else 0.0
