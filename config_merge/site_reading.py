"""A site's settings, read once for all its devices, and what they come to where a device has none of its own.

Most devices of a site have no settings of their own: then one merge, one rendering and one look for secrets serve all
of them. Invariant: a reading belongs to the very objects it was made of; a site that got others is read anew.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from config_merge.engine import Artefact, Layer, Level, Merged, Source, merge, settings_artefact
from config_merge.engine.origins import EMPTY
from config_merge.models import Site

NOTHING: Mapping[str, Any] = {}


class Bare:
    """What a device without settings of its own gets."""

    def __init__(self, reading: "SiteReading", level: Level) -> None:
        self.merged: Merged = merge(level, EMPTY, defaults=reading.defaults)
        self.layers = reading.layers(self.merged, level)

    @cached_property
    def artefact(self) -> Artefact:
        """What it downloads. Raises EngineError."""
        return settings_artefact(self.merged)


class SiteReading:
    """One site's settings as the merge wants them."""

    def __init__(self, site: Site) -> None:
        self.settings = site.settings
        self.defaults = site.defaults
        self.name = site.name
        self.level = Level.of(site.settings)
        self._values = values_of(self.level)
        self._sources = (
            Source("default", str(site.pk), f"Defaults of {site.name}"),
            Source("site", str(site.pk), site.name),
        )
        self._bare: dict[bool, Bare] = {}

    def is_of(self, site: Site) -> bool:
        """Tell whether the site is still the one that was read."""
        return self.settings is site.settings and self.defaults is site.defaults and self.name == site.name

    def bare(self, *, inherits: bool) -> Bare:
        """Return what a device gets that has no settings of its own, and has the site's or not."""
        if inherits not in self._bare:
            self._bare[inherits] = Bare(self, self.level if inherits else EMPTY)
        return self._bare[inherits]

    def layers(self, merged: Merged, level: Level) -> tuple[Layer, Layer]:
        """Return what stands below a device's own settings: the defaults that fill gaps, and `level`."""
        default, site = self._sources
        return Layer(default, merged.defaults), Layer(site, self._values if level is self.level else NOTHING)


def values_of(level: Level) -> Mapping[str, Any]:
    """Return the values a level says, by key."""
    if not level.entries:
        return NOTHING
    return {key: entry.value for key, entry in level.entries.items() if entry.value is not None}


def reading_of(site: Site) -> SiteReading:
    """Return the reading of a site, made once for everybody who shares the object."""
    kept: SiteReading | None = vars(site).get("_muster_reading")
    if kept is None or not kept.is_of(site):
        kept = site.__dict__["_muster_reading"] = SiteReading(site)
    return kept


def site_level(site: Site) -> Level:
    """Return a site's settings as the merge wants them, read once for all devices that share the object."""
    return reading_of(site).level
