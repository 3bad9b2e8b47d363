"""Many devices written in a fixed number of statements.

Invariant: a row is written exactly as `devices.services` writes one alone, or it is not written and `None` stands for
it. Only what can be shown to be in order for all rows at once is written here; why a row is not is for the service of
one device to say. A constraint that is violated all the same raises IntegrityError, and the caller's savepoint undoes
the whole lot.
"""

import copy
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.db.models.functions import Lower

from core.clock import now
from core.db import bulk_insert_objects, bulk_set, locked
from core.errors import Forbidden
from core.events import publish
from devices.events import DevicesChanged
from devices.models import Device, FleetSettings
from devices.services import ADDRESSES, DEVICE_FIELDS, check_in_service, normalise
from tenancy import audit

# The statements of a batch have as many parameters as it has rows.
BATCH = 500
# They are objects that exist, so that asking the database once more for each row would say nothing new.
_RELATIONS = ("organization", "group")
_IDENTITIES = frozenset({"name", "mac_address", "key", "hardware_id"})


def devices_create(wanted: Sequence[Mapping[str, Any]]) -> list[Device | None]:
    """Create up to `BATCH` devices, each of fields as for `devices.services.device_create`; None for those left.

    Call it inside a transaction. Raises IntegrityError and DataError.
    """
    rows = [Device(**fields) for fields in wanted]
    fleets = FleetSettings.objects.in_bulk({row.organization_id for row in rows})
    for row in rows:
        normalise(row, fleets=fleets)
    well = [row for row in rows if _is_valid(row)]
    taken = _taken(well)
    well = _within_limits([row for row in well if row.pk not in taken], fleets=fleets)
    bulk_insert_objects(well)
    audit.record_all(
        audit.event("device.created", row, organization_id=row.organization_id, changes=audit.contents(row))
        for row in well
    )
    written = {row.pk for row in well}
    return [row if row.pk in written else None for row in rows]


def devices_update(wanted: Sequence[tuple[UUID, Mapping[str, Any]]]) -> list[Device | None]:
    """Change fields of up to `BATCH` devices as `devices.services.device_update` does; None for those left.

    Devices that would move to another organization, that are gone or out of service are left, too. Call it inside a
    transaction. Raises IntegrityError and DataError.
    """
    before = {device.pk: device for device in locked(_stored(wanted))}
    changed = _changed(before, wanted)
    _store(before, changed)
    return [changed[pk][0] if pk in changed else None for pk, _ in wanted]


def devices_proposed(wanted: Sequence[tuple[UUID, Mapping[str, Any]]]) -> dict[UUID, tuple[Device, Device]]:
    """Return what `devices_update` would store, each beside the stored row, without what it leaves.

    Writes and locks nothing.
    """
    before = {device.pk: device for device in _stored(wanted)}
    return {pk: (row, before[pk]) for pk, (row, _) in _changed(before, wanted).items()}


def _stored(wanted: Sequence[tuple[UUID, Mapping[str, Any]]]) -> QuerySet[Device]:
    rows = Device.objects.filter(pk__in=[pk for pk, _ in wanted])
    return rows.select_related("group").order_by("pk")


def _changed(
    before: Mapping[UUID, Device], wanted: Sequence[tuple[UUID, Mapping[str, Any]]]
) -> dict[UUID, tuple[Device, frozenset[str]]]:
    """Return what is in order of what is wanted, each with the names of the columns that differ."""
    changed: dict[UUID, tuple[Device, frozenset[str]]] = {}
    for pk, changes in wanted:
        if pk in before and (proposal := _proposal(before[pk], changes)) is not None:
            changed[pk] = (proposal, _differing(before[pk], proposal))
    for pk in _taken([row for row, fields in changed.values() if fields & _IDENTITIES]):
        del changed[pk]
    return changed


def devices_flag_set(device_ids: Collection[UUID], *, deactivated: bool) -> int:
    """Deactivate or activate devices; returns how many were not so already."""
    rows = Device.objects.filter(pk__in=list(device_ids), is_deactivated=not deactivated)
    return rows.update(is_deactivated=deactivated)


def _is_valid(row: Device) -> bool:
    if row.group is not None and row.group.organization_id != row.organization_id:
        return False
    try:
        row.clean_fields(exclude=_RELATIONS)
        row.clean()
    except ValidationError:
        return False
    return True


