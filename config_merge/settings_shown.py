"""Settings of sites and devices as people and programs get them: secrets as marks for who may not see them.

A mark that is sent back at the same place leaves the secret as it is.
"""

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from config_merge.engine import Level, Merged, merge, packages_of
from config_merge.hiding import value_hidden
from config_merge.models import Site, SiteDevice
from config_merge.site_reading import site_level
from core.redaction import is_mark, mark_of
from core.secret_names import is_secret_name

Entries = Mapping[str, Mapping[str, Any]]


def merged_of_site(site: Site) -> Merged:
    """Return what a site's settings come to by themselves."""
    return merge(site_level(site), Level({}), defaults=site.defaults)


def merged_of(place: SiteDevice) -> Merged:
    """Return what a device's settings come to; `place.site` is loaded."""
    theirs = site_level(place.site) if place.inherits else Level({})
    return merge(theirs, Level.of(place.settings), defaults=place.site.defaults)


def hidden_entries(entries: Entries) -> dict[str, dict[str, Any]]:
    """Return settings with marks in place of secrets, for who may not see them."""
    return {
        key: {**entry, "value": mark_of(entry["value"])}
        if is_secret_name(key) and entry["value"]
        else dict(entry)
        for key, entry in entries.items()
    }


def settings_sent(changes: Any, *, own: Entries, inherited: Entries | None = None) -> Any:
    """Return changes with the stored secrets in place of the marks that stand for them. Raises ValidationError."""
    if not isinstance(changes, dict):
        return changes
    return {key: _restored(key, entry, (own, inherited or {})) for key, entry in changes.items()}


def _restored(key: str, entry: Any, levels: Collection[Entries]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        name: _plain(key, value, levels) if name.strip() == "value" else value
        for name, value in entry.items()
    }


def _plain(key: str, value: Any, levels: Collection[Entries]) -> Any:
    if not is_mark(value):
        return value
    held = [level[key]["value"] for level in levels if key in level and level[key]["value"]]
    for secret in held if is_secret_name(key) else ():
        if mark_of(secret) == value:
            return secret
    raise ValidationError(
        f"{key}: {value} stands for no secret that is stored here; write the secret itself."
    )


def secrets_of(merged: Merged) -> frozenset[str]:
    """Return the secrets among all that the levels say, in force or not."""
    found = set[str]()
    for key in {*merged.values, *merged.hidden()}:
        if is_secret_name(key):
            for _, value in merged.told(key):
                found.update((value,) if isinstance(value, str) else value)
    return frozenset(found - {""})


def explained(merged: Merged, *, reveal: bool) -> dict[str, Any]:
    """Return what settings come to: each value with its source and what it shadows, warnings, and the UCI text.

    `unheard` are keys that a level sets and that are not in force.
    """
    secrets = frozenset() if reveal else secrets_of(merged)

    def shown(key: str, value: Any) -> Any:
        plain = list(value) if isinstance(value, tuple) else value
        return plain if reveal else value_hidden(plain, secrets, secret=is_secret_name(key))

    values = {
        key: merged.values[key] if reveal else _told(shown(key, merged.values[key])) for key in merged.values
    }
    packages = packages_of(values)
    warnings = sorted((*merged.warnings, *packages.warnings), key=lambda each: (each[1], each[0]))
    return {
        "settings": {
            key: {
                "value": shown(key, merged.values[key]),
                "source": merged.sources[key],
                "shadowed": [
                    {"source": level, "value": shown(key, told)} for level, told in merged.shadowed(key)
                ],
            }
            for key in sorted(merged.values)
        },
        "unheard": merged.hidden(),
        "warnings": [{"code": code, "key": key} for code, key in warnings],
        "uci": packages.text(),
    }


def _told(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
