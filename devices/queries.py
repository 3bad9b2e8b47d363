"""Reads of what exists."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db.models import BooleanField, Case, F, Model, Q, QuerySet, Sum, Value, When

from core import search
from core.clock import now
from devices.models import Device, DeviceCount, DeviceGroup, DeviceText, FleetSettings
from tenancy.queries import restrict

M = TypeVar("M", bound=Model)
TEXT_COLUMNS = ("name", "mac", "rest")
# A device without a link that was heard of within so long counts as online.
ONLINE_WITHIN = timedelta(minutes=5)
_MAC_PART = re.compile(r"^[:-]?[0-9a-f]{1,2}(?:[:-][0-9a-f]{1,2})*[:-]?\Z")


def devices_visible_to(user: Any) -> QuerySet[Device]:
    """Return the devices of the organizations `user` belongs to."""
    return restrict(Device.objects.select_related("organization"), user)


def online_when(*, at: datetime, path: str = "") -> Q:
    """Return the condition under which a device is online: it has a link, or polled lately and after its last link.

    `path` leads from the rows that are filtered to the device ("device__"). The same for lists, figures and dialects.
    """
    polled = Q(**{f"{path}last_seen__gte": at - ONLINE_WITHIN}) & (
        Q(**{f"{path}unlinked_at__isnull": True}) | Q(**{f"{path}last_seen__gt": F(f"{path}unlinked_at")})
    )
    return Q(**{f"{path}link__isnull": False}) | polled


def with_presence(rows: QuerySet[M], *, path: str = "") -> QuerySet[M]:
    """Annotate rows with `is_online` and `is_linked` of their device, in the query that reads them."""

    def told(condition: Q) -> Case:
        return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())

    linked = Q(**{f"{path}link__isnull": False})
    annotated = rows.annotate(is_online=told(online_when(at=now(), path=path)), is_linked=told(linked))
    return cast("QuerySet[M]", annotated)


def groups_visible_to(user: Any) -> QuerySet[DeviceGroup]:
    """Return the device groups of the organizations `user` belongs to."""
    return restrict(DeviceGroup.objects.select_related("organization"), user)


def fleet_settings_visible_to(user: Any) -> QuerySet[FleetSettings]:
    """Return the fleet settings of the organizations `user` belongs to."""
    return restrict(FleetSettings.objects.select_related("organization"), user)


def devices_counted(
    tenants: Collection[UUID] | None,
    *,
    group: DeviceGroup | None = None,
    group__isnull: bool | None = None,
    is_deactivated: bool | None = None,
) -> int:
    """Return how many devices of a kind the organizations have (None: all of them), at once for any number."""
    counts = DeviceCount.objects.all()
    if tenants is not None:
        counts = counts.filter(organization_id__in=tenants)
    if group is not None:
        counts = counts.filter(group_id=group.pk)
    if group__isnull is not None:
        alone = {"group_id": F("organization_id")}
        counts = counts.filter(**alone) if group__isnull else counts.exclude(**alone)
    if is_deactivated is not None:
        counts = counts.filter(is_deactivated=is_deactivated)
    return int(counts.aggregate(total=Sum("n"))["total"] or 0)


def _terms_of(word: str) -> list[str]:
    """Return what a word may stand for: a part of a MAC address is written with colons.

    >>> _terms_of("02-aa"), _terms_of("ap-1x")
    (['02-aa', '02:aa'], ['ap-1x'])
    """
    return [word, word.replace("-", ":")] if "-" in word and _MAC_PART.match(word) else [word]


def devices_worded(
    words: Iterable[str] = (),
    *,
    name: str = "",
    mac_address: str = "",
    narrow: bool = False,
    tested: bool = False,
) -> QuerySet[DeviceText]:
    """Return the texts of the devices that have every word somewhere, and these parts of a name and a MAC address.

    All in lower case. `narrow` says that the caller leaves few of the rows, `tested` that it comes to them one by one
    (see `core.search`).
    """
    wanted: list[tuple[tuple[str, ...], list[str]]] = [(TEXT_COLUMNS, _terms_of(word)) for word in words]
    wanted += [(("name",), [name])] if name else []
    # Colons, dashes or neither: the column has the address with colons and without.
    wanted += [(("mac",), [mac_address.replace("-", ":")])] if mac_address else []
    return search.containing(DeviceText.objects.all(), wanted, narrow=narrow, tested=tested)


def shared_secret_of(slug: str) -> str:
    """Return the shared secret of the organization `slug`. Raises FleetSettings.DoesNotExist."""
    return FleetSettings.objects.get(organization__slug=slug).shared_secret


def device_total() -> dict[tuple[str, ...], float]:
    """Count all devices, for the metrics."""
    return {(): devices_counted(None)}