def _proposal(before: Device, changes: Mapping[str, Any]) -> Device | None:
    row = copy.copy(before)
    row._state = copy.copy(before._state)
    row._state.fields_cache = dict(before._state.fields_cache)
    for name, value in changes.items():
        setattr(row, name, value)
    row.key = row.key or before.key
    normalise(row, fleets={})
    try:
        check_in_service(before)
    except Forbidden:
        return None
    return row if row.organization_id == before.organization_id and _is_valid(row) else None


def _differing(before: Device, row: Device) -> frozenset[str]:
    fields = row._meta.concrete_fields
    return frozenset(
        field.name for field in fields if getattr(row, field.attname) != getattr(before, field.attname)
    )


def _store(before: Mapping[UUID, Device], changed: Mapping[UUID, tuple[Device, frozenset[str]]]) -> None:
    written = frozenset[str]().union(*(fields for _, fields in changed.values()))
    if not written:
        return
    moment = now()
    for row, fields in changed.values():
        row.modified = moment if fields else row.modified
    columns = [field for field in Device._meta.concrete_fields if field.name in {*written, "modified"}]
    values = [
        (pk, [getattr(row, column.attname) for column in columns])
        for pk, (row, fields) in changed.items()
        if fields
    ]
    bulk_set(Device, [column.name for column in columns], values)
    told = {pk: fields & DEVICE_FIELDS for pk, (_, fields) in changed.items() if fields & DEVICE_FIELDS}
    publish(DevicesChanged(told))
    # Where a device was heard from changes by itself; that is no act of anybody.
    audit.record_all(
        audit.event(
            "device.changed",
            changed[pk][0],
            organization_id=changed[pk][0].organization_id,
            changes=audit.difference(before[pk], changed[pk][0]),
        )
        for pk, fields in told.items()
        if fields - ADDRESSES
    )


def _within_limits(rows: Sequence[Device], *, fleets: Mapping[UUID, FleetSettings]) -> list[Device]:
    """Return the rows that their organizations' limits have room for, in their order."""
    limited = [pk for pk, fleet in fleets.items() if fleet.device_limit != 0]
    if not limited:
        return list(rows)
    limits = dict(
        locked(FleetSettings.objects.filter(pk__in=limited).order_by("pk")).values_list("pk", "device_limit")
    )
    counted = Device.objects.filter(organization__in=limits, is_retired=False).order_by()
    used = Counter(dict(counted.values_list("organization").annotate(total=Count("pk"))))
    well = []
    for row in rows:
        limit = limits.get(row.organization_id, 0)
        if limit == 0 or (limit is not None and used[row.organization_id] < limit):
            used[row.organization_id] += 1
            well.append(row)
    return well


def _taken(rows: Collection[Device]) -> set[UUID]:
    """Return the ids of those rows whose name, address, key or hardware id another device has, or may have."""
    if not rows:
        return set()
    in_use = Device.objects.filter(
        organization__in={row.organization_id for row in rows}, is_retired=False
    ).order_by()
    names = {(row.organization_id, row.name.lower()): row.pk for row in rows}
    addresses = {(row.organization_id, row.mac_address): row.pk for row in rows}
    hardware = {(row.organization_id, row.hardware_id): row.pk for row in rows if row.hardware_id}
    keys = {row.key_digest: row.pk for row in rows}
    found: list[tuple[UUID | None, UUID]] = [
        (names.get((organization_id, name)), pk)
        for organization_id, name, pk in in_use.annotate(lowered=Lower("name"))
        .filter(lowered__in={name for _, name in names})
        .values_list("organization_id", "lowered", "pk")
    ]
    found += [
        (addresses.get((organization_id, address)), pk)
        for organization_id, address, pk in in_use.filter(
            mac_address__in={address for _, address in addresses}
        ).values_list("organization_id", "mac_address", "pk")
    ]
    found += [
        (keys[key], pk)
        for key, pk in Device.objects.filter(key_digest__in=keys).order_by().values_list("key_digest", "pk")
    ]
    if hardware:
        found += [
            (hardware.get((organization_id, value or "")), pk)
            for organization_id, value, pk in in_use.filter(
                hardware_id__in={value for _, value in hardware}
            ).values_list("organization_id", "hardware_id", "pk")
        ]
    return {row_id for row_id, pk in found if row_id is not None and row_id != pk}
