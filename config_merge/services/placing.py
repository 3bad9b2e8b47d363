"""Devices put into sites, moved, taken out and given another manager: one or hundreds in the same number of statements.

Invariant: what is written is what `services.places` would have written one device after the other, audit trail and all;
what it would refuse is left untouched. Everything is written in the caller's transaction and computed in it. Devices
first, places and configurations after them, each by key: the order every writer of them keeps.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from config_merge.models import Cause, Config, Managed, Site, SiteDevice
from config_merge.services import assignment, recompute, stale
from config_merge.services.given import Given
from config_merge.services.places import SERIALS
from core.clock import now
from core.db import bulk_insert_objects, in_turn, locked
from devices import many as inventory
from devices.models import Device
from tenancy import audit
from tenancy.models import AuditEvent


@transaction.atomic
def devices_join(
    device_ids: Collection[UUID], site: Site, *, managed_by: str = "", actor_id: UUID | None = None
) -> set[UUID]:
    """Put devices into a site or move them, and let `managed_by` manage them if it is given; returns which.

    Left are devices of other organizations, the decommissioned, and with `managed_by` those out of service.
    """
    stale.reading_templates()
    condition = Q(organization_id=site.organization_id, is_retired=False)
    if managed_by:
        condition &= Q(is_deactivated=False)
    devices = _locked(device_ids, condition)
    places = _places_of(devices)
    for pk in [place.device_id for place in places.values() if place.is_retired]:
        del devices[pk], places[pk]
    new = [SiteDevice(device=device, site=site) for pk, device in devices.items() if pk not in places]
    bulk_insert_objects(new)
    events = [_joined(place) for place in new]
    moved = [place for place in places.values() if place.site_id != site.pk]
    SiteDevice.objects.filter(pk__in=[place.pk for place in moved]).update(site=site, modified=now())
    names = _names_of_sites(moved)
    told = {place.device_id: {"site": (names[place.site_id], site.name)} for place in moved}
    events += [_event("device.joined_site", devices[pk], changes) for pk, changes in told.items()]
    if devices:
        stale.mark(Q(device_id__in=list(devices)), cause=Cause.SITE, actor_id=actor_id, background=False)
    if managed_by:
        holds = {pk: place.hold for pk, place in places.items()}
        events += _managed(devices, by=managed_by, holds=holds, actor_id=actor_id)
    _finish(devices, events)
    return set(devices)


@transaction.atomic
def devices_manage(device_ids: Collection[UUID], *, by: str, actor_id: UUID | None = None) -> set[UUID]:
    """Let the configurations of devices come from templates or from their sites; returns which.

    Left are those out of service, the decommissioned, and where a site is to manage them those that are in none.
    """
    stale.reading_templates()
    devices = _locked(device_ids, Q(is_deactivated=False, is_retired=False))
    places = _places_of(devices)
    if by == Managed.SITE:
        devices = {pk: device for pk, device in devices.items() if pk in places}
    holds = {pk: place.hold for pk, place in places.items()}
    _finish(devices, _managed(devices, by=by, holds=holds, actor_id=actor_id))
    return set(devices)


@transaction.atomic
def devices_leave(device_ids: Collection[UUID], *, actor_id: UUID | None = None) -> set[UUID]:
    """Take devices out of their sites: their own settings go, and templates make their configurations; returns which.

    Left are those in no site, those out of service and the decommissioned.
    """
    stale.reading_templates()
    devices = _locked(device_ids, Q(is_deactivated=False, is_retired=False))
    places = {pk: place for pk, place in _places_of(devices).items() if not place.is_retired}
    devices = {pk: device for pk, device in devices.items() if pk in places}
    names = _names_of_sites(places.values())
    SiteDevice.objects.filter(pk__in=[place.pk for place in places.values()]).delete()
    mine = Q(device_id__in=list(devices))
    # Their statuses stay what they are until the computation says otherwise.
    Config.objects.filter(mine).update(managed_by=Managed.TEMPLATES, hold="")
    if devices:
        stale.mark(mine, cause=Cause.MOVED, actor_id=actor_id, background=False)
    told = {pk: {"site": (names[place.site_id], None)} for pk, place in places.items()}
    _finish(devices, [_event("device.left_site", devices[pk], changes) for pk, changes in told.items()])
    return set(devices)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device that a site gets before it ever called, as `places.place_create` takes it; its name is its address."""

    serial: str
    mac_address: str


