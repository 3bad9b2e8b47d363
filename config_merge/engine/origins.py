"""Two levels of settings, a site's and a device's, merged by the origin that each entry names.

Settings are flat: `root/node/property` -> `{"value", "origin"}` (seeds/003, "Configuration Structure"). A numeric
second segment makes an entity (an SSID, a LAN, a login), which is taken from one level whole or not at all.
Invariant: the merge decides the value and the source of a key in one place; an explanation only adds what the levels
say, so it cannot disagree with the result.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from config_merge.engine.errors import InvalidSettings

SITE: Final = "site"
DEVICE: Final = "device"
SITE_DEVICE: Final = "site-device"
DEFAULT: Final = "default"
ORIGINS: Final = frozenset({SITE, DEVICE, SITE_DEVICE})

_ENTITY = re.compile(r"[^/]+/(?:0|[1-9][0-9]*)/", re.ASCII)

Value = str | tuple[str, ...]
Told = tuple[str, Value]


class Entry(NamedTuple):
    """One setting of a level: its value (None where it has none) and its origin ("" where it names none)."""

    value: Value | None
    origin: str = ""

    def __repr__(self) -> str:
        return f"Entry(origin={self.origin!r})"


class Group:
    """The entries of one entity at one level."""

    __slots__ = ("defined", "is_removed", "origins")

    def __init__(self) -> None:
        self.defined: dict[str, Value] = {}
        self.origins: set[str] = set()
        self.is_removed = False

    def add(self, key: str, entry: Entry) -> None:
        """Take an entry in; the declaration without a value, of origin device, takes the entity away."""
        if entry.value is not None:
            self.defined[key] = entry.value
        elif entry.origin == DEVICE and entity_of(key) == key:
            self.is_removed = True
        if entry.origin:
            self.origins.add(entry.origin)

    @property
    def origin(self) -> str:
        """The strongest origin of the entries."""
        return next((each for each in (DEVICE, SITE_DEVICE, SITE) if each in self.origins), "")


class Level:
    """The settings of a site or a device, read once and merged often.

    Invariant: never changed after it was made, so a site's is shared by all its devices.
    """

    __slots__ = (
        "bad", "defined", "entities", "entries", "inherited", "odd", "overrides", "own", "replacing", "rest",
    )  # fmt: skip

    def __init__(self, entries: Mapping[str, Entry], *, bad: Iterable[str] = ()) -> None:
        self.entries = dict(entries)
        self.bad = tuple(bad)
        self.entities: dict[str, Group] = {}
        # The values of scalars; then the parts of them a merge takes as a whole, as a site and as a device.
        self.defined: dict[str, Value] = {}
        self.inherited: dict[str, Value] = {}
        self.odd: list[str] = []
        self.overrides: dict[str, Value] = {}
        self.own: set[str] = set()
        self.replacing: set[str] = set()
        self.rest: list[str] = []
        for key, entry in self.entries.items():
            entity = entity_of(key)
            if entity:
                self.entities.setdefault(entity, Group()).add(key, entry)
            else:
                self._add(key, entry)

    def _add(self, key: str, entry: Entry) -> None:
        value, origin = entry.value, entry.origin
        if value is not None:
            self.defined[key] = value
        if value is not None and origin == SITE:
            self.inherited[key] = value
        else:
            self.odd.append(key)
        if value is not None and origin in (DEVICE, SITE_DEVICE):
            self.overrides[key] = value
            (self.own if origin == DEVICE else self.replacing).add(key)
        else:
            self.rest.append(key)

    @classmethod
    def of(cls, tree: Mapping[str, Any], *, origin: str = "") -> "Level":
        """Read `{key: {"value", "origin"}}`; an entry that names no origin gets `origin`. Raises InvalidSettings.

        Blanks around member names and origins are dropped (seeds/003 prints `"value "`); an origin that does not
        exist counts as none and is warned of.

        >>> Level.of({"radio/r5/enable": {"value ": "1", "origin": " Device"}}).entries
        {'radio/r5/enable': Entry(origin='device')}
        """
        entries, bad = {}, []
        for key, members in _object(tree, "").items():
            entry, is_known = _entry(str(key), members, origin)
            entries[str(key)] = entry
            if not is_known:
                bad.append(str(key))
        return cls(entries, bad=bad)

    def without(self, roots: Iterable[str]) -> "Level":
        """Return the level without the settings under some roots: what a device does not inherit."""
        starts = tuple(f"{root}/" for root in roots)
        kept = {key: entry for key, entry in self.entries.items() if not key.startswith(starts)}
        return Level(kept, bad=[key for key in self.bad if key in kept])


EMPTY: Final = Level({})
_NOTHING: Final = Group()


@dataclass(frozen=True, slots=True)
class Merged:
    """What the two levels come to.

    `values` and `sources` ("device", "site" or "default") have the same keys, in no order; `warnings` are pairs of a
    code and a key, in the order of the keys.
    """

    values: dict[str, Value] = field(repr=False)
    sources: dict[str, str]
    warnings: tuple[tuple[str, str], ...]
    site: Level = field(repr=False)
    device: Level = field(repr=False)
    defaults: Mapping[str, Value] = field(repr=False)

    def told(self, key: str) -> tuple[Told, ...]:
        """Return what the levels say of a key, in force or not: (level, value), the device's last."""
        said: list[tuple[str, Value | None]] = [(DEFAULT, self.defaults.get(key))]
        for name, level in ((SITE, self.site), (DEVICE, self.device)):
            entry = level.entries.get(key)
            said.append((name, entry.value if entry else None))
        return tuple((name, value) for name, value in said if value is not None)

    def shadowed(self, key: str) -> tuple[Told, ...]:
        """Return what levels say of a key without being heard."""
        source = self.sources.get(key)
        return tuple(each for each in self.told(key) if each[0] != source)

    def hidden(self) -> list[str]:
        """Return the keys that a level sets and that are not in force, in order."""
        said = {
            key
            for level in (self.site, self.device)
            for key, entry in level.entries.items()
            if entry.value is not None
        }
        return sorted((said | self.defaults.keys()) - self.values.keys())


