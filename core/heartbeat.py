"""Signs of life of periodic jobs, kept in the database so that every process sees them."""

from datetime import timedelta

from django.utils import timezone

from core.models import Heartbeat


def beat(name: str) -> None:
    """Record that the job `name` ran just now."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": timezone.now()})


def age(name: str) -> float | None:
    """Seconds since the job `name` last ran, never negative; None when it never did."""
    at = Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()
    if at is None:
        return None
    return max(timezone.now() - at, timedelta()).total_seconds()
