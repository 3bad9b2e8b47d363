"""Sites: what they are called, what they are set to. Their devices are in `places`.

A change names the version it was made from. Invariant: of two changes made from the same version one is applied, and
the other is told that the world has moved on; nothing of it is applied.
"""

import copy
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from config_merge.engine import InvalidSettings, site_changed, value_of
from config_merge.models import Cause, Managed, Site
from config_merge.models_sites import version_new
from config_merge.services import stale
from config_merge.starting import FORMS
from core.changes import changed_row, proposed_row, store
from core.db import in_turn, locked
from core.errors import Conflict
from core.redaction import is_secret_name, mark_of
from tenancy import audit

SITE_FIELDS = ("name", "defaults", "context")
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
    _check_site_update(row, before)
    changed = store(row, before=before, onto=site)
    if changed & {"defaults", "context"}:
        stale.mark(Q(device__place__site_id=site.pk), cause=Cause.SITE, actor_id=actor_id)
    if changed:
        audit.record_change("site", before, row, changes=audit.difference(before, row))
    return site


def proposed_site(site: Site, changes: Mapping[str, Any]) -> Site:
    """Return the row `site_update` would store. Writes and locks nothing. Raises as it does."""
    row, before = proposed_row(site, changes)
    _check_site_update(row, before)
    return row


def _check_site_update(row: Site, before: Site) -> None:
    if row.organization_id != before.organization_id:
        raise ValidationError({"organization": "A site stays in its organization."})
    _check_site(row)


def line_of(name: str, text: str) -> str:
    """Return a line of text without blanks around it. Raises ValidationError under `name` for control characters."""
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValidationError({name: "Control characters are not allowed."})
    return text.strip()


def _check_site(site: Site) -> None:
    site.name = line_of("name", site.name)
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
        follow(site, row)
        return STALE
    before = row.settings
    row.settings = site_settings_after(row, changes)
    row.version, row.is_initialised = version_new(), True
    row.save(update_fields=["settings", "version", "is_initialised", "modified"])
    follow(site, row)
    if row.settings != before:
        stale.mark(reached_by(row), cause=Cause.SITE, actor_id=actor_id)
        record_settings("site.settings_changed", row, row.organization_id, before, row.settings)
    return SAVED


def reached_by(site: Site) -> Q:
    """Return which configurations take a site's settings."""
    return Q(device__place__site_id=site.pk, device__place__inherits=True, managed_by=Managed.SITE)


def site_settings_after(site: Site, changes: Any) -> dict[str, dict[str, Any]]:
    """Return a site's settings after a change. Raises ValidationError under `changes`."""
    return checked_change(site_changed, site.settings, changes)


def follow(instance: Any, row: Any) -> None:
    """Bring a caller's object up to date with the stored row."""
    for field in row._meta.concrete_fields:
        setattr(instance, field.attname, getattr(row, field.attname))


def checked_change(change: Any, *arguments: Any, **keywords: Any) -> dict[str, dict[str, Any]]:
    """Return settings after a change of the engine's. Raises ValidationError under `changes`."""
    try:
        changed: dict[str, dict[str, Any]] = change(*arguments, **keywords)
    except InvalidSettings as error:
        raise ValidationError({"changes": str(error)}) from error
    return changed


def record_settings(
    action: str, target: Any, organization_id: UUID, before: Settings, after: Settings
) -> None:
    """Write down which settings changed, secrets as marks."""
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
    """Tell whether what stands under a key is a secret: by the names of its property and nodes.

    >>> is_secret_key("wireless/1000000584/key"), is_secret_key("wireless/1000000584/ssid")
    (True, False)
    """
    return is_secret_name(key)
