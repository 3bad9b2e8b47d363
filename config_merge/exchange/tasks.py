"""Celery's doorbells of imports and of the deleted devices' shelf life."""

from uuid import UUID

from celery import shared_task

from config_merge.exchange import work
from config_merge.services import deleted


@shared_task(name="config_merge.exchange.tasks.run_import", ignore_result=True)
def run_import(pk: str) -> None:
    """Rehearse or import one uploaded table."""
    work.import_work(UUID(pk))


@shared_task(name="config_merge.exchange.tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Find imports whose message was lost, and forget what has been kept long enough."""
    deleted.deleted_devices_prune()
    return work.imports_sweep()
