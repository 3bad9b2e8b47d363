"""What devices say of the tasks they were given, written down together and in the order in which they said it.

A device that is quick says that it has begun and that it is done in one breath: both are one transaction, and the
history shows both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction

from config_merge.delivery import outcomes
from config_merge.delivery.outcomes import Step
from config_merge.models import Config, Status
from config_merge.services import reports
from config_merge.services.reports import Report
from core.database_threads import Together
from core.db import locked
from devices.link.registry import registry

MOST = 500


@dataclass(frozen=True, slots=True)
class Ended:
    """How a device says that an apply ended."""

    device_id: UUID
    status: str
    checksum: str
    task_id: UUID | None = None
    reason: str = field(default="", repr=False)
    actual: str = ""


@transaction.atomic
def ended(items: Sequence[Ended]) -> list[dict[str, str]]:
    """Record how applies ended, in order; returns what each device is answered."""
    devices = [item.device_id for item in items]
    rows = list(
        Config.objects.filter(device_id__in=devices).order_by().values_list("device_id", "pk", "hold")
    )
    ids, held = {device_id: pk for device_id, pk, _ in rows}, {row[0] for row in rows if row[2]}
    # Suspended: nothing that is received is processed.
    taken = [
        _report(item, ids[item.device_id])
        for item in items
        if item.device_id in ids and item.device_id not in held
    ]
    if taken:
        reports.take_many(taken)
    columns = ("device_id", "status", "checksum")
    after = Config.objects.filter(pk__in=ids.values()).order_by()
    now = {pk: rest for pk, *rest in after.values_list(*columns)}
    answers = []
    for device_id in devices:
        status, wanted = now.get(device_id, (Status.MODIFIED.value, ""))
        answers.append({"status": status, "wanted": wanted})
    return answers


def _report(item: Ended, config_id: UUID) -> Report:
    return Report(
        config_id=config_id,
        device_id=item.device_id,
        status=Status.APPLIED.value if item.status == "applied" else Status.ERROR.value,
        reason=item.reason,
        checksum=item.checksum,
        rolled_back=item.status == "rolled_back",
        actual=item.actual,
        task_id=item.task_id,
    )


@transaction.atomic
def take(said: Sequence[Step | Ended]) -> list[dict[str, str] | None]:
    """Write down what devices said; returns what they are answered, None to a step."""
    steps = [word for word in said if isinstance(word, Step)]
    ends = [word for word in said if isinstance(word, Ended)]
    if steps and ends:
        # Configuration first, task second: the order every writer of both keeps.
        devices = [word.device_id for word in ends]
        reports.begin(devices)
        list(locked(Config.objects.filter(device_id__in=devices).order_by("pk")).values_list("pk"))
    if steps:
        outcomes.progressed(steps)
    answers = iter(ended(ends) if ends else ())
    return [None if isinstance(word, Step) else next(answers) for word in said]


words: Together[Step | Ended, dict[str, str] | None] = Together(registry.threads, take, most=MOST)