@lru_cache(maxsize=65_536)
def entity_of(key: str) -> str:
    """Return the declaring key of the entity that `key` belongs to, empty for a scalar.

    >>> entity_of("wireless/1000000584/wps/enable"), entity_of("radio/r5/enable"), entity_of("users/007/name")
    ('wireless/1000000584/', '', '')
    """
    found = _ENTITY.match(key)
    return found.group() if found else ""


def _object(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSettings("an object is needed", path=key)
    return value


def _entry(key: str, members: Any, origin: str) -> tuple[Entry, bool]:
    if type(members) is dict and len(members) == 2:
        # Nearly every entry is written plainly.
        value, named = members.get("value"), members.get("origin")
        if type(value) is str and type(named) is str and named in ORIGINS:
            return Entry(value, named), True
    clean: dict[str, Any] = {}
    for name, value in _object(members, key).items():
        stripped = str(name).strip()
        if stripped in clean:
            raise InvalidSettings(f"there are two members {stripped!r}", path=key)
        clean[stripped] = value
    named = clean.get("origin")
    text = named.strip().lower() if isinstance(named, str) else ""
    is_known = text in ORIGINS
    return Entry(value_of(clean.get("value"), key=key), text if is_known else origin), (
        is_known or named is None or named == "" or (isinstance(named, str) and not text)
    )


def value_of(value: Any, *, key: str) -> Value | None:
    """Return a value as settings keep it; None is none. Raises InvalidSettings for what is no string or list of them.

    >>> value_of(["a", "b"], key="ntp/servers")
    ('a', 'b')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise InvalidSettings("a value must be a string, or a list of strings", path=key)


def merge(site: Level, device: Level, *, defaults: Mapping[str, Any] | None = None) -> Merged:
    """Merge a site's and a device's settings (spec/cattlepi_ignitenet.md C1-C3; the table of seeds/003).

    Of `defaults`, values under names with a slash fill scalars that no level sets; the others are forms for new
    entities and never merge. Raises InvalidSettings.

    >>> site = Level.of({"ntp/server": {"value": "a", "origin": "site"}})
    >>> device = Level.of({"ntp/server": {"value": "b", "origin": "site-device"}})
    >>> merged = merge(site, device)
    >>> merged.values, merged.sources, merged.shadowed("ntp/server")
    ({'ntp/server': 'b'}, {'ntp/server': 'device'}, (('site', 'a'),))
    """
    flat = _flat(defaults) if defaults is not None else {}
    values = dict(site.inherited)
    sources = dict.fromkeys(values, SITE)
    values.update(device.overrides)
    sources.update(dict.fromkeys(device.overrides, DEVICE))
    warnings = [("bad-origin", key) for key in {*site.bad, *device.bad}] if site.bad or device.bad else []
    warnings += [("shadows-site", key) for key in device.own & site.defined.keys()]
    warnings += [("orphan-override", key) for key in device.replacing - site.defined.keys()]
    suppressed = _exceptions(site, device, values, sources, warnings)
    for key, value in flat.items():
        if key not in values and key not in suppressed:
            values[key], sources[key] = value, DEFAULT
    for entity in site.entities.keys() | device.entities.keys():
        ours = device.entities.get(entity, _NOTHING)
        source, taken = _entity(entity, site.entities.get(entity, _NOTHING), ours, warnings)
        values.update(taken)
        sources.update(dict.fromkeys(taken, source))
    warnings.sort(key=lambda each: (each[1], each[0]))
    return Merged(values, sources, tuple(warnings), site, device, flat)


def overridden(site: Level, device: Level) -> set[str]:
    """Return what a site sets and does not reach a device: scalars by their key, entities by their declaring key.

    Only what both speak of is merged, so the cost is that of the device's own settings.

    >>> site = Level.of({key: {"value": "1", "origin": "site"} for key in ("a/b", "a/c", "wifi/7/ssid", "wifi/7/key")})
    >>> own = {"a/b": {"value": "2", "origin": "site-device"}, "wifi/7/ssid": {"value": "x", "origin": "site-device"}}
    >>> sorted(overridden(site, Level.of(own)))
    ['a/b', 'wifi/7/']
    """
    keys = {key for key in device.entries if key in site.defined}
    entities = {entity for entity in device.entities if entity in site.entities}
    for entity in entities:
        keys |= site.entities[entity].defined.keys()
    merged = merge(Level({key: site.entries[key] for key in keys}), device)
    return {entity_of(key) or key for key in keys if merged.sources.get(key) != SITE}


def _flat(defaults: Mapping[str, Any]) -> dict[str, Value]:
    flat = {}
    for key, given in _object(defaults, "").items():
        if "/" in key and not entity_of(key) and (value := value_of(given, key=key)) is not None:
            flat[key] = value
    return flat


def _exceptions(
    site: Level,
    device: Level,
    values: dict[str, Value],
    sources: dict[str, str],
    warnings: list[tuple[str, str]],
) -> set[str]:
    """Settle the scalars that are neither inherited nor overridden plainly; returns those that are suppressed."""
    suppressed = set()
    for key in {*device.rest, *site.odd} - device.overrides.keys() if device.rest or site.odd else ():
        values.pop(key, None)
        sources.pop(key, None)
        source, warning = _scalar(site.entries.get(key), device.entries.get(key))
        if source:
            values[key] = (site if source == SITE else device).defined[key]
            sources[key] = source
        if warning:
            warnings.append((warning, key))
        if warning == "suppressed":
            suppressed.add(key)
    return suppressed


def _scalar(site: Entry | None, device: Entry | None) -> tuple[str, str]:
    """Return which level a scalar comes from ("" for none) and what there is to warn of (C2)."""
    ours = device is not None and device.value is not None
    theirs = site is not None and site.value is not None
    match (device.origin if device else "") or (site.origin if site else ""):
        case "device":
            if not ours:
                return "", "suppressed"
            return DEVICE, "shadows-site" if theirs else ""
        case "site-device":
            if ours:
                return DEVICE, "" if theirs else "orphan-override"
            return SITE if theirs else "", "empty-override"
        case "site":
            return (SITE, "") if theirs else ("", "stale-copy" if ours else "")
    return "", "no-origin" if ours or theirs else ""


def _entity(
    entity: str, site: Group, device: Group, warnings: list[tuple[str, str]]
) -> tuple[str, Mapping[str, Value]]:
    """Return the level an entity comes from and its settings, none for an absent one (C3)."""
    mine, theirs = device.defined, site.defined
    origin = device.origin or (SITE if SITE in site.origins else "")
    if len(device.origins) > 1:
        warnings.append(("mixed-origin", entity))
    if device.is_removed:
        warnings.append(("suppressed", entity))
        return "", {}
    if origin in (DEVICE, SITE_DEVICE) and mine:
        if theirs:
            warnings.extend(("incomplete-override", key) for key in theirs.keys() - mine.keys())
            if origin == DEVICE:
                warnings.append(("shadows-site", entity))
        elif origin == SITE_DEVICE:
            warnings.append(("orphan-override", entity))
        return DEVICE, mine
    if origin in (SITE, SITE_DEVICE) and theirs:
        return SITE, theirs
    if mine or theirs:
        warnings.append(({"": "no-origin", DEVICE: "suppressed"}.get(origin, "stale-copy"), entity))
    return "", {}
