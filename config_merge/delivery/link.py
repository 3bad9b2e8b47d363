"""What devices say over the link of their configuration: `hello`, `report`, `task.progress` (docs/link-protocol.md)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from config_merge import tasks
from config_merge.delivery import drift, outcomes, queue
from config_merge.delivery.courier import courier
from config_merge.delivery.outcomes import Step
from config_merge.delivery.states import State
from config_merge.delivery.words import Ended, words
from config_merge.models import Config, Drift, Status
from config_merge.services import reports, stale
from config_merge.services.reports import Report
from core.db import locked
from core.wake import wake
from devices.events import LinksClosed, LinksOpened
from devices.link import params as read
from devices.link.consumer import LinkConsumer

REASON_LENGTH = 1023
ENDS = ("applied", "failed", "rolled_back")


# --- links that open and close ----------------------------------------------------------------------------------------


class _Stored(NamedTuple):
    """What is stored of a configuration, as far as it can be compared with what its device says."""

    pk: UUID
    device_id: UUID
    status: str
    checksum: str
    applied_checksum: str
    hold: str
    generation: int
    computed_generation: int


def on_opened(event: LinksOpened) -> None:
    """Tell devices what they should be, and believe what they say they are (subscriber).

    The devices are locked. Where all of them have what they should have, it takes two statements, and one turn.
    """
    said = {opening.device_id: opening for opening in event.openings}
    # Edits of the fleet lock configurations in no order: wait for them before holding any.
    stale.reading_templates()
    configs = locked(Config.objects.filter(device_id__in=list(said)).order_by("pk"))
    found = [_Stored(*row) for row in configs.values_list(*_Stored._fields)]
    for answer in event.answers.values():
        answer["wanted"] = ""
    for row in found:
        event.answers[row.device_id]["wanted"] = row.applied_checksum if row.hold else row.checksum
    if any(row.generation > row.computed_generation for row in found):
        wake(tasks.recompute_stale)
    outcomes.returned({device_id: opening.busy for device_id, opening in said.items()})
    # Suspended: nothing is pushed, and nothing that is received is processed.
    _believe(
        [row for row in found if not row.hold], {each.device_id: each.applied for each in event.openings}
    )
    drift.measured({device_id: opening.actual for device_id, opening in said.items() if opening.actual})


def _believe(rows: Sequence[_Stored], applied: Mapping[UUID, str]) -> None:
    """Write down what devices say they have, where it is news, and push what they lack."""
    late: list[Report] = []
    emptied: list[UUID] = []
    for row in rows:
        told = applied[row.device_id]
        if told == row.checksum != "":
            if row.status != Status.APPLIED or row.applied_checksum != told:
                late.append(Report(row.pk, row.device_id, Status.APPLIED.value, checksum=told))
        elif told == row.applied_checksum or row.status == Status.ERROR:
            # An error stands until there is something else to apply: the device has put the old state back.
            continue
        elif told:
            late.append(Report(row.pk, row.device_id, Status.APPLIED.value, checksum=told))
        elif row.status in (Status.APPLIED, Status.MODIFIED):
            emptied.append(row.pk)
    if late:
        reports.take_many(late)
    if emptied:
        Config.objects.filter(pk__in=emptied).update(
            status=Status.MODIFIED, applied_checksum="", drift=Drift.UNKNOWN
        )
    apart = [row.pk for row in rows if not applied[row.device_id] == row.checksum == row.applied_checksum]
    if apart:
        queue.ensure(Config.objects.filter(pk__in=apart), also_given_up=True)


def on_closed(event: LinksClosed) -> None:
    """What was sent and not begun goes out again when the device is back (subscriber)."""
    outcomes.taken_back(Q(device_id__in=event.device_ids, state=State.SENT))


# --- reports ----------------------------------------------------------------------------------------------------------


async def report(link: LinkConsumer, params: Mapping[str, Any]) -> Any:
    """Answer `report`."""
    status = params.get("status")
    if status not in ENDS:
        raise read.invalid("status", "applied, failed or rolled_back")
    item = Ended(
        device_id=link.device_id,
        status=str(status),
        checksum=read.hexadecimal(params, "checksum", digits=32),
        task_id=read.identifier(params, "task"),
        reason=read.words(params, "reason", most=REASON_LENGTH),
        actual=read.hexadecimal(params, "actual", digits=64),
    )
    if not item.checksum:
        raise read.invalid("checksum", "32 lower-case hexadecimal digits")
    answer = await words.do(item)
    # There is room at its site now, and the device may be next in turn itself.
    courier.ring()
    return answer


async def progress(link: LinkConsumer, params: Mapping[str, Any]) -> Any:
    """Take `task.progress` in."""
    task_id = read.identifier(params, "task")
    if task_id is None:
        raise read.invalid("task", "a uuid")
    step = Step(
        task_id=task_id,
        device_id=link.device_id,
        attempt=read.number(params, "attempt"),
        step=read.text(params, "step", most=32),
        message=read.words(params, "message", most=256),
    )
    await words.do(step)
    return {}
