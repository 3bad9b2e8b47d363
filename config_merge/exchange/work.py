"""The work behind an uploaded table: rehearse it, or import it, once, whatever happens to the process.

Invariant: an import is marked as done in the transaction that imports, so being killed, started twice or swept up
changes nothing; a lease only saves the second worker the work. Every table is settled in the end: work that fails, or
whose worker dies again and again, is given up with a message.
"""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db import transaction
from django.db.models import Q

from config_merge.exchange import files
from config_merge.exchange.importing import Report, attempted, import_devices
from config_merge.exchange.models import DeviceImport
from core.acting import Actor, acting_as
from core.clock import now

logger = logging.getLogger(__name__)
LEASE = timedelta(minutes=10)
BUSY = (DeviceImport.State.CHECKING, DeviceImport.State.APPLYING)
# So many workers may begin the same work before it is given up.
MOST_WORKERS = 3
BROKEN_OFF = (
    f"The work on this file was broken off {MOST_WORKERS} times; nothing was written. Import it in parts."
)
UNEXPECTED = "The work on this file failed, the server's log says why; nothing was written. Upload it again."


class _Overtaken(Exception):
    """Another worker has finished the same import."""


def progress_key(pk: UUID) -> str:
    """Return where it is written how many rows are through; the cache, since the import's rows are not visible yet."""
    return f"import-progress:{pk}"


def import_work(pk: UUID) -> None:
    """Do what an uploaded table waits for. Safe to run twice, late or never."""
    moment = now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=moment)
    due = DeviceImport.objects.filter(free, pk=pk, state__in=BUSY, expires_at__gt=moment)
    if not due.update(lease_until=moment + LEASE):
        return
    row = DeviceImport.objects.select_related("user").get(pk=pk)
    user: Any = row.user
    actor = Actor(name=user.get_username(), via="admin", user_id=user.pk)
    with acting_as(actor):
        _work_on(row)
    cache.delete(progress_key(pk))


def _work_on(row: DeviceImport) -> None:
    """Do the work of a leased row, whatever it raises; who has begun is counted before anything can go wrong."""
    begun = row.report.get("workers", 0)
    if begun >= MOST_WORKERS:
        _give_up(row, BROKEN_OFF)
        return
    row.report = row.report | {"workers": begun + 1}
    _held(row).update(report=row.report)
    try:
        if row.state == DeviceImport.State.CHECKING:
            _rehearse(row)
        else:
            attempted(lambda: _apply(row))
    except Exception:
        # Whatever it was, the next worker would meet it too.
        logger.exception("an import failed", extra={"import": str(row.pk)})
        _give_up(row, UNEXPECTED)


def _held(row: DeviceImport) -> Any:
    """Return the row unless another worker has taken it over, or finished it."""
    return DeviceImport.objects.filter(pk=row.pk, state=row.state, lease_until=row.lease_until)


def _give_up(row: DeviceImport, message: str) -> None:
    _held(row).update(state=DeviceImport.State.CHECKED, report={"refused": message}, lease_until=None)


def _run(row: DeviceImport, *, rehearse: bool) -> Report:
    """Import or rehearse. Raises FileRefused."""

    def tell(done: int) -> None:
        cache.set(progress_key(row.pk), done, timeout=3600)

    rows = files.read(bytes(row.content), name=row.name)
    return import_devices(rows, user=row.user, rehearse=rehearse, progress=tell, name=row.name)


def _settle(row: DeviceImport, *, state: str, report: dict[str, Any], content: bytes | None = None) -> int:
    """Move on from the state that was worked on; returns whether nobody else has."""
    changes: dict[str, Any] = {"state": state, "report": report, "lease_until": None}
    if content is not None:
        changes["content"] = content
    return DeviceImport.objects.filter(pk=row.pk, state=row.state).update(**changes)


def _rehearse(row: DeviceImport) -> None:
    try:
        report = _run(row, rehearse=True)
    except files.FileRefused as refusal:
        _settle(row, state=DeviceImport.State.CHECKED, report={"refused": str(refusal)})
        return
    _settle(row, state=DeviceImport.State.CHECKED, report=report.body())


def _apply(row: DeviceImport) -> None:
    try:
        with transaction.atomic():
            report = _run(row, rehearse=False)
            state = DeviceImport.State.APPLIED if report.applied else DeviceImport.State.CHECKED
            content = b"" if report.applied else None
            if not _settle(row, state=state, report=report.body(), content=content) and report.applied:
                raise _Overtaken
    except _Overtaken:
        return
    except files.FileRefused as refusal:
        _settle(row, state=DeviceImport.State.CHECKED, report={"refused": str(refusal)})


def imports_sweep() -> int:
    """Take up what was left lying, and forget what has expired; returns how many were taken up."""
    moment = now()
    DeviceImport.objects.filter(expires_at__lt=moment).delete()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=moment)
    due = list(DeviceImport.objects.filter(free, state__in=BUSY).values_list("pk", flat=True)[:100])
    for pk in due:
        import_work(pk)
    return len(due)
