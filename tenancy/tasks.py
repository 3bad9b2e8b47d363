"""Celery's doorbells of the tenant wall; the work is in the database."""

from celery import shared_task

from tenancy import audit_chain, links
from tenancy.sign_in import housekeeping


@shared_task(name="tenancy.tasks.seal_audit", ignore_result=True)
def seal_audit() -> int:
    """Chain the audit rows that were committed since; returns how many."""
    return audit_chain.seal_all()


@shared_task(name="tenancy.tasks.send_password_links", ignore_result=True)
def send_password_links(login: str) -> int:
    """Send a link to whoever has this username or e-mail address; a lost message is asked for again by them."""
    return links.send_links(login)


@shared_task(name="tenancy.tasks.sign_in_housekeeping", ignore_result=True)
def sign_in_housekeeping() -> None:
    """Drop sessions and counts of failures that are over."""
    housekeeping.drop_expired()
