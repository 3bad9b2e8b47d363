"""Celery's doorbells of delivery. Who is woken looks at the rows; a message names none."""

from celery import shared_task

from config_merge.delivery import sweep as sweeping


@shared_task(name="config_merge.delivery_tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Take up what got lost; returns how much that was."""
    return sweeping.run()


@shared_task(name="config_merge.delivery_tasks.prune", ignore_result=True)
def prune() -> int:
    """Forget tasks that ended long ago; returns how many."""
    return sweeping.prune()
