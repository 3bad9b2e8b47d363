"""Taking up what got lost: tasks nobody answered for, tasks that were never written, links of killed processes.

Everything here may run twice, at once, or never for a while: every move is conditional on the state it starts from.
"""

import time
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q

from config_merge.delivery import outcomes, queue
from config_merge.delivery.answers import MOST_ATTEMPTS, given_up, pause
from config_merge.delivery.states import UNDER_WAY, State
from config_merge.models import Config, ConfigTask
from core.clock import now
from core.db import in_turn
from core.wake import wake
from devices.tasks import reach

MISSING_EVERY = 30.0
CHUNK = 500
KEPT = timedelta(days=90)
_looked_at = float("-inf")


def run() -> int:
    """Take up everything that was lost; returns how many tasks that moved or wrote."""
    return leases_end() + deadlines_end() + missing_write()


@transaction.atomic
def leases_end() -> int:
    """Take back tasks that were sent and not heard of in time, and give those up that were tried often enough."""
    at = now()
    ended = Q(state__in=UNDER_WAY, lease_until__lt=at)
    attempts = set(ConfigTask.objects.filter(ended).order_by().values_list("attempt", flat=True).distinct())
    count = 0
    for attempt in sorted(attempts):
        which = ended & Q(attempt=attempt)
        if attempt >= MOST_ATTEMPTS:
            count += given_up(which, f"The device did not answer, {attempt} times.")
        else:
            count += outcomes.taken_back(which, due_at=at + pause(attempt))
    if count:
        wake(reach)
    return count


@transaction.atomic
def deadlines_end() -> int:
    """Give up tasks whose devices did not come back in time."""
    return given_up(Q(state=State.PENDING, deadline__lt=now()), "The device did not come back in time.")


def missing_write() -> int:
    """Write tasks that are missing, now and then: those of before there were tasks, or lost by a mistake."""
    global _looked_at
    if time.monotonic() - _looked_at < MISSING_EVERY:
        return 0
    _looked_at = time.monotonic()
    total = 0
    computed = Config.objects.filter(generation__lte=F("computed_generation"))
    while ids := list(queue.missing(computed).values_list("pk", flat=True)[:CHUNK]):
        written = queue.ensure(Config.objects.filter(pk__in=ids))
        total += written
        if not written:
            break
    return total


def prune() -> int:
    """Forget tasks that ended long ago; returns how many."""
    total = 0
    ended = ConfigTask.objects.filter(finished_at__lt=now() - KEPT)
    while ids := list(ended.values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic():
            in_turn("config_merge.tasks_prune")
            total += ConfigTask.objects.filter(pk__in=ids).delete()[0]
    return total
