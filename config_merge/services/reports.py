"""What devices say of their configuration. Only their word moves a configuration to `applied`, and ends its task.

A batch of reports is one transaction: one UPDATE for all that have just what they should have, and one for their
tasks; the others are looked at one by one. An error adds a notification for people.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When

from config_merge.delivery import drift, outcomes, queue
from config_merge.hiding import reported_words
from config_merge.models import Config, Status
from config_merge.services import stale, telling
from config_merge.status import after_report, clipped_reason
from core.db import locked
from devices.models import Device
from tenancy.models import Notification
from tenancy.services import notify

_CONFIRMED = {
    "status": Status.APPLIED,
    "error_reason": "",
    "applied_checksum": F("checksum"),
    "drift": drift.after_confirming(F("checksum")),
}


@dataclass(frozen=True, slots=True)
class Report:
    """One device's word: `applied` or `error` with a reason, and optionally the md5 of what it applied.

    `rolled_back` says of an error that the device lost contact and put everything back, `actual` what is on it now,
    `task_id` which task it is about.
    """

    config_id: UUID
    device_id: UUID
    status: str
    reason: str = ""
    checksum: str = ""
    rolled_back: bool = False
    actual: str = ""
    task_id: UUID | None = None


def take(report: Report) -> str:
    """Record one report; returns the status the configuration has now."""
    return take_many([report])[0]


@transaction.atomic
def take_many(reports: Sequence[Report]) -> list[str]:
    """Record reports in order; returns the resulting statuses. Safe to repeat."""
    if len(reports) > 1:
        begin([report.device_id for report in reports])
    with telling.status_changes([report.config_id for report in reports]):
        plain = _plain(reports) if len(reports) > 1 else frozenset()
        _confirmed([report for number, report in enumerate(reports) if number in plain])
        statuses = [
            report.status if number in plain else _take(report) for number, report in enumerate(reports)
        ]
    drift.measured({report.device_id: report.actual for report in reports if report.actual})
    return statuses


def begin(device_ids: Sequence[UUID]) -> None:
    """Do what comes before any configuration of many devices is locked; a transaction that reports begins with it.

    It waits for edits of the fleet, which lock configurations in no order, and locks the devices that are being taken
    out of service: a report of theirs writes to the device as well, and devices come before configurations everywhere.
    """
    stale.reading_templates()
    leaving = Device.objects.filter(pk__in=device_ids, config__status=Status.DEACTIVATING)
    list(locked(leaving.order_by("pk")).values_list("pk"))


def _active(config_ids: Sequence[UUID]) -> QuerySet[Config]:
    return Config.objects.filter(pk__in=config_ids).exclude(
        status__in=(Status.DEACTIVATING, Status.DEACTIVATED)
    )


def _plain(reports: Sequence[Report]) -> frozenset[int]:
    """Return which reports, by their number, say that an active device has just what it should have.

    Where a batch holds several reports of one device, their order matters, and none of them is plain.
    """
    counts = Counter(report.config_id for report in reports)
    rows = locked(_active(list(counts)).order_by("pk"))
    wanted = dict(rows.values_list("pk", "checksum"))
    return frozenset(
        number
        for number, report in enumerate(reports)
        if report.status == Status.APPLIED
        and counts[report.config_id] == 1
        and report.config_id in wanted
        and report.checksum in ("", wanted[report.config_id])
    )


def _confirmed(reports: Sequence[Report]) -> None:
    """Write plain reports down in two statements."""
    if reports:
        _active([report.config_id for report in reports]).update(**_CONFIRMED)
        outcomes.applied([report.device_id for report in reports])


def _take(report: Report) -> str:
    active = _active([report.config_id])
    if report.status == Status.APPLIED:
        if _applied(active, report):
            return report.status
    elif (status := _failed(active, report)) is not None:
        return status
    return _while_deactivating(report)


def _failed(active: QuerySet[Config], report: Report) -> str | None:
    """Move to `error`, and tell people once per failure; returns the status now, None without an active row.

    An error about a checksum that is no longer wanted changes nothing: the device either holds what it should, or
    has yet to fetch it.
    """
    wanted = active.filter(checksum=report.checksum) if report.checksum else active
    reason = clipped_reason(reported_words(report.config_id, report.reason))
    is_news = wanted.exclude(status=Status.ERROR, error_reason=reason).update(
        status=Status.ERROR, error_reason=reason
    )
    if is_news:
        _tell(report)
    status = Status.ERROR.value if is_news else active.values_list("status", flat=True).first()
    if status is not None:
        outcomes.failed(
            report.device_id,
            checksum=report.checksum,
            reason=reason,
            rolled_back=report.rolled_back,
            task_id=report.task_id,
        )
    return status


def _applied(active: QuerySet[Config], report: Report) -> int:
    """Move to `applied`; a device that names another checksum than the current one still has to fetch it."""
    if not report.checksum:
        if moved := active.update(**_CONFIRMED):
            outcomes.applied([report.device_id])
        return moved
    status = Case(When(checksum=report.checksum, then=Value(Status.APPLIED)), default=Value(Status.MODIFIED))
    checksum = report.checksum[:32]
    moved = active.update(
        status=status,
        error_reason="",
        applied_checksum=checksum,
        drift=drift.after_confirming(Value(checksum)),
    )
    if moved:
        outcomes.applied_checksum(report.device_id, checksum)
        if active.filter(status=Status.MODIFIED).exists():
            queue.ensure(active)
    return moved


def _while_deactivating(report: Report) -> str:
    """Whatever a device says while it is taken out of service confirms that it is out (spec 1A.6)."""
    # Device first, configuration second; of many, `begin` has seen to it.
    locked(Device.objects.filter(pk=report.device_id)).values_list("pk").first()
    leaving = Config.objects.filter(pk=report.config_id, status=Status.DEACTIVATING)
    if leaving.update(**{**_CONFIRMED, "status": after_report(Status.DEACTIVATING, report.status)}):
        outcomes.applied([report.device_id])
        Device.objects.filter(pk=report.device_id).update(management_ip=None)
    return Status.DEACTIVATED.value


def _tell(report: Report) -> None:
    device = Device.objects.filter(pk=report.device_id).only("organization_id", "name").first()
    if device is not None:
        notify(
            organization_id=device.organization_id,
            kind="config_error",
            level=Notification.Level.ERROR,
            target_type="device",
            target_id=device.pk,
            message=f"{device.name} could not apply its configuration.",
        )
