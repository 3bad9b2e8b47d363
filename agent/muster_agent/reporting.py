"""Tells the controller by `report-status` how an apply ended. Source: spec/openwisp.md, 1A.6.

Invariant: a result leaves the memory only after the controller took it, or when it is about an older configuration
that no task asked for.
"""

import dataclasses

from muster_agent.errors import CycleFailed
from muster_agent.protocol import Identity, report_request
from muster_agent.records import Pending
from muster_agent.session import Session


def settle_debts(session: Session, identity: Identity, *, current: str) -> None:
    """Report what the controller has not acknowledged, the oldest first; `current` is the checksum it wants now.

    Raises CycleFailed when it does not take one; then only the reports are repeated next time.
    """
    for pending in session.store.memory().owed:
        if pending.task is not None or pending.checksum == current:
            _report(session, identity, pending)
        forget_debt(session, pending)


def forget_debt(session: Session, pending: Pending) -> None:
    """`pending` is settled."""
    memory = session.store.memory()
    owed = tuple(each for each in memory.owed if each != pending)
    if owed != memory.owed:
        session.store.save_memory(dataclasses.replace(memory, owed=owed))


def _report(session: Session, identity: Identity, pending: Pending) -> None:
    timing = session.settings.timing
    request = report_request(
        base=session.settings.url,
        style=session.settings.paths,
        identity=identity,
        outcome=pending.status,
        checksum=pending.checksum,
        reason=pending.reason,
        task=pending.task or "",
    )
    for attempt in range(1, timing.tries + 1):
        if attempt > 1:
            session.back_off(timing.backoff)
        response = session.try_send(request, what="report", attempt=attempt)
        if response is not None and response.status == 200 and response.is_controllers:
            session.log.info("reported", status=pending.status, checksum=pending.checksum)
            return
        if response is not None:
            session.log.warning("report_refused", status=response.status, attempt=attempt)
    raise CycleFailed("the controller did not take the report")
