"""How often a key may do what: the limits of the original's page (A4), and those of organizations with their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMonth

from boot.messages import Key
from boot.models import Operation, Quota
from core import quotas
from core.quotas import Window

LIMITS: Mapping[str, RateLimitItem] = {
    Operation.BOOT_GET: RateLimitItemPerHour(60),
    Operation.BOOT_POST: RateLimitItemPerHour(10),
    Operation.BOOT_DELETE: RateLimitItemPerHour(10),
    Operation.IMAGE_GET: RateLimitItemPerMonth(10),
    Operation.TRACK_LIST: RateLimitItemPerHour(300),
    Operation.TRACK_GET: RateLimitItemPerHour(300),
    Operation.TRACK_POST: RateLimitItemPerHour(120),
}


class Gauge(NamedTuple):
    """How much of a limit a key has used in the window that ends at `resets_at`."""

    operation: str
    limit: int
    used: int
    resets_at: datetime

    @property
    def left(self) -> int:
        """What is left."""
        return max(0, self.limit - self.used)


def item_of(operation: str, amount: int | None = None) -> RateLimitItem:
    """Return an operation's limit, with the amount of an organization that has its own."""
    standard = LIMITS[operation]
    return standard if amount is None else type(standard)(amount)


def window_of(operation: str, at: datetime) -> Window:
    """Return the window an operation is counted in."""
    return quotas.window_of(LIMITS[operation], at)


def amounts_of(organization_id: UUID) -> dict[str, int]:
    """Return the limits an organization has for itself, by operation."""
    rows = Quota.objects.filter(organization_id=organization_id).order_by()
    return dict(rows.values_list("operation", "amount"))


def _item_for(organization_id: UUID, operation: str) -> RateLimitItem:
    own = Quota.objects.filter(organization_id=organization_id, operation=operation).order_by()
    return item_of(operation, own.values_list("amount", flat=True).first())


def admit_key(key: Key, operation: str, *, at: datetime) -> bool:
    """Count a call of a key; tells whether its quota allows it."""
    return quotas.windows().hit_at(at, _item_for(key.organization_id, operation), key.key_id, operation)


def is_used_up(key: Key, operation: str, *, at: datetime) -> bool:
    """Tell whether a call would be refused; counts nothing."""
    item = _item_for(key.organization_id, operation)
    return quotas.windows().used(item, key.key_id, operation, at=at) >= item.amount


def gauges(*, key_id: str, organization_id: UUID, at: datetime) -> list[Gauge]:
    """Return what a key has used of each operation."""
    own, counting = amounts_of(organization_id), quotas.windows()
    found = []
    for operation in Operation.values:
        item = item_of(operation, own.get(operation))
        used = counting.used(item, key_id, operation, at=at)
        found.append(Gauge(operation, item.amount, min(used, item.amount), window_of(operation, at).end))
    return found
