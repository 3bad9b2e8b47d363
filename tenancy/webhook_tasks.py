"""Celery's doorbells of webhooks; the messages are in the database."""

from celery import shared_task

from tenancy import webhook_delivery


@shared_task(name="tenancy.webhook_tasks.deliver", ignore_result=True)
def deliver() -> int:
    """Start carrying what waits for webhooks; returns how many carriers were started."""
    return webhook_delivery.carriers.start()


@shared_task(name="tenancy.webhook_tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Find messages whose time has come or whose carrier died, and forget old ones."""
    webhook_delivery.prune()
    return webhook_delivery.carriers.start()