@transaction.atomic
def places_create(
    site: Site, newcomers: Sequence[Newcomer], *, actor_id: UUID | None = None
) -> set[Newcomer]:
    """Add up to `devices.many.BATCH` devices to a site, which manages them; returns which, without what is refused."""
    stale.reading_templates()
    in_turn(SERIALS)
    wanted = _with_own_serials(site, newcomers)
    fields = [
        {
            "organization": site.organization,
            "mac_address": (mac := each.mac_address.strip().upper()),
            "name": mac,
        }
        for each in wanted
    ]
    made = {
        each: device
        for each, device in zip(wanted, inventory.devices_create(fields), strict=True)
        if device is not None
    }
    new = [SiteDevice(device=device, site=site, serial=each.serial) for each, device in made.items()]
    bulk_insert_objects(new)
    devices = {device.pk: device for device in made.values()}
    events = [_joined(place) for place in new]
    _finish(devices, events + _managed(devices, by=Managed.SITE, holds={}, actor_id=actor_id))
    return set(made)


def _with_own_serials(site: Site, newcomers: Sequence[Newcomer]) -> list[Newcomer]:
    """Return those whose serial number is one, and nobody else's in the organization."""
    longest = SiteDevice._meta.get_field("serial").max_length or 0
    fitting: dict[str, Newcomer] = {}
    for each in newcomers:
        serial = each.serial
        if serial and serial.isprintable() and serial == serial.strip() and len(serial) <= longest:
            fitting.setdefault(serial, each)
    theirs = SiteDevice.objects.filter(
        serial__in=list(fitting), site__organization_id=site.organization_id, is_retired=False
    )
    taken = set(theirs.values_list("serial", flat=True))
    return [each for serial, each in fitting.items() if serial not in taken]


def _locked(device_ids: Collection[UUID], condition: Q) -> dict[UUID, Device]:
    rows = locked(Device.objects.filter(condition, pk__in=list(device_ids)).order_by("pk"))
    return {row.pk: row for row in rows.only("pk", "name", "organization_id", "group_id")}


def _places_of(device_ids: Collection[UUID]) -> dict[UUID, SiteDevice]:
    """Return the places of devices without their settings, locked."""
    rows = locked(SiteDevice.objects.filter(device_id__in=list(device_ids)).order_by("pk"))
    return {row.device_id: row for row in rows.defer("settings")}


def _names_of_sites(places: Collection[SiteDevice]) -> dict[UUID, str]:
    ids = {place.site_id for place in places}
    return dict(Site.objects.filter(pk__in=ids).values_list("pk", "name"))


def _managed(
    devices: Mapping[UUID, Device], *, by: str, holds: Mapping[UUID, str], actor_id: UUID | None
) -> list[AuditEvent]:
    """Write what manages devices in service, with a configuration for those without; returns what is to be told."""
    rows = locked(Config.objects.filter(device_id__in=list(devices)).order_by("pk"))
    configs = {row.device_id: row for row in rows.only("pk", "device_id", "managed_by")}
    changed = [row for row in configs.values() if row.managed_by != by]
    ids = [row.pk for row in changed]
    Config.objects.filter(pk__in=ids).update(managed_by=by, modified=now())
    if ids:
        stale.mark(Q(pk__in=ids), cause=Cause.MOVED, actor_id=actor_id, background=False)
    told = {row.device_id: {"managed_by": (row.managed_by, by)} for row in changed}
    events = [_event("config.managed_by_changed", devices[pk], changes) for pk, changes in told.items()]
    without = [device for pk, device in devices.items() if pk not in configs]
    return events + _configured(without, by=by, holds=holds, actor_id=actor_id)


def _configured(
    devices: Sequence[Device], *, by: str, holds: Mapping[UUID, str], actor_id: UUID | None
) -> list[AuditEvent]:
    """Give devices their first configuration, as `configs.config_create` does."""
    given = Given.of(devices)
    rows = [
        Config(device=device, managed_by=by, stale_actor_id=actor_id, hold=holds.get(device.pk, ""))
        for device in devices
    ]
    bulk_insert_objects(rows)
    ids = {row.pk: given.starting(row.device, backend=row.backend) for row in rows}
    assignment.rewrite(ids)
    return [
        _event(
            "config.created",
            row.device,
            {
                "backend": (None, row.backend),
                "config": ({}, row.config),
                "context": ({}, row.context),
                "templates": ([], ids[row.pk]),
            },
        )
        for row in rows
    ]


def _joined(place: SiteDevice) -> AuditEvent:
    told = {"site": (None, place.site.name), "serial": (None, place.serial)}
    return _event("device.joined_site", place.device, told)


def _event(action: str, device: Device, changes: audit.Changes) -> AuditEvent:
    return audit.event(action, device, organization_id=device.organization_id, changes=changes)


def _finish(devices: Collection[UUID], events: Sequence[AuditEvent]) -> None:
    """Compute the configurations of the devices, and write down what was done."""
    ids = Config.objects.filter(device_id__in=list(devices)).values_list("pk", flat=True)
    recompute.recompute_these(list(ids))
    audit.record_all(events)
