"""The status machine of a configuration (spec section 2.3): one table, one function that moves.

A move is a conditional UPDATE, so two writers cannot both believe they made it.
"""

from typing import Any

from django.db.models import QuerySet

from config_merge.models import Config, Status

TRANSITIONS: dict[str, frozenset[str]] = {
    Status.MODIFIED: frozenset({Status.MODIFIED, Status.APPLIED, Status.ERROR, Status.DEACTIVATING}),
    Status.APPLIED: frozenset({Status.APPLIED, Status.MODIFIED, Status.ERROR, Status.DEACTIVATING}),
    Status.ERROR: frozenset({Status.ERROR, Status.APPLIED, Status.MODIFIED, Status.DEACTIVATING}),
    Status.DEACTIVATING: frozenset({Status.DEACTIVATED, Status.MODIFIED, Status.APPLIED}),
    Status.DEACTIVATED: frozenset({Status.MODIFIED, Status.APPLIED}),
}
ERROR_REASON_MAX = 1024
TRUNCATED = "\n[truncated]"
DEFAULT_REASON = "The device gave no reason."


def sources_of(target: str) -> list[str]:
    """Return the statuses from which `target` may be reached."""
    return [source for source, targets in TRANSITIONS.items() if target in targets]


def move(configs: QuerySet[Config], to: str, **fields: Any) -> int:
    """Move every configuration of the queryset that may reach `to`; returns how many moved.

    Other columns to write in the same statement come as `fields`; leaving `error` clears its reason.
    """
    fields.setdefault("error_reason", "")
    return configs.filter(status__in=sources_of(to)).update(status=to, **fields)


def after_report(current: str, reported: str) -> str:
    """Return the status after a device reported `applied` or `error`.

    >>> after_report("deactivating", "error"), after_report("modified", "applied")
    ('deactivated', 'applied')
    """
    return Status.DEACTIVATED.value if current == Status.DEACTIVATING else reported


def after_computation(current: str, *, checksum: str, previous: str, applied: str) -> str:
    """Return the status once a rendering's checksum is known.

    Nothing moves when the checksum stays. A new one means the device has to fetch it, unless it is the one the
    device already confirmed: then there is nothing left to do, and the device will never report it again.
    """
    if checksum == previous or current in (Status.DEACTIVATING, Status.DEACTIVATED):
        return current
    return Status.APPLIED.value if checksum == applied else Status.MODIFIED.value


def clipped_reason(reason: str) -> str:
    """Return an error reason that fits its column, marked when something was cut off."""
    reason = reason.strip() or DEFAULT_REASON
    if len(reason) <= ERROR_REASON_MAX:
        return reason
    return reason[: ERROR_REASON_MAX - len(TRUNCATED)] + TRUNCATED
