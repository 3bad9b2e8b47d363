"""Reads of what was deleted."""

from typing import Any

from django.db.models import QuerySet

from config_merge.exchange.models import DeletedDevice
from core.clock import now
from tenancy.queries import restrict


def deleted_devices_visible_to(user: Any) -> QuerySet[DeletedDevice]:
    """Return the devices deleted in the last thirty days from the organizations `user` belongs to."""
    from_then = now() - DeletedDevice.KEPT
    rows = DeletedDevice.objects.filter(created__gte=from_then).select_related("organization")
    return restrict(rows.defer("snapshot"), user)
