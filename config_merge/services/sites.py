"""Sites and the devices managed through them: what they are set to, and who belongs where.

A change names the version it was made from. Invariant: of two changes made from the same version one is applied, and
the other is told that the world has moved on; nothing of it is applied.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from config_merge.engine import InvalidSettings, device_changed, site_changed, value_of
from config_merge.models import Backend, Cause, Config, Managed, Site, SiteDevice
from config_merge.models_sites import version_new
from config_merge.services import configs, recompute, stale
from config_merge.starting import FORMS
from core.changes import changed_row, store
from core.db import in_turn, locked
from core.errors import Conflict, Forbidden
from core.redaction import is_secret_name, mark_of
from devices.models import Device
from tenancy import audit

SITE_FIELDS = ("name", "defaults", "context")
PLACE_FIELDS = ("serial", "inherits", "is_suspended", "is_blocked", "is_retired", "license_type")
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change: at most one of the flags is set, and then nothing was applied."""

    is_stale: bool = False
    is_suspended: bool = False


SAVED = Outcome()
STALE = Outcome(is_stale=True)
SUSPENDED = Outcome(is_suspended=True)


# --- sites ------------------------------------------------------------------------------------------------------------


@transaction.atomic
def site_create(**fields: Any) -> Site:
    """Create a site. Raises ValidationError."""
    site = Site(**{"defaults": copy.deepcopy(FORMS), **fields})
    _check_site(site)
    site.save(force_insert=True)
    audit.record(
        "site.created", site, organization_id=site.organization_id, changes={"name": (None, site.name)}
    )
    return site


@transaction.atomic
def site_update(site: Site, *, actor_id: UUID | None = None, **changes: Any) -> Site:
    """Change name, defaults or variables of a site; settings have `site_settings_change`. Raises ValidationError."""
    in_turn(stale.FLEET)
    row, before = changed_row(site, changes)
    if row.organization_id != before.organization_id:
        raise ValidationError({"organization": "A site stays in its organization."})
    _check_site(row)
    changed = store(row, before=before, onto=site)
    if changed & {"defaults", "context"}:
        stale.mark(Q(device__place__site_id=site.pk), cause=Cause.SITE, actor_id=actor_id)
    if changed:
        audit.record_change("site", before, row, changes=audit.difference(before, row))
    return site


def _check_site(site: Site) -> None:
    for name in ("defaults", "context"):
        if not isinstance(getattr(site, name), dict):
            raise ValidationError({name: "A JSON object is needed."})
    for key, value in site.defaults.items():
        try:
            if "/" in key:
                value_of(value, key=key)
            elif not isinstance(value, dict):
                raise InvalidSettings("a form for new entities is an object", path=key)
        except InvalidSettings as error:
            raise ValidationError({"defaults": str(error)}) from error
    site.full_clean()


@transaction.atomic
def site_delete(site: Site) -> None:
    """Delete a site without devices. Raises Conflict."""
    row = locked(Site.objects.filter(pk=site.pk)).first()
    if row is None:
        raise Conflict("The site is gone.")
    if row.places.exists():
        raise Conflict("The site has devices: move them to another site, or delete them, first.")
    gone = copy.copy(row)
    row.delete()
    audit.record("site.deleted", gone, organization_id=gone.organization_id)


@transaction.atomic
def site_settings_change(
    site: Site, changes: Any, *, version: UUID | None, actor_id: UUID | None = None
) -> Outcome:
    """Apply a change of settings that was made from `version` (None: from whatever there is). All or nothing.

    Its devices are marked stale with one statement. Raises ValidationError under `changes`.
    """
    # Before the row: a device's write holds its turn when it refers to the row.
    in_turn(stale.FLEET)
    row = locked(Site.objects.filter(pk=site.pk)).get()
    if version is not None and version != row.version:
        _follow(site, row)
        return STALE
    before = row.settings
    row.settings = _checked(site_changed, before, changes)
    row.version, row.is_initialised = version_new(), True
    row.save(update_fields=["settings", "version", "is_initialised", "modified"])
    _follow(site, row)
    if row.settings != before:
        reached = Q(device__place__site_id=row.pk, device__place__inherits=True, managed_by=Managed.SITE)
        stale.mark(reached, cause=Cause.SITE, actor_id=actor_id)
        _record("site.settings_changed", row, row.organization_id, before, row.settings)
    return SAVED


