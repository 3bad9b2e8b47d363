"""Celery's doorbells. The work is in the database; running a task twice, late or never changes nothing lost."""

from celery import shared_task

from config_merge.services import counts, recompute


@shared_task(name="config_merge.tasks.recompute_stale", ignore_result=True)
def recompute_stale() -> int:
    """Compute stale configurations, chunk by chunk, until none is left; returns how many."""
    return recompute.drain()


@shared_task(name="config_merge.tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Find work whose message was lost: the same as `recompute_stale`, asked for by the clock."""
    return recompute.drain()


@shared_task(name="config_merge.tasks.merge_counts", ignore_result=True)
def merge_counts() -> int:
    """Fold the counters of lists together; returns how many rows that saved."""
    return counts.counts_merge()
