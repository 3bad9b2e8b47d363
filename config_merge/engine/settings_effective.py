"""Merged settings in the shape of an effective configuration, so that whatever explains one explains the other.

Invariant: a leaf's pointer is the setting's key, escaped; its source and what it shadows are those of the merge.
"""

from collections.abc import Mapping
from typing import Any

from config_merge.engine.archive import packed
from config_merge.engine.netjson import Trace, Written
from config_merge.engine.origins import Merged, Value
from config_merge.engine.resolve import Effective
from config_merge.engine.settings_uci import packages_of
from config_merge.engine.types import Artefact, Source


def settings_effective(merged: Merged, *, backend: str, sources: Mapping[str, Source]) -> Effective:
    """Return the settings in force as a flat tree; `sources` name the levels "default", "site" and "device".

    >>> from config_merge.engine.origins import EMPTY, Level, merge
    >>> site = Level.of({"ntp/server": {"value": "a", "origin": "site"}})
    >>> named = {level: Source(level, "", level) for level in ("default", "site", "device")}
    >>> found = settings_effective(merge(site, EMPTY), backend="netjsonconfig.OpenWrt", sources=named)
    >>> found.tree, found.leaves()["/ntp~1server"].source.layer
    ({'ntp/server': 'a'}, 'site')
    """
    numbers = {level: number for number, level in enumerate(sources)}
    tree = {key: _plain(merged.values[key]) for key in sorted(merged.values)}
    trace = {key: _trace(merged, key, numbers) for key in tree}
    return Effective(
        backend=backend, tree=tree, variables={}, sources=tuple(sources.values()), raw=tree, trace=trace
    )


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _trace(merged: Merged, key: str, numbers: Mapping[str, int]) -> Trace:
    over: Written | None = None
    for level, told in merged.shadowed(key):
        over = Written(numbers[level], _plain(told), over)
    layer, value = numbers[merged.sources[key]], merged.values[key]
    if isinstance(value, tuple) and value:
        return [Written(layer, item, over) for item in value]
    return Written(layer, _plain(value), over)


def settings_artefact(merged: Merged) -> Artefact:
    """Return what a device downloads: each UCI package as a file of /etc/config."""
    return packed(packages_of(merged.values).files())
