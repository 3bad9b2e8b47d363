"""Settings of a site or a device as a page shows them: by root and entity, each key with where it comes from.

Invariant: nothing is decided here; values and sources are the merge's. No secret is in a row, only its mark.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from config_merge.engine import Merged, entity_of
from config_merge.settings_shown import hidden_entries
from core.redaction import mark_of
from core.secret_names import is_secret_name

Entries = Mapping[str, Mapping[str, Any]]
# What names an entity for people, best first.
NAMING = ("ssid", "name", "hostname", "ipaddr")
SOURCES = {"site": "Site", "device": "Device", "default": "Default", "": "Not in force"}


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One key. `value` is empty for a secret; `source` is the level in force ("" for none), `origin` the device's own
    entry's ("" where it has none); `shadowed` what other levels say, as (level, text).
    """

    key: str
    label: str
    value: str
    is_secret: bool
    mark: str
    source: str
    origin: str
    shadowed: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    is_list: bool = False

    @property
    def source_title(self) -> str:
        """The level in words."""
        return SOURCES[self.source]

    @property
    def told(self) -> str:
        """The value as other levels' are told: a mark for a secret."""
        return self.mark or self.value


@dataclass(frozen=True, slots=True)
class SettingSection:
    """A node or an entity of a root; `key` declares it ("" for the root's own level)."""

    key: str
    title: str
    number: str
    source: str
    origin: str
    rows: tuple[SettingRow, ...]
    warnings: tuple[str, ...] = ()
    is_removed: bool = False

    @property
    def is_entity(self) -> bool:
        """Whether it is taken from one level whole."""
        return bool(self.number)

    @property
    def source_title(self) -> str:
        """The level in words."""
        return SOURCES[self.source]


@dataclass(frozen=True, slots=True)
class SettingRoot:
    """All sections of a root."""

    name: str
    sections: tuple[SettingSection, ...]

    @property
    def count(self) -> int:
        """How many keys it has."""
        return sum(len(section.rows) for section in self.sections)


@dataclass(slots=True)
class _Gathered:
    rows: list[SettingRow] = field(default_factory=list)
    declared: SettingRow | None = None


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


def _shown(key: str, value: Any) -> str:
    return mark_of(_text(value)) if is_secret_name(key) and value else _text(value)


def _row(key: str, merged: Merged, own: Entries, warnings: Mapping[str, list[str]]) -> SettingRow:
    told = dict(merged.told(key))
    value = merged.values.get(key, told.get("device", told.get("site", "")))
    secret = is_secret_name(key) and bool(value)
    overruled = tuple((level, _shown(key, said)) for level, said in merged.shadowed(key))
    return SettingRow(
        key=key,
        label=key.rpartition("/")[2],
        value="" if secret else _text(value),
        is_secret=secret,
        mark=_shown(key, value) if secret else "",
        source=merged.sources.get(key, ""),
        origin=str(own.get(key, {}).get("origin", "")),
        shadowed=overruled if key in merged.values else (),
        warnings=tuple(warnings.get(key, ())),
        is_list=isinstance(value, tuple),
    )


def setting_roots(merged: Merged, own: Entries) -> tuple[SettingRoot, ...]:
    """Return all that levels say, by root; `own` are the entries of the level that is edited."""
    warnings: dict[str, list[str]] = {}
    for code, key in merged.warnings:
        warnings.setdefault(key, []).append(code)
    keys = {*merged.values, *merged.hidden(), *own}
    roots: dict[str, dict[str, _Gathered]] = {}
    for key in sorted(keys):
        start = key.rpartition("/")[0] + "/"
        # Everything of an entity stands together, its sub-nodes too.
        section = entity_of(key) or start
        found = roots.setdefault(key.split("/")[0], {}).setdefault(section, _Gathered())
        row = _row(key, merged, own, warnings)
        if key == section:
            found.declared = row
        elif not key.endswith("/"):
            found.rows.append(row)
    return tuple(
        SettingRoot(name, tuple(_section(name, key, sections[key], warnings) for key in _ordered(sections)))
        for name, sections in roots.items()
    )


def _ordered(sections: Iterable[str]) -> list[str]:
    def rank(key: str) -> tuple[int, int, str]:
        number = _number(key)
        return (0, 0, key) if key.count("/") == 1 else (2, len(number), key) if number else (1, 0, key)

    return sorted(sections, key=rank)


def _number(key: str) -> str:
    return key.split("/")[1] if entity_of(key) == key else ""


def _section(root: str, key: str, found: _Gathered, warnings: Mapping[str, list[str]]) -> SettingSection:
    number = _number(key)
    rows = tuple(_labelled(row, key) for row in found.rows)
    parts = [*rows, *([found.declared] if found.declared else [])]
    named = {row.key[len(key) :]: row.value for row in rows}
    words = next((named[name] for name in NAMING if named.get(name)), "")
    title = words if number and words else key.removeprefix(f"{root}/").rstrip("/") or root
    sources = {row.source for row in parts} - {""}
    origins = {row.origin for row in parts if row.origin}
    return SettingSection(
        key=key if key.count("/") > 1 else "",
        title=title,
        number=number,
        source=min(sources) if sources else "",
        origin=next((each for each in ("device", "site-device") if each in origins), ""),
        rows=rows,
        warnings=tuple(warnings.get(key, ())),
        is_removed="suppressed" in warnings.get(key, ()),
    )


def _labelled(row: SettingRow, section: str) -> SettingRow:
    values = {name: getattr(row, name) for name in SettingRow.__slots__}
    return SettingRow(**{**values, "label": row.key.removeprefix(section)})


def shown_texts(entries: Entries) -> dict[str, str]:
    """Return entries as texts for people, secrets as marks: what a page was made from, and what there is now."""
    return {
        key: f"{_text(entry['value']) if entry['value'] is not None else 'left out'}"
        for key, entry in hidden_entries(entries).items()
    }


def moved_on(before: Mapping[str, Any], after: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return what somebody else changed: (key, what it was, what it is)."""
    return [
        (key, str(before.get(key, "-"))[:500], after.get(key, "-")[:500])
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def secrets_of_setting(merged: Merged, key: str) -> dict[str, Any]:
    """Return the secret that stands under a key, by its mark."""
    value = merged.values.get(key, dict(merged.told(key)).get("device", dict(merged.told(key)).get("site")))
    return {mark_of(_text(value)): _text(value)} if value and is_secret_name(key) else {}
