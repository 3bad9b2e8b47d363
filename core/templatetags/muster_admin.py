"""Small filters of the admin pages.

Invariant: imports nothing of the admin, which is half loaded when this is read.
"""

from datetime import datetime

from django import template

from core.ages import ago
from core.clock import now

register = template.Library()


@register.filter
def ago_text(moment: datetime) -> str:
    """Return how long ago `moment` was."""
    return ago(moment, at=now())


@register.filter
def minus(value: int, other: int) -> int:
    """Return the difference.

    >>> minus(5, 2)
    3
    """
    return value - other


@register.filter
def percent_of(part: int, whole: int) -> str:
    """Return a share in whole per cent.

    >>> percent_of(1, 3), percent_of(0, 0)
    ('33 %', '0 %')
    """
    return f"{round(100 * part / whole) if whole else 0} %"
