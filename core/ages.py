"""How long ago something was, in words short enough for a list."""

from datetime import datetime

UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"))


def ago(moment: datetime, *, at: datetime) -> str:
    """Return how long before `at` the moment was, in its largest unit.

    >>> from datetime import timedelta, timezone
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    >>> ago(noon, at=noon + timedelta(hours=3)), ago(noon, at=noon)
    ('3 h ago', 'just now')
    """
    seconds = int((at - moment).total_seconds())
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"
