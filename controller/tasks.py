"""Periodic jobs of the roof itself."""

from celery import shared_task

from core import heartbeat as heartbeats

SCHEDULER = "scheduler"


@shared_task(name="controller.tasks.heartbeat")
def heartbeat() -> None:
    """Leave a sign that beat sends, the broker carries and a worker works: `/readyz` reads its age."""
    heartbeats.beat(SCHEDULER)