def _follow(instance: Any, row: Any) -> None:
    for field in row._meta.concrete_fields:
        setattr(instance, field.attname, getattr(row, field.attname))


def _checked(change: Any, *arguments: Any, **keywords: Any) -> dict[str, dict[str, Any]]:
    try:
        changed: dict[str, dict[str, Any]] = change(*arguments, **keywords)
    except InvalidSettings as error:
        raise ValidationError({"changes": str(error)}) from error
    return changed


def _record(action: str, target: Any, organization_id: UUID, before: Settings, after: Settings) -> None:
    old, new = hidden(before), hidden(after)
    changes = {key: (old.get(key), new.get(key)) for key in {*old, *new} if old.get(key) != new.get(key)}
    audit.record(action, target, organization_id=organization_id, changes=dict(sorted(changes.items())))


def hidden(settings: Settings) -> dict[str, str]:
    """Return settings as texts for people: the value and its origin, a mark where the key is a secret's.

    >>> hidden({"radio/r5/channel": {"value": "36", "origin": "device"}})
    {'radio/r5/channel': '36 (device)'}
    """
    return {key: f"{_shown(key, entry['value'])} ({entry['origin']})" for key, entry in settings.items()}


def _shown(key: str, value: str | None) -> str:
    if value is None:
        return "none"
    return mark_of(value) if value and is_secret_key(key) else value


def is_secret_key(key: str) -> bool:
    """Tell whether what stands under a key is a secret: by the name of its property.

    >>> is_secret_key("wireless/1000000584/key"), is_secret_key("wireless/1000000584/ssid")
    (True, False)
    """
    return is_secret_name(key.rstrip("/").rpartition("/")[2])


