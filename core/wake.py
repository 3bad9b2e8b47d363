"""The doorbell: after the commit, ask a worker to look at the database.

The rows are the truth. A message that is lost, or a broker that is down, delays work until the sweeper's next
round; it never loses it.
"""

import logging
from typing import Any

from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from core import outage
from core.acting import request_id

# Not `request_id`, which would be taken for the task's own.
REQUEST_HEADER = "muster_request_id"
logger = logging.getLogger(__name__)


def ring(task: Any, *args: Any) -> None:
    """Send `task` now; a broker that does not answer is logged, not raised, and not waited for by the next."""
    broker = outage.redis if settings.MUSTER.redis_url else None
    if broker is not None and not broker.may_ask():
        return
    try:
        woken_by = {REQUEST_HEADER: identifier} if (identifier := request_id.get()) else None
        task.apply_async(args=args, retry=False, ignore_result=True, headers=woken_by)
    except (OperationalError, OSError) as error:
        logger.warning("broker unreachable, the sweeper will find the work: %s", type(error).__name__)
        if broker is not None:
            broker.failed(error)
    else:
        if broker is not None:
            broker.answered()


def wake(task: Any, *args: Any) -> None:
    """Send `task` once the current transaction has committed."""
    transaction.on_commit(lambda: ring(task, *args))
