"""A task's log lines and audit rows carry the id of the request that woke it; a task of the clock, its own.

Importing this module connects to Celery; `core.wake.ring` sends the id. Invariant: a worker thread forgets both when
its task ends, so nothing of one task shows in the next.
"""

from typing import Any

from celery import signals

from core.acting import Actor, act_until_told, request_id
from core.request_ids import accept_request_id
from core.wake import REQUEST_HEADER

WORKER = Actor(name="worker", via="worker")


@signals.task_prerun.connect
def begin(task_id: str = "", task: Any = None, **_others: Any) -> None:
    """Let the worker act, in the name of the request that woke it."""
    request = getattr(task, "request", None)
    sent = request.get(REQUEST_HEADER) if request is not None else None
    request_id.set(accept_request_id(str(sent or task_id)))
    act_until_told(WORKER)


@signals.task_postrun.connect
def end(**_others: Any) -> None:
    """Forget both."""
    request_id.set("")
    act_until_told(None)
