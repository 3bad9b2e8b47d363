"""Everything that one configuration is made of, as a value: what the engine is given, and what it makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from config_merge.engine import (
    Artefact,
    Effective,
    EngineError,
    Layer,
    Merged,
    VariableLayer,
    reissued,
    render,
    resolve,
    settings_artefact,
    settings_effective,
    validate,
)
from config_merge.site_reading import Bare


@dataclass(frozen=True, slots=True)
class Guest:
    """What a template of another organization than the device's brings along."""

    organization_id: UUID | None
    config: Mapping[str, Any] = field(repr=False)
    default_values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything one configuration is made of; the engine's arguments, and the model of the operating system.

    `owners` are the organizations of the device and its group, `guests` the templates that belong to others (None:
    shared ones), `merged` the settings where they come from a site, and `bare` where the device has none of its own:
    then other devices get the same. `is_held` says that the device keeps what it has; `issue` counts how often it was
    given the same once more.
    """

    config_id: UUID
    generation: int
    backend: str
    os: str
    hostname: str
    layers: tuple[Layer, ...]
    variables: tuple[VariableLayer, ...]
    organization_id: UUID | None = None
    owners: frozenset[UUID] = frozenset()
    guests: tuple["Guest", ...] = ()
    merged: Merged | None = field(default=None, repr=False)
    bare: Bare | None = field(default=None, repr=False)
    is_held: bool = False
    issue: int = 0

    def effective(self) -> Effective:
        """Merge and substitute; raises EngineError."""
        if self.merged is not None:
            sources = {layer.source.layer: layer.source for layer in self.layers}
            return settings_effective(self.merged, backend=self.backend, sources=sources)
        return resolve(
            backend=self.backend, layers=self.layers, variables=self.variables, hostname=self.hostname
        )

    def artefact(self, effective: Effective | None = None) -> Artefact:
        """Return what the device downloads; `effective` saves merging again. Raises EngineError."""
        made = self._rendered(effective)
        return reissued(made, self.issue) if self.issue else made

    def _rendered(self, effective: Effective | None) -> Artefact:
        if self.bare is not None:
            return self.bare.artefact
        if self.merged is not None:
            return settings_artefact(self.merged)
        tree = (effective or self.effective()).tree
        return render(backend=self.backend, tree=tree, os=self.os)

    def refused(self, error: EngineError, effective: Effective, *, worded: bool = True) -> str:
        """Return why it cannot be rendered, in the schema's words where the schema sees it too.

        The renderer's own `error` names a place and an exception; `worded` as for `validate`.
        """
        if self.merged is None:
            try:
                validate(backend=self.backend, tree=effective.tree, worded=worded)
            except EngineError as better:
                return str(better)
        return str(error)

    def check(self) -> Artefact:
        """Refuse what the device could not be given; returns what it downloads. Raises EngineError."""
        effective = self.effective()
        if self.merged is None:
            validate(backend=self.backend, tree=effective.tree)
        # The schema does not know everything the renderer refuses (an IPv4 mask of 99, for one).
        return self.artefact(effective)

    def own(self) -> dict[str, Any]:
        """Return the device's own part of it, as a revision keeps it: what its configuration and templates were."""
        if self.merged is not None:
            settings = {
                key: {
                    "value": list(entry.value) if isinstance(entry.value, tuple) else entry.value,
                    "origin": entry.origin,
                }
                for key, entry in self.merged.device.entries.items()
            }
            return {
                "backend": self.backend,
                "settings": settings,
                "config": {},
                "context": {},
                "templates": [],
            }
        last = self.variables[-1]
        return {
            "backend": self.backend,
            "config": self.layers[-1].config,
            "context": last.values if last.source.layer == "device" else {},
            "templates": [
                [layer.source.object_id, layer.source.name]
                for layer in self.layers
                if layer.source.layer == "template"
            ],
        }
