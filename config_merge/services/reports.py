"""What devices say of their configuration. Only their word moves a configuration to `applied`.

A batch of reports is one transaction: one UPDATE for all the plain "applied" of active configurations, one each for
the others; an error adds a notification for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When

from config_merge.hiding import reported_words
from config_merge.models import Config, Status
from config_merge.services import stale, telling
from config_merge.status import after_report, clipped_reason
from core.db import in_turn, locked
from devices.models import Device
from tenancy.models import Notification
from tenancy.services import notify

_CONFIRMED = {"status": Status.APPLIED, "error_reason": "", "applied_checksum": F("checksum")}


@dataclass(frozen=True, slots=True)
class Report:
    """One device's word: `applied` or `error` with a reason, and optionally the md5 of what it applied."""

    config_id: UUID
    device_id: UUID
    status: str
    reason: str = ""
    checksum: str = ""


def take(report: Report) -> str:
    """Record one report; returns the status the configuration has now."""
    return take_many([report])[0]


@transaction.atomic
def take_many(reports: Sequence[Report]) -> list[str]:
    """Record reports in order; returns the resulting statuses. Safe to repeat."""
    if len(reports) > 1:
        in_turn(stale.FLEET, shared=True)
    with telling.status_changes([report.config_id for report in reports]):
        if len(reports) > 1 and _all_applied(reports):
            return [report.status for report in reports]
        return [_take(report) for report in reports]


def _active(config_ids: Sequence[UUID]) -> QuerySet[Config]:
    return Config.objects.filter(pk__in=config_ids).exclude(
        status__in=(Status.DEACTIVATING, Status.DEACTIVATED)
    )


def _all_applied(reports: Sequence[Report]) -> bool:
    """Take a batch of the common kind in one statement; False when one of it is not, and each has to be looked at."""
    plain = all(report.status == Status.APPLIED and not report.checksum for report in reports)
    ids = {report.config_id for report in reports}
    return plain and _active(list(ids)).update(**_CONFIRMED) == len(ids)


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
    if wanted.exclude(status=Status.ERROR, error_reason=reason).update(
        status=Status.ERROR, error_reason=reason
    ):
        _tell(report)
        return report.status
    return active.values_list("status", flat=True).first()


def _applied(active: QuerySet[Config], report: Report) -> int:
    """Move to `applied`; a device that names another checksum than the current one still has to fetch it."""
    if not report.checksum:
        return active.update(**_CONFIRMED)
    status = Case(When(checksum=report.checksum, then=Value(Status.APPLIED)), default=Value(Status.MODIFIED))
    return active.update(status=status, error_reason="", applied_checksum=report.checksum[:32])


def _while_deactivating(report: Report) -> str:
    """Whatever a device says while it is taken out of service confirms that it is out (spec 1A.6)."""
    # Device first, configuration second: the order every writer of both keeps.
    locked(Device.objects.filter(pk=report.device_id)).values_list("pk").first()
    leaving = Config.objects.filter(pk=report.config_id, status=Status.DEACTIVATING)
    if leaving.update(
        status=after_report(Status.DEACTIVATING, report.status),
        error_reason="",
        applied_checksum=F("checksum"),
    ):
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
