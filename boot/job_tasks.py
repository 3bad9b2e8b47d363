"""Celery's doorbells of uploads that are being put together. A lost message loses nothing: the rows are the work."""

from celery import shared_task

from boot.images import finishing
from core.wake import ring


@shared_task(name="boot.job_tasks.finish_uploads", ignore_result=True)
def finish_uploads() -> None:
    """Put one upload together, and ring again while more of them wait."""
    if finishing.uploads_finish():
        ring(finish_uploads)


@shared_task(name="boot.job_tasks.sweep_uploads", ignore_result=True)
def sweep_uploads() -> None:
    """Find uploads whose message was lost or whose worker died: the same, asked for by the clock."""
    finishing.uploads_finish()
