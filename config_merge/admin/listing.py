"""The device list's search and count, from the same rows as the REST list's (`devices.listing`)."""

from typing import Any
from uuid import UUID

from django.db import models
from django.http import HttpRequest

from config_merge.models import Status
from config_merge.queries import configs_counted
from core.crypto import digest
from devices.models import Device
from devices.queries import devices_counted, devices_worded
from tenancy.queries import organizations_visible_to, roles_of

SHORTEST_KEY, MOST_WORDS = 8, 10
# Parameters that choose or arrange what is shown of a list, not what is in it.
_ARRANGING = frozenset({"o", "p", "all", "q", "_changelist_filters"})


def searched(queryset: models.QuerySet[Device], text: str) -> models.QuerySet[Device]:
    """Return the devices that `text` finds: its words all occur, or it is a whole key (found by its digest)."""
    words = text.lower().split()[:MOST_WORDS]
    if not words:
        return queryset
    if len(words) == 1 and len(text.strip()) >= SHORTEST_KEY:
        by_key = queryset.filter(key_digest=digest(text.strip()))
        if by_key.exists():
            return by_key
    return queryset.filter(pk__in=devices_worded(words).values("device_id"))


def counted(request: HttpRequest) -> int | None:
    """Return how many devices the list has, None when only counting them tells."""
    user: Any = request.user
    asked = {name: value for name, value in request.GET.items() if value and name not in _ARRANGING}
    if request.GET.get("q") or not set(asked) <= {"organization", "status"}:
        return None
    everywhere = user.is_superuser and user.is_active
    tenants: list[UUID] | None = None if everywhere else list(roles_of(user))
    if "organization" in asked:
        visible = {str(pk): pk for pk in organizations_visible_to(user).values_list("pk", flat=True)}
        tenants = [visible[asked["organization"]]] if asked["organization"] in visible else []
    if "status" not in asked:
        return devices_counted(tenants)
    return configs_counted(tenants, status=asked["status"]) if asked["status"] in Status.values else None
