"""Celery's doorbells of what exists. Who is woken looks at the rows; a message names none."""

from celery import shared_task

from devices.link import doorbell, presence


@shared_task(name="devices.tasks.reach", ignore_result=True)
def reach() -> None:
    """Wake every way to devices: the links look for work that is due. Devices without one poll by themselves."""
    doorbell.ring()


@shared_task(name="devices.tasks.sweep_links", ignore_result=True)
def sweep_links() -> int:
    """Give up processes that stopped beating; returns how many links were lost with them."""
    return presence.servers_sweep()
