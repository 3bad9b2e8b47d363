"""A change of a site's or a device's settings: checked as a whole, then applied, or refused and nothing happens.

Invariant: what is stored afterwards is well-formed for the merge: keys that UCI can hold, values that are strings,
origins that exist, entities that a level may have and that are overridden whole (spec/cattlepi_ignitenet.md B7, C3,
C6).
"""

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from config_merge.engine.errors import InvalidSettings
from config_merge.engine.origins import DEVICE, ORIGINS, SITE, SITE_DEVICE, entity_of
from config_merge.engine.settings_uci import is_writable, place_of

SITE_IDS_ABOVE: Final = 1_000_000_000
KEY_LENGTH: Final = 255
VALUE_LENGTH: Final = 65_536
MOST_KEYS: Final = 20_000
# Their numbers are checksums of names, so the same name is the same entity on both levels.
USERS: Final = "users"
Stored = dict[str, dict[str, Any]]
_LEADING_ZERO = re.compile(r"[^/]+/0[0-9]+/", re.ASCII)
_LONGEST_ID = 20


def user_id(name: str) -> str:
    """Return the number of a login: CRC-32 (IEEE 802.3) of its name. Raises InvalidSettings unless it is ASCII.

    >>> user_id("root"), user_id("api_user")
    ('385153371', '2892275898')
    """
    try:
        return str(binascii.crc32(name.encode("ascii")))
    except UnicodeEncodeError:
        raise InvalidSettings("the name of a login must be ASCII") from None


def site_changed(stored: Mapping[str, Mapping[str, Any]], changes: Any) -> Stored:
    """Return a site's settings after `changes`: `{key: {"value", "origin"} or None}`, None removes.

    Raises InvalidSettings, whose text names the key.
    """
    result = _copied(stored)
    touched = set()
    for key, members in _changes(changes).items():
        entity = _checked_key(key)
        touched.add(entity)
        entry = _members(key, members)
        if entry is None:
            _remove(result, key)
            continue
        value, origin = entry
        if origin not in ("", SITE):
            raise InvalidSettings("the origin of a site's setting is site", path=key)
        if value is None:
            raise InvalidSettings("a value is needed; null in place of the entry removes it", path=key)
        if entity and not _held(stored, entity):
            _check_site_id(entity, key)
        result[key] = {"value": value, "origin": SITE}
    _check_users(stored, result, touched - {""})
    return _bounded(result)


def device_changed(
    stored: Mapping[str, Mapping[str, Any]], changes: Any, *, site: Mapping[str, Mapping[str, Any]]
) -> Stored:
    """Return a device's settings after `changes`, where `site` holds those of its site.

    An entity of the site that is overridden in part is copied whole first. An entry of origin site is the site's own
    affair: it takes an override back. Raises InvalidSettings.
    """
    result = _copied(stored)
    scalars: dict[str, tuple[str | None, str] | None] = {}
    entities: dict[str, dict[str, tuple[str | None, str] | None]] = {}
    for key, members in _changes(changes).items():
        entity = _checked_key(key)
        entry = _members(key, members)
        if entry is not None and entry[1] not in ORIGINS:
            raise InvalidSettings("an origin is needed: device, site-device or site", path=key)
        (entities.setdefault(entity, {}) if entity else scalars)[key] = entry
    for key, entry in scalars.items():
        _set_scalar(result, key, entry)
    for entity, entries in entities.items():
        _set_entity(result, entity, entries, site=site)
    _check_users(stored, result, entities.keys())
    return _bounded(result)


def _set_scalar(result: Stored, key: str, entry: tuple[str | None, str] | None) -> None:
    if entry is None or entry[1] == SITE:
        result.pop(key, None)
        return
    value, origin = entry
    if value is None and origin == SITE_DEVICE:
        raise InvalidSettings("a value is needed to override the site's", path=key)
    result[key] = {"value": value, "origin": origin}


def _set_entity(
    result: Stored,
    entity: str,
    entries: Mapping[str, tuple[str | None, str] | None],
    *,
    site: Mapping[str, Mapping[str, Any]],
) -> None:
    theirs = {key: entry["value"] for key, entry in site.items() if entity_of(key) == entity}
    mine = _held(result, entity)
    declared = entries.get(entity, ("", ""))
    if declared is None or declared == (None, DEVICE):
        others = [key for key, entry in entries.items() if key != entity and entry is not None]
        if others:
            raise InvalidSettings("its entity is taken away by the same change", path=others[0])
        _remove(result, entity)
        if declared is not None:
            result[entity] = {"value": None, "origin": DEVICE}
        return
    origins = {entry[1] for entry in entries.values() if entry is not None}
    if origins <= {SITE}:
        _give_back(result, entity, entries, mine=mine, inherited=bool(origins))
        return
    for key, entry in entries.items():
        if entry is not None and entry[0] is None:
            raise InvalidSettings("a value is needed: an entity is taken away as a whole", path=key)
    if not mine and not theirs:
        first = next(iter(entries))
        if SITE_DEVICE in origins:
            raise InvalidSettings("the site has no such entity to override", path=first)
        _check_device_id(entity, first)
    if result.get(entity, {"value": ""})["value"] is None:
        # It was taken away; now there is something of it again.
        del result[entity]
        mine = mine - {entity}
    if SITE_DEVICE in origins and not mine:
        result |= {key: {"value": value, "origin": SITE_DEVICE} for key, value in theirs.items()}
    strongest = DEVICE if origins == {DEVICE} else SITE_DEVICE
    for key, entry in entries.items():
        if entry is None:
            result.pop(key, None)
        else:
            # Beside an override, what came from the site is a copy of it, frozen like the rest.
            result[key] = {"value": entry[0], "origin": entry[1] if entry[1] != SITE else strongest}


