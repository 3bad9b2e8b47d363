"""What a change of a site, of its settings, or of a device's place would do, told before it is made.

Invariant: as in `preview`, nothing is written and no lock taken, and what the services refuse is refused by the same
checks. Devices that are held get nothing, so they are not looked at.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Q

from config_merge import inputs
from config_merge.inputs import Standing
from config_merge.models import Config, Hold, Managed, Site, SiteDevice
from config_merge.services import assignment, places, sites
from config_merge.services.comparison import Preview, Progress, Tally
from config_merge.services.preview import looked_at, standing_of
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
            tally.add(None, _new(device, by, place))
        else:
            tally.unchanged += 1
        return tally.result()
    (now,) = inputs.standings([config])
    if device.is_deactivated or (place is not None and place.hold == Hold.SUSPENDED):
        tally.unchanged += 1
        return tally.result()
    then = copy.copy(now.config)
    then.managed_by = by
    tally.add(now, replace(now, config=then, place=place))
    return tally.result()


def _new(device: Device, managed_by: str, place: SiteDevice | None) -> Standing:
    """Return the configuration that a device without one gets with its site (`configs.config_create`)."""
    config = Config(device=device, managed_by=managed_by)
    ids = assignment.starting_ids(device, backend=config.backend, chosen=[])
    return standing_of(config, device, ids, place=place)
