"""The values that cross the engine's edge.

Invariant: all of them are frozen; the containers inside `Layer.config` and `VariableLayer.values` are only
ever read, so one layer may be shared by many devices and threads, as long as its owner does not change it
either.
No `repr` shows configuration values: they hold keys and passwords, and `repr` ends up in logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from.

    `layer` is "system" (the injected hostname), "template" or "device"; for variables also "identity",
    "global", "organization" and "group". `object_id` identifies the row ("" when there is none), `name` is
    for people.
    """

    layer: str
    object_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One NetJSON object of the fold; later layers win."""

    source: Source
    config: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VariableLayer:
    """One set of variables; callers order them from low to high precedence (spec/openwisp.md 2.5)."""

    source: Source
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar or empty container of the effective tree.

    `value` is what the device gets, `raw` the same before variables were put in, `variables` the names that
    were looked up in it. `shadowed` holds what earlier layers said at this place, raw, in layer order (the
    last one was overruled last). When a container took the place of a scalar, each of its leaves shadows
    that scalar.
    """

    value: Any = field(repr=False)
    source: Source
    shadowed: tuple[tuple[Source, Any], ...] = field(repr=False)
    variables: tuple[str, ...]
    raw: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in force: its text, who set it, and what lower layers said, in layer order."""

    name: str
    value: str = field(repr=False)
    source: Source
    shadowed: tuple[tuple[Source, Any], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class File:
    """One member of an archive: relative path, four octal digits, bytes."""

    path: str
    mode: str
    contents: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a device downloads. `md5` (the agent's checksum) and `sha256` are hex digests of `archive`'s
    bytes."""

    files: tuple[File, ...]
    archive: bytes = field(repr=False)
    md5: str
    sha256: str