def _give_back(
    result: Stored,
    entity: str,
    entries: Mapping[str, tuple[str | None, str] | None],
    *,
    mine: set[str],
    inherited: bool,
) -> None:
    """Apply entries that only remove, or say that the site's entity shall be in force."""
    if inherited:
        left = mine - entries.keys()
        if left and mine & entries.keys():
            raise InvalidSettings(
                "an override is taken back whole: null on the entity does it", path=min(left)
            )
        if not left:
            _remove(result, entity)
        return
    for key in entries:
        result.pop(key, None)


def _copied(stored: Mapping[str, Mapping[str, Any]]) -> Stored:
    return {key: dict(entry) for key, entry in stored.items()}


def _held(stored: Mapping[str, Any], entity: str) -> set[str]:
    return {key for key in stored if entity_of(key) == entity}


def _remove(result: Stored, key: str) -> None:
    for gone in _held(result, key) if entity_of(key) == key else (key,):
        result.pop(gone, None)


def _changes(changes: Any) -> Mapping[str, Any]:
    if not isinstance(changes, Mapping):
        raise InvalidSettings("changes must be an object of keys")
    return changes


def _checked_key(key: str) -> str:
    """Return the entity of a key, empty for a scalar."""
    if len(key) > KEY_LENGTH:
        raise InvalidSettings(f"a key has at most {KEY_LENGTH} characters", path=f"{key[:60]}...")
    if _LEADING_ZERO.match(key):
        raise InvalidSettings("the number of an entity has no leading zeros", path=key)
    if place_of(key) is None:
        raise InvalidSettings("this is not a key: root/node/property is needed", path=key)
    entity = entity_of(key)
    if len(entity) > KEY_LENGTH or len(entity.split("/")[1] if entity else "") > _LONGEST_ID:
        raise InvalidSettings("the number of the entity is too long", path=key)
    return entity


def _members(key: str, members: Any) -> tuple[str | None, str] | None:
    """Return the value and the origin of an entry, None for the null that removes."""
    if members is None:
        return None
    if not isinstance(members, Mapping):
        raise InvalidSettings('{"value", "origin"} is needed', path=key)
    clean: dict[str, Any] = {}
    for name, value in members.items():
        stripped = str(name).strip()
        if stripped not in ("value", "origin"):
            raise InvalidSettings(f"there is no member {stripped[:40]!r}", path=key)
        if stripped in clean:
            raise InvalidSettings(f"there are two members {stripped!r}", path=key)
        clean[stripped] = value
    return _text(key, clean.get("value")), _origin(key, clean.get("origin"))


def _text(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidSettings("a value must be a string", path=key)
    if len(value) > VALUE_LENGTH:
        raise InvalidSettings(f"a value has at most {VALUE_LENGTH} characters", path=key)
    if not is_writable(value):
        raise InvalidSettings("a value must not hold control characters", path=key)
    return value


def _origin(key: str, named: Any) -> str:
    if named is None:
        return ""
    text = named.strip().lower() if isinstance(named, str) else None
    if text is None or (text and text not in ORIGINS):
        raise InvalidSettings("an origin is device, site-device or site", path=key)
    return text


def _number(entity: str) -> int:
    return int(entity.split("/")[1])


def _is_user(entity: str) -> bool:
    return entity.startswith(f"{USERS}/")


def _check_site_id(entity: str, key: str) -> None:
    if not _is_user(entity) and _number(entity) <= SITE_IDS_ABOVE:
        raise InvalidSettings(f"the number of a site's entity is above {SITE_IDS_ABOVE}", path=key)


def _check_device_id(entity: str, key: str) -> None:
    if not _is_user(entity) and _number(entity) >= SITE_IDS_ABOVE:
        raise InvalidSettings(f"the number of a device's own entity is below {SITE_IDS_ABOVE}", path=key)


def _check_users(stored: Mapping[str, Mapping[str, Any]], result: Stored, touched: Any) -> None:
    """Refuse logins whose number is not the checksum of their name."""
    for entity in filter(_is_user, touched):
        left = {key for key in _held(result, entity) if result[key]["value"] is not None}
        if not left:
            continue
        key = f"{entity}name"
        name = result.get(key, {}).get("value")
        if name is None:
            raise InvalidSettings("a login needs a name", path=key)
        try:
            number = user_id(name)
        except InvalidSettings as error:
            raise InvalidSettings(error.message, path=key) from None
        if number != entity.split("/")[1]:
            raise InvalidSettings(f"the number of this login is {number}, the CRC-32 of its name", path=key)
        before = stored.get(key, {}).get("value")
        if before is not None and before != name:
            raise InvalidSettings("another login has the same number", path=key)


def _bounded(result: Stored) -> Stored:
    if len(result) > MOST_KEYS:
        raise InvalidSettings(f"there can be at most {MOST_KEYS} settings")
    return result
