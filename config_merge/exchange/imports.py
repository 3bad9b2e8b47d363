"""What a person does with an uploaded table: hand it in, look at what it would do, confirm or drop it."""

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from config_merge.exchange import files, tasks, work
from config_merge.exchange.importing import check_table
from config_merge.exchange.models import DeviceImport
from core.clock import now
from core.errors import Conflict
from core.wake import wake

KEPT = timedelta(hours=1)
# Tables of up to so many rows are worked on in the request itself.
AT_ONCE = 100
PER_PERSON = 5


def imports_of(user: Any) -> QuerySet[DeviceImport]:
    """Return the tables that `user` handed in and that have not expired, newest first."""
    return DeviceImport.objects.filter(user=user, expires_at__gt=now())


def _work_on(row: DeviceImport) -> None:
    if row.total <= AT_ONCE:
        work.import_work(row.pk)
    else:
        with transaction.atomic():
            wake(tasks.run_import, str(row.pk))


def import_begin(*, user: Any, name: str, content: bytes) -> DeviceImport:
    """Keep a table and find out what importing it would do. Raises ValidationError."""
    try:
        rows = files.read(content, name=name)
        check_table(rows)
    except files.FileRefused as refusal:
        raise ValidationError({"file": str(refusal)}) from refusal
    row = DeviceImport(
        user=user,
        name=name.replace("\x00", "")[:150] or "table",
        content=content,
        total=len(rows),
        expires_at=now() + KEPT,
    )
    row.save(force_insert=True)
    # One person's uploads take bounded space, however often they try.
    spare = imports_of(user).exclude(state=DeviceImport.State.APPLYING).values_list("pk", flat=True)
    DeviceImport.objects.filter(pk__in=list(spare[PER_PERSON:])).delete()
    _work_on(row)
    row.refresh_from_db()
    return row


def import_confirm(row: DeviceImport) -> DeviceImport:
    """Import a table that was checked without errors; it is checked again as it is written. Raises Conflict."""
    if not is_importable(row):
        raise Conflict("Only a table that was checked and has no errors can be imported.")
    waiting = DeviceImport.objects.filter(pk=row.pk, state=DeviceImport.State.CHECKED)
    if not waiting.update(state=DeviceImport.State.APPLYING, lease_until=None):
        raise Conflict("The table is being imported already.")
    _work_on(row)
    row.refresh_from_db()
    return row


def import_drop(row: DeviceImport) -> None:
    """Forget a table that is not being imported."""
    DeviceImport.objects.filter(pk=row.pk).exclude(state=DeviceImport.State.APPLYING).delete()


def is_importable(row: DeviceImport) -> bool:
    """Tell whether the rehearsal found something to do and nothing wrong."""
    totals = row.report.get("totals", {})
    return (
        row.state == DeviceImport.State.CHECKED
        and not totals.get("error")
        and bool(totals.get("new") or totals.get("update"))
    )


def progress_of(row: DeviceImport) -> dict[str, Any]:
    """Return how far the work on a table is."""
    busy = row.state in work.BUSY
    done = cache.get(work.progress_key(row.pk), 0) if busy else row.total
    return {"state": row.state, "busy": busy, "done": done, "total": row.total}
