"""Celery's doorbells of the boot dialect. Running one twice, late or never loses nothing."""

from celery import shared_task

from boot.images import collection, uploads
from core import quotas
from core.clock import now
from tracking import services as tracking


@shared_task(name="boot.tasks.housekeeping", ignore_result=True)
def housekeeping() -> int:
    """Remove counters of windows that are over and devices that are active no more; returns how many."""
    return quotas.prune() + tracking.prune(at=now())


@shared_task(name="boot.tasks.collect_images", ignore_result=True)
def collect_images() -> None:
    """Remove uploads that nobody finished, images that nothing names, and bytes that belong to nothing."""
    uploads.uploads_collect()
    collection.images_collect()
    collection.files_collect()
