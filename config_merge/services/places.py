"""The devices of sites: added, moved, set, held and taken out again; and taking their overrides back.

One call (`placement_change`) may change all of it; the device is computed once, with everything in place.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from config_merge.delivery import queue
from config_merge.engine import device_changed, entity_of
from config_merge.models import Backend, Cause, Config, Managed, Site, SiteDevice
from config_merge.models_sites import version_new
from config_merge.names import host_name, label_of, name_of
from config_merge.services import configs, recompute, sites, stale
from core.changes import changed_row, store
from core.db import in_turn, locked
from core.errors import Forbidden, NotFound
from devices import services as inventory
from devices.models import Device
from devices.services import DEACTIVATED, RETIRED
from tenancy import audit

PLACE_FIELDS = ("serial", "inherits", "is_suspended", "is_blocked", "is_retired", "license_type")
HOLDS = frozenset({"is_suspended", "is_blocked", "is_retired"})
IN_NO_SITE = "The device is in no site."
OTHER_ORGANIZATION = "The site belongs to another organization than the device."
# Whoever gives a device a serial number takes a turn (`core.db.in_turn`).
SERIALS = "config_merge.serials"


def place_of(device: Device) -> SiteDevice:
    """Return a device's place with its site. Raises NotFound."""
    place = SiteDevice.objects.select_related("site", "device__config").filter(device_id=device.pk).first()
    if place is None:
        raise NotFound(IN_NO_SITE)
    return place


def place_settings_after(place: SiteDevice, changes: Any) -> dict[str, dict[str, Any]]:
    """Return a device's own settings after a change; `place.site` is its site. Raises ValidationError."""
    return sites.checked_change(
        device_changed, place.settings, changes, site=place.site.settings if place.inherits else {}
    )


@transaction.atomic
def place_create(
    site: Site,
    *,
    serial: str,
    mac_address: str,
    name: str = "",
    inherits: bool = True,
    actor_id: UUID | None = None,
) -> SiteDevice:
    """Add a device to a site by its serial number and MAC address, before it ever called. Raises ValidationError.

    It is managed by the site's settings; its name is its MAC address until it has another. A name need be no host name.
    """
    stale.reading_templates()
    serial = sites.line_of("serial", serial)
    _check_serial(serial, site=site)
    mac = mac_address.strip().upper()
    name = sites.line_of("name", name) or mac
    device = configs.managed_device_create(
        organization=site.organization, mac_address=mac, name=host_name(name), actor_id=actor_id
    )
    place = _place(device, site=site, serial=serial, inherits=inherits, label=label_of(name))
    device_manage(device, by=Managed.SITE, actor_id=actor_id)
    return place


def _place(
    device: Device, *, site: Site, serial: str = "", inherits: bool = True, label: str = ""
) -> SiteDevice:
    place = SiteDevice(device=device, site=site, serial=serial, inherits=inherits, label=label)
    if device.is_retired:
        raise Forbidden(RETIRED)
    place.full_clean(exclude=["device", "site"])
    place.save(force_insert=True)
    told: dict[str, tuple[Any, Any]] = {"site": (None, site.name), "serial": (None, serial)}
    audit.record("device.joined_site", device, organization_id=device.organization_id, changes=told)
    return place


def _check_serial(serial: str, *, site: Site, place: SiteDevice | None = None) -> None:
    """Refuse a serial number that a living device of the organization has."""
    if not serial:
        raise ValidationError({"serial": "A serial number is needed."})
    in_turn(SERIALS)
    others = SiteDevice.objects.filter(
        serial=serial, site__organization_id=site.organization_id, is_retired=False
    )
    if (others.exclude(pk=place.pk) if place else others).exists():
        raise ValidationError({"serial": "A device with this serial number exists already."})


@transaction.atomic
def device_join(device: Device, site: Site, *, actor_id: UUID | None = None) -> SiteDevice:
    """Put an existing device into a site, or move it to another; its own settings stay. Raises ValidationError."""
    stale.reading_templates()
    _check_home(device, site)
    locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    place = locked(SiteDevice.objects.filter(device_id=device.pk)).first()
    if place is None:
        place = _place(device, site=site)
    elif place.is_retired:
        raise Forbidden(RETIRED)
    elif place.site_id != site.pk:
        told = {"site": (place.site.name, site.name)}
        place.site = site
        place.save(update_fields=["site", "modified"])
        audit.record("device.joined_site", device, organization_id=device.organization_id, changes=told)
    stale.mark(Q(device_id=device.pk), cause=Cause.SITE, actor_id=actor_id, background=False)
    _compute(device)
    return place


def _check_home(device: Device, site: Site) -> None:
    if site.organization_id != device.organization_id:
        raise ValidationError({"site": OTHER_ORGANIZATION})


