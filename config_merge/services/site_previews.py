"""What a change of a site, of its settings, or of a device's place would do, told before it is made.

Invariant: as in `preview`, nothing is written and no lock taken, and what the services refuse is refused by the same
checks. Devices that are held get nothing, so they are not looked at.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import Q

from config_merge import inputs
from config_merge.inputs import Standing
from config_merge.models import Config, Hold, Managed, Site, SiteDevice
from config_merge.services import places, sites
from config_merge.services.comparison import Preview, Progress, Tally
from config_merge.services.device_previews import Draft, drawn, places_by_device
from config_merge.services.foretelling import Foreteller, Foretold
from config_merge.services.given import Given
from config_merge.services.preview import looked_at
from core.changes import proposed_row
from core.errors import Forbidden
from devices.models import Device
from devices.services import DEACTIVATED, RETIRED

_HELD = Q(hold__in=(Hold.SUSPENDED, Hold.RETIRED))


def _at(place: SiteDevice | None, site: Site) -> SiteDevice | None:
    if place is None:
        return None
    moved = copy.copy(place)
    moved.site = site
    return moved


def site_preview(
    site: Site, changes: Mapping[str, Any], *, limit: int | None = None, progress: Progress | None = None
) -> Preview:
    """Return what other defaults or variables of a site do to its devices. Raises ValidationError, TooMany."""
    row = sites.proposed_site(site, changes)
    return looked_at(
        Q(device__place__site_id=row.pk) & ~_HELD,
        lambda now: replace(now, place=_at(now.place, row)),
        limit=limit,
        progress=progress,
    )


def site_settings_preview(
    site: Site, changes: Any, *, limit: int | None = None, progress: Progress | None = None
) -> Preview:
    """Return what a change of a site's settings does to the devices it reaches. Raises ValidationError, TooMany."""
    row, _ = proposed_row(site, {})
    row.settings = sites.site_settings_after(row, changes)
    return looked_at(
        sites.reached_by(row) & ~_HELD,
        lambda now: replace(now, place=_at(now.place, row)),
        limit=limit,
        progress=progress,
    )


def placement_preview(
    device: Device,
    *,
    site: Site | None = None,
    leave: bool = False,
    managed_by: str = "",
    inherits: bool | None = None,
    changes: Any = None,
) -> Preview:
    """Return what it does to a device to join a site, move or `leave`, to be managed by something else, to change its
    own settings, or all of it at once. Raises ValidationError, Forbidden, NotFound as the services do.
    """
    config = Config.objects.filter(device_id=device.pk).first()
    tally = Tally()
    place = places.proposed_place(device, site=site, leave=leave)
    if device.is_retired and site is not None:
        raise Forbidden(RETIRED)
    if device.is_deactivated and (leave or managed_by or site is None):
        raise Forbidden(DEACTIVATED)
    if device.is_retired:
        raise Forbidden(RETIRED)
    if place is not None and inherits is not None:
        place.inherits = inherits
    if changes is not None:
        place = places.checked_place(place)
        place.settings = places.place_settings_after(place, changes)
    by = managed_by or (config.managed_by if config is not None else Managed.TEMPLATES)
    by = places.checked_manager(Managed.TEMPLATES if leave and not managed_by else by, place=place)
    if config is None:
        if managed_by:
            tally.add(None, *drawn([_new(device, by, place, Given.of([device]))]))
        else:
            tally.unchanged += 1
        return tally.result()
    (now,) = inputs.standings([config])
    if device.is_deactivated or _is_suspended(place):
        tally.unchanged += 1
        return tally.result()
    tally.add(now, _placed(now, place, by))
    return tally.result()


def placements_foretold(
    device_ids: Collection[UUID], *, site: Site | None = None, leave: bool = False, managed_by: str = ""
) -> dict[UUID, Foretold]:
    """Return in a word what `placement_preview` would say of each of many devices, none of which it refuses."""
    devices = {device.pk: device for device in Device.objects.filter(pk__in=list(device_ids))}
    now = {
        standing.config.device_id: standing
        for standing in inputs.standings(Config.objects.filter(device_id__in=list(devices)))
    }
    held = {pk: standing.place for pk, standing in now.items() if standing.place is not None}
    held |= places_by_device(devices.keys() - now.keys())
    given, pairs = Given.of(devices.values()), list[tuple[Standing | None, Standing]]()
    new: list[Draft] = []
    for pk, device in devices.items():
        place = _place_after(device, held.get(pk), site=site, leave=leave)
        if pk not in now and managed_by:
            new.append(_new(device, managed_by, place, given))
        elif pk in now and not device.is_deactivated and not _is_suspended(place):
            by = Managed.TEMPLATES if leave else managed_by or now[pk].config.managed_by
            pairs.append((now[pk], _placed(now[pk], place, by)))
    pairs += [(None, then) for then in drawn(new)]
    teller = Foreteller({device.organization_id for device in devices.values()})
    found = dict.fromkeys(devices, Foretold())
    return found | {then.device.pk: teller.foretold(before, then) for before, then in pairs}


def _place_after(
    device: Device, place: SiteDevice | None, *, site: Site | None, leave: bool
) -> SiteDevice | None:
    if leave:
        return None
    return place if site is None else _at(place, site) or SiteDevice(device=device, site=site)


def _is_suspended(place: SiteDevice | None) -> bool:
    return place is not None and place.hold == Hold.SUSPENDED


def _placed(now: Standing, place: SiteDevice | None, by: str) -> Standing:
    then = copy.copy(now.config)
    then.managed_by = by
    return replace(now, config=then, place=place)


def _new(device: Device, managed_by: str, place: SiteDevice | None, given: Given) -> Draft:
    """Return the configuration that a device without one gets with its site (`configs.config_create`)."""
    config = Config(device=device, managed_by=managed_by)
    return Draft(config, device, given.starting(device, backend=config.backend), place)