# --- devices of a site ------------------------------------------------------------------------------------------------


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

    It is managed by the site's settings; its name is its MAC address until it has another.
    """
    stale.reading_templates()
    _check_serial(serial, site=site)
    mac = mac_address.strip().upper()
    device = configs.managed_device_create(
        organization=site.organization, mac_address=mac, name=name.strip() or mac, actor_id=actor_id
    )
    place = _place(device, site=site, serial=serial, inherits=inherits)
    device_manage(device, by=Managed.SITE, actor_id=actor_id)
    return place


def _place(device: Device, *, site: Site, serial: str = "", inherits: bool = True) -> SiteDevice:
    place = SiteDevice(device=device, site=site, serial=serial, inherits=inherits)
    place.full_clean(exclude=["device", "site"])
    place.save(force_insert=True)
    told: dict[str, tuple[Any, Any]] = {"site": (None, site.name), "serial": (None, serial)}
    audit.record("device.joined_site", device, organization_id=device.organization_id, changes=told)
    return place


def _check_serial(serial: str, *, site: Site, place: SiteDevice | None = None) -> None:
    """Refuse a serial number that a living device of the organization has."""
    if not serial:
        raise ValidationError({"serial": "A serial number is needed."})
    in_turn("config_merge.serials")
    others = SiteDevice.objects.filter(
        serial=serial, site__organization_id=site.organization_id, is_retired=False
    )
    if (others.exclude(pk=place.pk) if place else others).exists():
        raise ValidationError({"serial": "A device with this serial number exists already."})


@transaction.atomic
def device_join(device: Device, site: Site, *, actor_id: UUID | None = None) -> SiteDevice:
    """Put an existing device into a site, or move it to another; its own settings stay. Raises ValidationError."""
    stale.reading_templates()
    if site.organization_id != device.organization_id:
        raise ValidationError({"site": "The site belongs to another organization than the device."})
    locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    place = locked(SiteDevice.objects.filter(device_id=device.pk)).first()
    if place is None:
        place = _place(device, site=site)
    elif place.site_id != site.pk:
        told = {"site": (place.site.name, site.name)}
        place.site = site
        place.save(update_fields=["site", "modified"])
        audit.record("device.joined_site", device, organization_id=device.organization_id, changes=told)
    stale.mark(Q(device_id=device.pk), cause=Cause.SITE, actor_id=actor_id, background=False)
    _compute(device)
    return place


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
        raise Forbidden("The device is deactivated.")
    if by == Managed.SITE and not SiteDevice.objects.filter(device_id=device.pk).exists():
        raise ValidationError({"managed_by": "The device is in no site."})
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
) -> Outcome:
    """Apply a change of a device's settings that was made from `version`. All or nothing.

    Raises ValidationError under `changes`, Forbidden for a retired device.
    """
    stale.reading_templates()
    row = locked(SiteDevice.objects.filter(pk=place.pk)).get()
    if row.is_retired:
        raise Forbidden("The device is decommissioned.")
    if row.is_suspended or (version is not None and version != row.version):
        _follow(place, row)
        return SUSPENDED if row.is_suspended else STALE
    before = row.settings
    site = Site.objects.get(pk=row.site_id)
    row.settings = _checked(device_changed, before, changes, site=site.settings if row.inherits else {})
    row.version = version_new()
    row.save(update_fields=["settings", "version", "modified"])
    _follow(place, row)
    if row.settings != before:
        mine = Q(device_id=row.device_id, managed_by=Managed.SITE)
        stale.mark(mine, cause=Cause.SETTINGS, actor_id=actor_id, background=False)
        _compute(row.device)
        _record("device.settings_changed", row.device, row.device.organization_id, before, row.settings)
    return SAVED


@transaction.atomic
def place_settings_restore(
    place: SiteDevice, settings: dict[str, dict[str, Any]], *, actor_id: UUID | None = None
) -> None:
    """Give a device the settings it had once, as they were. Raises Forbidden for a retired device."""
    stale.reading_templates()
    row = locked(SiteDevice.objects.filter(pk=place.pk)).get()
    if row.is_retired:
        raise Forbidden("The device is decommissioned.")
    before, row.settings = row.settings, settings
    if row.settings == before:
        return
    row.version = version_new()
    row.save(update_fields=["settings", "version", "modified"])
    mine = Q(device_id=row.device_id, managed_by=Managed.SITE)
    stale.mark(mine, cause=Cause.RESTORED, actor_id=actor_id, background=False)
    _compute(row.device)
    _record("device.settings_changed", row.device, row.device.organization_id, before, row.settings)


@transaction.atomic
def place_update(place: SiteDevice, *, actor_id: UUID | None = None, **changes: Any) -> SiteDevice:
    """Change how a device is managed (`PLACE_FIELDS`), or its `name`. Raises ValidationError, Forbidden."""
    stale.reading_templates()
    name = changes.pop("name", None)
    row, before = changed_row(place, changes)
    if before.is_retired and row.is_retired:
        raise Forbidden("The device is decommissioned.")
    if row.serial != before.serial or (before.is_retired and not row.is_retired):
        _check_serial(row.serial, site=row.site, place=row)
    row.full_clean(exclude=["device", "site"])
    changed = store(row, before=before, onto=place)
    if changed & {"inherits", "is_suspended"}:
        stale.mark(Q(device_id=row.device_id), cause=Cause.SETTINGS, actor_id=actor_id, background=False)
        _compute(row.device)
    if changed:
        told = audit.difference(before, row)
        audit.record(
            "device.place_changed", row.device, organization_id=row.device.organization_id, changes=told
        )
    if name is not None and name != place.device.name:
        configs.managed_device_update(place.device, name=name, actor_id=actor_id)
    return place
