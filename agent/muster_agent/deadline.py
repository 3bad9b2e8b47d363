"""Until when the controller must have been reached: a time that survives a kill and a reboot.

Invariant: every boot that looks at it leaves less of it, so no row of reboots keeps an unproved configuration.
Wall clocks are not used: a device without a battery wakes up in 1970. Pure.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """Now: which boot this is, and the seconds since it began."""

    boot: str
    seconds: float


@dataclass(frozen=True)
class Deadline:
    """Second `at` of boot `boot`; `left` is what remained when it was written down."""

    boot: str
    at: float
    left: float

    def remaining(self, now: Moment) -> float:
        """Seconds from `now`; zero or less when it has passed. After a reboot the time while off is not counted.

        >>> Deadline(boot="a", at=130.0, left=120.0).remaining(Moment(boot="a", seconds=100.0))
        30.0
        >>> Deadline(boot="a", at=130.0, left=120.0).remaining(Moment(boot="b", seconds=45.0))
        75.0
        """
        return (self.at if now.boot == self.boot else self.left) - now.seconds

    def carried(self, now: Moment) -> "Deadline":
        """The same deadline in the words of this boot, to be written down again.

        >>> Deadline(boot="a", at=130.0, left=120.0).carried(Moment(boot="b", seconds=45.0))
        Deadline(boot='b', at=120.0, left=75.0)
        """
        left = self.remaining(now)
        return Deadline(boot=now.boot, at=now.seconds + left, left=left)


def deadline_in(seconds: float, *, now: Moment) -> Deadline:
    """`seconds` from `now`."""
    return Deadline(boot=now.boot, at=now.seconds + seconds, left=seconds)
