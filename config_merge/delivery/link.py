"""What devices say over the link of their configuration: `hello`, `report`, `task.progress` (docs/link-protocol.md)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q

from config_merge import tasks
from config_merge.delivery import drift, outcomes, queue
from config_merge.delivery.courier import courier
from config_merge.delivery.outcomes import Step
from config_merge.delivery.states import State
from config_merge.delivery.words import Ended, words
from config_merge.models import Config, Drift, Status
from config_merge.services import recompute, reports
from config_merge.services.reports import Report
from core.db import locked
from core.wake import wake
from devices.events import LinksClosed, LinksOpened
from devices.link import params as read
from devices.link.consumer import LinkConsumer

REASON_LENGTH = 1023
ENDS = ("applied", "failed", "rolled_back")


# --- links that open and close ----------------------------------------------------------------------------------------


def on_opened(event: LinksOpened) -> None:
    """Tell devices what they should be, and believe what they say they are (subscriber)."""
    said = {opening.device_id: opening for opening in event.openings}
    reports.hold_leaving(list(said))
    rows = locked(Config.objects.filter(device_id__in=list(said)).order_by("pk"))
    columns = ("pk", "device_id", "status", "checksum", "applied_checksum", "hold")
    found = list(rows.values_list(*columns))
    for answer in event.answers.values():
        answer["wanted"] = ""
    for _, device_id, _, checksum, applied, hold in found:
        event.answers[device_id]["wanted"] = applied if hold else checksum
    # Suspended: nothing is pushed, and nothing that is received is processed.
    configs = [row[:-1] for row in found if not row[-1]]
    if recompute.stale_configs().filter(device_id__in=list(said)).exists():
        wake(tasks.recompute_stale)
    outcomes.returned({device_id: opening.busy for device_id, opening in said.items()})
    late: list[Report] = []
    emptied: list[UUID] = []
    for pk, device_id, status, checksum, applied in configs:
        told = said[device_id].applied
        if told == checksum != "":
            if status != Status.APPLIED or applied != told:
                late.append(Report(pk, device_id, Status.APPLIED.value, checksum=told))
        elif told == applied or status == Status.ERROR:
            # An error stands until there is something else to apply: the device has put the old state back.
            continue
        elif told:
            late.append(Report(pk, device_id, Status.APPLIED.value, checksum=told))
        elif status in (Status.APPLIED, Status.MODIFIED):
            emptied.append(pk)
    if late:
        reports.take_many(late)
    if emptied:
        Config.objects.filter(pk__in=emptied).update(
            status=Status.MODIFIED, applied_checksum="", drift=Drift.UNKNOWN
        )
    drift.measured({device_id: opening.actual for device_id, opening in said.items() if opening.actual})
    queue.ensure(Config.objects.filter(device_id__in=list(said)), also_given_up=True)


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