def proposed_place(device: Device, *, site: Site | None, leave: bool = False) -> SiteDevice | None:
    """Return the place a device would have in `site`, or has; None where it leaves or never had one.

    Writes and locks nothing. Raises ValidationError.
    """
    if leave:
        return None
    place = SiteDevice.objects.select_related("site").filter(device_id=device.pk).first()
    if site is not None:
        _check_home(device, site)
        place = place or SiteDevice(device=device)
        place.site = site
    return place


def checked_place(place: SiteDevice | None) -> SiteDevice:
    """Return a place that is there. Raises ValidationError."""
    if place is None:
        raise ValidationError({"site": IN_NO_SITE})
    return place


def checked_manager(by: str, *, place: SiteDevice | None) -> str:
    """Return what is to manage a device. Raises ValidationError when that is a site it is not in."""
    if by == Managed.SITE and place is None:
        raise ValidationError({"managed_by": IN_NO_SITE})
    return by


def _compute(device: Device) -> None:
    config = configs.config_of(device)
    if config is not None:
        recompute.recompute_one(config.pk)


@transaction.atomic
def device_manage(device: Device, *, by: str, actor_id: UUID | None = None) -> Config:
    """Let a device's configuration come from templates or from its site; the other's stays stored.

    Raises ValidationError, Forbidden.
    """
    stale.reading_templates()
    if device.is_deactivated:
        raise Forbidden(DEACTIVATED)
    if device.is_retired:
        raise Forbidden(RETIRED)
    checked_manager(by, place=SiteDevice.objects.filter(device_id=device.pk).defer("settings").first())
    config = locked(Config.objects.filter(device_id=device.pk)).first()
    if config is None:
        config = configs.config_create(device, backend=Backend.OPENWRT, managed_by=by, actor_id=actor_id)
    if config.managed_by != by:
        told = {"managed_by": (config.managed_by, by)}
        config.managed_by = by
        config.save(update_fields=["managed_by", "modified"])
        stale.mark(Q(pk=config.pk), cause=Cause.MOVED, actor_id=actor_id, background=False)
        recompute.recompute_one(config.pk)
        audit.record(
            "config.managed_by_changed", device, organization_id=device.organization_id, changes=told
        )
        config.refresh_from_db()
    return config


@transaction.atomic
def place_settings_change(
    place: SiteDevice, changes: Any, *, version: UUID | None, actor_id: UUID | None = None
) -> sites.Outcome:
    """Apply a change of a device's settings that was made from `version`. All or nothing.

    Raises ValidationError under `changes`, Forbidden for a retired device.
    """
    stale.reading_templates()
    row = locked(SiteDevice.objects.filter(pk=place.pk)).get()
    if row.is_retired:
        raise Forbidden(RETIRED)
    if row.is_suspended or (version is not None and version != row.version):
        sites.follow(place, row)
        return sites.SUSPENDED if row.is_suspended else sites.STALE
    before = row.settings
    row.settings = place_settings_after(row, changes)
    row.version = version_new()
    row.save(update_fields=["settings", "version", "modified"])
    sites.follow(place, row)
    if row.settings != before:
        mine = Q(device_id=row.device_id, managed_by=Managed.SITE)
        stale.mark(mine, cause=Cause.SETTINGS, actor_id=actor_id, background=False)
        _compute(row.device)
        sites.record_settings(
            "device.settings_changed", row.device, row.device.organization_id, before, row.settings
        )
    return sites.SAVED


@transaction.atomic
def place_settings_restore(
    place: SiteDevice, settings: dict[str, dict[str, Any]], *, actor_id: UUID | None = None
) -> None:
    """Give a device the settings it had once, as they were. Raises Forbidden for a retired device."""
    stale.reading_templates()
    row = locked(SiteDevice.objects.filter(pk=place.pk)).get()
    if row.is_retired:
        raise Forbidden(RETIRED)
    before, row.settings = row.settings, settings
    if row.settings == before:
        return
    row.version = version_new()
    row.save(update_fields=["settings", "version", "modified"])
    mine = Q(device_id=row.device_id, managed_by=Managed.SITE)
    stale.mark(mine, cause=Cause.RESTORED, actor_id=actor_id, background=False)
    _compute(row.device)
    sites.record_settings(
        "device.settings_changed", row.device, row.device.organization_id, before, row.settings
    )


