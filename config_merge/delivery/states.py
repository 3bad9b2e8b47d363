"""The state machine of a configuration task: one table, one function that moves.

A move is a conditional UPDATE, so two writers cannot both believe they made it.
"""

from typing import Any, Final

from django.db.models import QuerySet

from config_merge.models import ConfigTask
from core.clock import now

State = ConfigTask.State

# `applied` can be reached from nearly everywhere: it needs nothing but the device's word that it has these bytes, and
# that may come late, by another way, or after we had given up.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    State.PENDING: frozenset(
        {State.SENT, State.APPLIED, State.FAILED, State.ROLLED_BACK, State.SUPERSEDED, State.EXPIRED, State.CANCELLED}
    ),
    State.SENT: frozenset(
        {
            State.PENDING, State.RUNNING, State.APPLIED, State.FAILED, State.ROLLED_BACK, State.SUPERSEDED,
            State.EXPIRED, State.CANCELLED,
        }
    ),
    State.RUNNING: frozenset(
        {State.PENDING, State.APPLIED, State.FAILED, State.ROLLED_BACK, State.SUPERSEDED, State.EXPIRED}
    ),
    State.FAILED: frozenset({State.APPLIED}),
    State.ROLLED_BACK: frozenset({State.APPLIED}),
    State.EXPIRED: frozenset({State.APPLIED, State.FAILED, State.ROLLED_BACK}),
    State.APPLIED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.CANCELLED: frozenset(),
}  # fmt: skip
OPEN: Final = (State.PENDING, State.SENT, State.RUNNING)
UNDER_WAY: Final = (State.SENT, State.RUNNING)


def sources_of(target: str) -> list[str]:
    """Return the states from which `target` may be reached.

    >>> sources_of("running")
    ['sent']
    """
    return [str(source) for source, targets in TRANSITIONS.items() if target in targets]


def move(tasks: QuerySet[ConfigTask], to: str, **fields: Any) -> int:
    """Move every task of the queryset that may reach `to`; returns how many moved.

    A final state ends the lease and stamps the end; other columns to write at once come as `fields`.
    """
    if to not in OPEN:
        fields = {"finished_at": now(), **fields}
    if to not in UNDER_WAY:
        fields = {"lease_until": None, **fields}
    return tasks.filter(state__in=sources_of(to)).update(state=to, **fields)
