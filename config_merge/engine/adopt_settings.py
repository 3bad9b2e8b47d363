"""What was edited on a device by hand, as settings of the device itself: the way back from UCI to keys.

Invariant: the changes are such that `device_changed` takes them, and what they cannot express is named. Rules of the
reverse mapping: spec/cattlepi_ignitenet.md C4 (section names split at `__`, `main` is the root's own level, `__uid` and
`__parent` are dropped), C3 (entities go whole).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config_merge.engine.errors import InvalidSettings
from config_merge.engine.origins import DEVICE, SITE_DEVICE, Level, Value, entity_of, merge
from config_merge.engine.settings_change import device_changed
from config_merge.engine.settings_uci import MAIN, packages_of, place_of
from config_merge.engine.uci_reading import UciSection, UnreadableUci, managed, read_uci

FOLDER = "etc/config/"
Files = Mapping[str, str | None]
Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a device shall say by itself from now on; `left_out` are places and why they stay as they were."""

    changes: dict[str, Any] = field(repr=False)
    left_out: tuple[tuple[str, str], ...]


def settings_of(
    root: str, sections: tuple[UciSection, ...]
) -> tuple[dict[str, Value], list[tuple[str, str]]]:
    r"""Return the settings that a package's sections stand for, and what stands for none.

    >>> settings_of("radio", read_uci("config radio 'r5'\n\toption channel '36'\n"))
    ({'radio/r5/': 'r5', 'radio/r5/channel': '36'}, [])
    """
    values: dict[str, Value] = {}
    odd = []
    for section in sections:
        place = f"{root}.{section.name}"
        nodes = [] if section.name == MAIN else section.name.split("__")
        start = "/".join([root, *nodes, ""])
        if section.type != root or place_of(start) is None:
            odd.append((place, "a section of this type and name stands for no setting"))
            continue
        if nodes:
            values[start] = nodes[-1]
        for option, value in section.options.items():
            if option in ("__uid", "__parent"):
                continue
            if place_of(start + option) is None:
                odd.append((f"{place}.{option}", "an option of this name stands for no setting"))
            else:
                values[start + option] = value
    return values, odd


def settings_adopted(
    files: Files, *, whole: bool, wanted: Mapping[str, Value], own: Entries, site: Entries
) -> Adopted:
    """Return the changes of a device's settings that make it what its files are now.

    `files` are the device's (None: it has no such file), `wanted` the settings in force, `own` the device's and `site`
    its site's; `whole` as in `uci_reading.managed`.
    """
    before, after, left_out = _both(files, whole=whole, wanted=wanted)
    differing = {
        key for key in before.keys() | after.keys() if _said(before.get(key)) != _said(after.get(key))
    }
    changes: dict[str, Any] = {}
    done = set[str]()
    for key in sorted(differing):
        entity = entity_of(key)
        if (entity or key) in done or (not entity and _follows(key, after, wanted=wanted)):
            continue
        done.add(entity or key)
        if entity:
            unit = _entity_changes(entity, after, wanted=wanted, own=own, site=site)
        else:
            unit = {key: _scalar_change(key, after.get(key), own=own, site=site)}
        try:
            device_changed(own, unit, site=site)
        except InvalidSettings as error:
            left_out.append((error.path or entity or key, error.message))
        else:
            changes |= unit
    return Adopted(changes, tuple(left_out))


def _both(
    files: Files, *, whole: bool, wanted: Mapping[str, Value]
) -> tuple[dict[str, Value], dict[str, Value], list[tuple[str, str]]]:
    """Return the settings as they should be and as they are, of the files that were looked at."""
    before: dict[str, Value] = {}
    after: dict[str, Value] = {}
    left_out: list[tuple[str, str]] = []
    for file in packages_of(wanted).files():
        if file.path not in files:
            continue
        root = file.path.removeprefix(FOLDER)
        ours = read_uci(file.contents.decode())
        text = files[file.path]
        try:
            theirs = managed(ours, read_uci(text), whole=whole) if text is not None else ()
        except UnreadableUci as error:
            left_out.append((file.path, str(error)))
            continue
        before |= settings_of(root, ours)[0]
        found, odd = settings_of(root, theirs)
        after |= found
        left_out += odd
    return before, after, left_out


def _follows(key: str, after: Mapping[str, Value], *, wanted: Mapping[str, Value]) -> bool:
    """Tell whether a section that came or went needs no word of its own: its options say it."""
    if not key.endswith("/"):
        return False
    if key in after:
        return any(other != key and other.rpartition("/")[0] == key[:-1] for other in after)
    return key not in wanted


def _said(value: Value | None) -> Value | None:
    """Return a value as a file can tell it: an empty one is not written."""
    return value or None


def _scalar_change(key: str, value: Value | None, *, own: Entries, site: Entries) -> Any:
    """Return the entry that gives a scalar the value it has on the device, None to take the device's word back."""
    if not value:
        if key in own and key not in site and own[key]["value"] is not None:
            return None
        return {"value": None, "origin": DEVICE}
    return {"value": _sendable(value), "origin": SITE_DEVICE if key in site else DEVICE}


def _sendable(value: Value) -> Any:
    return value if isinstance(value, str) else list(value)


def _entity_changes(
    entity: str, after: Mapping[str, Value], *, wanted: Mapping[str, Value], own: Entries, site: Entries
) -> dict[str, Any]:
    """Return the changes that make an entity exactly what it is on the device."""
    now = {key: value for key, value in after.items() if entity_of(key) == entity}
    if not now:
        return {entity: {"value": None, "origin": DEVICE}}
    held = {key for key in own if entity_of(key) == entity and own[key]["value"] is not None}
    inherited = {key for key in site if entity_of(key) == entity}
    origin = SITE_DEVICE if inherited else DEVICE
    unit: dict[str, Any] = {
        key: {"value": _sendable(value), "origin": origin} for key, value in now.items() if value
    }
    # What a file cannot tell (an empty value) stays; what is gone is gone.
    gone = {key for key in (held or inherited) if key not in unit and wanted.get(key)}
    return unit | dict.fromkeys(gone)


def settings_remaining(
    files: Files, *, whole: bool, wanted: Mapping[str, Value], own: Entries, site: Entries, defaults: Any
) -> list[str]:
    """Return the keys that would still differ if the device's own settings were `own`.

    `wanted` are the settings in force before: their files are those that were looked at.
    """
    then = merge(Level.of(site), Level.of(own), defaults=defaults).values
    _, actual, _ = _both(files, whole=whole, wanted=wanted)
    told: dict[str, Value] = {}
    for file in packages_of(then).files():
        told |= settings_of(file.path.removeprefix(FOLDER), read_uci(file.contents.decode()))[0]
    looked_at = {file.path.removeprefix(FOLDER) for file in packages_of(wanted).files() if file.path in files}
    told = {key: value for key, value in told.items() if key.split("/")[0] in looked_at}
    return sorted(
        key for key in told.keys() | actual.keys() if _said(told.get(key)) != _said(actual.get(key))
    )