@transaction.atomic
def place_update(place: SiteDevice, *, actor_id: UUID | None = None, **changes: Any) -> SiteDevice:
    """Change how a device is managed (`PLACE_FIELDS`), or its `name`. Raises ValidationError, Forbidden.

    A decommissioned device can only be taken back; saying again what it is changes nothing and is no error.
    """
    stale.reading_templates()
    name = changes.pop("name", None)
    # Device first: the order every writer of both keeps.
    device = locked(Device.objects.filter(pk=place.device_id)).get()
    place.device = device
    if name is not None and name != name_of(place):
        name = sites.line_of("name", name)
        changes["label"], name = label_of(name), host_name(name)
    else:
        name = None
    row, before = changed_row(place, changes)
    row.serial = sites.line_of("serial", row.serial)
    renamed = name is not None and name != device.name
    if before.is_retired and row.is_retired and (renamed or audit.difference(before, row)):
        raise Forbidden(RETIRED)
    if row.serial != before.serial or (row.serial and before.is_retired and not row.is_retired):
        _check_serial(row.serial, site=row.site, place=row)
    row.full_clean(exclude=["device", "site"])
    changed = store(row, before=before, onto=place)
    if changed & HOLDS:
        configs.hold_follow(device.pk)
        if row.hold:
            queue.hold([device.pk])
    if renamed and row.is_retired:
        configs.managed_device_update(device, name=name, actor_id=actor_id)
    if "is_retired" in changed:
        inventory.device_retired_set(device, retired=row.is_retired)
    if changed & {"inherits", "is_suspended", "is_retired"}:
        stale.mark(Q(device_id=row.device_id), cause=Cause.SETTINGS, actor_id=actor_id, background=False)
        _compute(row.device)
    if changed & HOLDS and not row.hold:
        # What was taken back while it was held goes out now.
        queue.ensure(Config.objects.filter(device_id=device.pk))
    if changed:
        told = audit.difference(before, row)
        audit.record(
            "device.place_changed", row.device, organization_id=row.device.organization_id, changes=told
        )
    if renamed and not row.is_retired:
        configs.managed_device_update(device, name=name, actor_id=actor_id)
    place.device = device
    return place


@transaction.atomic
def placement_change(
    device: Device,
    *,
    site: Site | None = None,
    managed_by: str = "",
    actor_id: UUID | None = None,
    **flags: Any,
) -> SiteDevice:
    """Put a device into a site or move it, choose what it is managed by, change how (`PLACE_FIELDS`).

    Raises NotFound for one that is in no site and is given none; ValidationError, Forbidden as the single steps do.
    """
    stale.reading_templates()
    locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    place = SiteDevice.objects.filter(device_id=device.pk).first()
    if place is None and site is None:
        raise NotFound(IN_NO_SITE)
    with recompute.computed_later():
        if place is not None and flags and place.is_retired:
            # Nothing else can be done to it before it is taken back.
            place, flags = place_update(place, actor_id=actor_id, **flags), {}
            device.refresh_from_db()
        if site is not None:
            place = device_join(device, site, actor_id=actor_id)
        assert place is not None  # noqa: S101 - refused above
        if managed_by:
            device_manage(device, by=managed_by, actor_id=actor_id)
        if flags:
            place_update(place, actor_id=actor_id, **flags)
    config_id = Config.objects.filter(device_id=device.pk).values_list("pk", flat=True).first()
    if config_id is not None:
        recompute.recompute_one(config_id)
    return place_of(device)


@transaction.atomic
def device_leave(device: Device, *, actor_id: UUID | None = None) -> None:
    """Take a device out of its site: its own settings go, and templates make its configuration again.

    Raises NotFound, Forbidden.
    """
    stale.reading_templates()
    row = locked(Device.objects.filter(pk=device.pk)).get()
    place = locked(SiteDevice.objects.filter(device_id=device.pk)).first()
    if place is None:
        raise NotFound(IN_NO_SITE)
    if row.is_deactivated:
        raise Forbidden(DEACTIVATED)
    if place.is_retired:
        raise Forbidden(RETIRED)
    left = place.site.name
    place.delete()
    # Its status stays what it is until the computation says otherwise.
    Config.objects.filter(device_id=row.pk).update(managed_by=Managed.TEMPLATES, hold="")
    stale.mark(Q(device_id=row.pk), cause=Cause.MOVED, actor_id=actor_id, background=False)
    audit.record("device.left_site", row, organization_id=row.organization_id, changes={"site": (left, None)})
    config_id = Config.objects.filter(device_id=row.pk).values_list("pk", flat=True).first()
    if config_id is not None:
        recompute.recompute_one(config_id)


def reverting(place: SiteDevice, keys: Collection[str]) -> dict[str, None]:
    """Return the change that takes back a device's own settings under `keys`; an entity goes whole, no key means all.

    Raises ValidationError for a key under which the device says nothing.
    """
    held = {entity_of(key) or key for key in place.settings}
    wanted = {entity_of(key) or key for key in keys} if keys else held
    if missing := sorted(wanted - held):
        raise ValidationError(
            {"key": [f"There is nothing of the device's own under {key[:255]}." for key in missing]}
        )
    return dict.fromkeys(sorted(wanted))
