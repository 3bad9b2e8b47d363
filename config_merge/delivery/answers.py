"""What devices answer to `config.apply` other than that they have begun, for many of them at once."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from config_merge.delivery import outcomes
from config_merge.delivery.states import State, move
from config_merge.models import Config, ConfigTask, Status
from config_merge.services import reports
from config_merge.services.reports import Report
from core.clock import now
from core.db import locked

MOST_ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0


class Said(Enum):
    """The kinds of answer. GONE: nobody was asked, the link had just closed."""

    APPLIED = "applied"
    FAILED = "failed"
    BUSY = "busy"
    ERROR = "error"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one device said to one attempt of one task."""

    task_id: UUID
    device_id: UUID
    attempt: int
    checksum: str
    said: Said
    reason: str = field(default="", repr=False)


def pause(attempt: int) -> timedelta:
    """Return how long to wait before the next attempt: about twice as long each time, never quite the same."""
    seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(attempt - 1, 0))
    # It spreads load and hides nothing.
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311


@transaction.atomic
def take(answers: Sequence[Answer]) -> list[None]:
    """Write answers down; those to an earlier attempt are passed over."""
    given = {answer.task_id: answer for answer in answers}
    reports.begin([answer.device_id for answer in given.values()])
    configs = Config.objects.filter(device_id__in=[answer.device_id for answer in given.values()])
    # Configuration first, task second: the order every writer of both keeps.
    by_device = dict(locked(configs.order_by("pk")).values_list("device_id", "pk"))
    tasks = ConfigTask.objects.filter(pk__in=list(given), state=State.SENT)
    current = {
        task_id
        for task_id, attempt in locked(tasks.order_by("pk")).values_list("pk", "attempt")
        if given[task_id].attempt == attempt
    }
    heard = [answer for answer in given.values() if answer.task_id in current]
    ended = (Said.APPLIED, Said.FAILED)
    if told := [_report(answer, by_device) for answer in heard if answer.said in ended]:
        reports.take_many(told)
    for answer in heard:
        if answer.said not in ended:
            _again(answer)
    return [None] * len(answers)


def _report(answer: Answer, configs: dict[UUID, UUID]) -> Report:
    is_applied = answer.said is Said.APPLIED
    return Report(
        config_id=configs.get(answer.device_id, UUID(int=0)),
        device_id=answer.device_id,
        status=Status.APPLIED.value if is_applied else Status.ERROR.value,
        reason=answer.reason,
        checksum=answer.checksum,
        task_id=None if is_applied else answer.task_id,
    )


def _again(answer: Answer) -> None:
    if answer.said is Said.GONE:
        # It counts as not tried: the device is sent it as soon as it is back.
        outcomes.taken_back(Q(pk=answer.task_id))
    elif answer.said is Said.ERROR and answer.attempt >= MOST_ATTEMPTS:
        given_up(
            Q(pk=answer.task_id), answer.reason or "The device does not take configurations over its link."
        )
    else:
        outcomes.taken_back(Q(pk=answer.task_id), due_at=now() + pause(answer.attempt))


def given_up(which: Q, reason: str) -> int:
    """End tasks that were tried often enough."""
    return move(ConfigTask.objects.filter(which), State.EXPIRED, error=reason)
