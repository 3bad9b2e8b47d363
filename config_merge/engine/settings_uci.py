"""Writes merged settings as UCI, in the layout of `uci export`.

Invariant: the text is that of `uci export` after `uci import`, byte for byte; what UCI cannot hold is left out and
named, never written in another form (spec/cattlepi_ignitenet.md C4).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from config_merge.engine.origins import Value
from config_merge.engine.types import File

_ROOT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# No leading or trailing underscore and never two: names of sections join nodes by two.
_NODE = re.compile(r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*", re.ASCII)
_OPTION = re.compile(r"(?!__)[A-Za-z0-9_]+", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
MAIN = "main"


class Place(NamedTuple):
    """Where a key stands: package and type `root`, section of `nodes`, `option` (empty for a declaration).

    `entity` is the number of the entity it belongs to, empty for none.
    """

    root: str
    nodes: tuple[str, ...]
    option: str
    entity: str


@lru_cache(maxsize=65_536)
def place_of(key: str) -> Place | None:
    """Return where a key stands in UCI, None when it cannot stand anywhere.

    >>> place_of("network/lan/dhcp/start")
    Place(root='network', nodes=('lan', 'dhcp'), option='start', entity='')
    >>> place_of("wireless/guest-lan/x") is None
    True
    """
    root, *nodes = key.split("/")
    if not nodes or not _ROOT.fullmatch(root):
        return None
    option = nodes.pop()
    if option and not _OPTION.fullmatch(option):
        return None
    if not all(_NODE.fullmatch(node) for node in nodes) or nodes[:1] == [MAIN]:
        return None
    entity = nodes[0] if nodes and _NUMBER.fullmatch(nodes[0]) else ""
    return Place(root, tuple(nodes), option, entity)


def is_writable(value: Value) -> bool:
    """Tell whether UCI text can hold a value: no control characters but tab, line feed and carriage return."""
    if isinstance(value, str):
        return not _UNWRITABLE.search(value)
    return not any(_UNWRITABLE.search(text) for text in value)


@dataclass(frozen=True, slots=True)
class Packages:
    """UCI packages by name, in order; `warnings` name what could not be written."""

    sections: dict[str, list[str]]
    warnings: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return all packages as `uci export` prints them."""
        return "".join(f"package {name}\n\n{''.join(sections)}" for name, sections in self.sections.items())

    def files(self) -> list[File]:
        """Return each package as the file of it in /etc/config."""
        return [
            File(f"etc/config/{name}", "0644", "".join(sections).encode())
            for name, sections in self.sections.items()
        ]


def packages_of(values: Mapping[str, Value], *, types: Mapping[str, str] | None = None) -> Packages:
    r"""Return the packages of merged settings; `types` names section types other than the root, by root.

    >>> packages_of({"radio/r5/channel": "36"}).text()
    "package radio\n\nconfig radio 'r5'\n\toption channel '36'\n\n"
    """
    roots: dict[str, dict[tuple[str, ...], dict[str, Value]]] = {}
    warnings = []
    for key, value in values.items():
        place = place_of(key)
        if place is None:
            warnings.append(("unmappable-key", key))
            continue
        if not place.option and not place.nodes:
            continue
        if not is_writable(value):
            warnings.append(("unmappable-value", key))
            continue
        sections = roots.setdefault(place.root, {})
        if place.entity:
            sections.setdefault(place.nodes[:1], {})
        section = sections.setdefault(place.nodes, {})
        if place.option:
            section[place.option] = value
    named = types or {}
    return Packages(
        {root: _sections(named.get(root, root), roots[root]) for root in sorted(roots)},
        tuple(sorted(warnings, key=lambda each: (each[1], each[0]))),
    )


def _sections(kind: str, sections: Mapping[tuple[str, ...], Mapping[str, Value]]) -> list[str]:
    return [_section(kind, nodes, sections[nodes]) for nodes in sorted(sections, key=_rank)]


def _rank(nodes: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
    """The unnamed section, then named ones, then entities by number; each before what is below it."""
    if not nodes:
        return 0, 0, ()
    if _NUMBER.fullmatch(nodes[0]):
        # Numbers of any length compare by length first: no conversion, which Python refuses beyond 4,300 digits.
        return 2, len(nodes[0]), nodes
    return 1, 0, nodes


def _section(kind: str, nodes: tuple[str, ...], options: Mapping[str, Value]) -> str:
    lines = [f"config {kind} '{'__'.join(nodes) or MAIN}'\n"]
    if nodes and _NUMBER.fullmatch(nodes[0]):
        lines.append(f"\toption {'__uid' if len(nodes) == 1 else '__parent'} '{nodes[0]}'\n")
    for name in sorted(options):
        value = options[name]
        if isinstance(value, str):
            if value:
                lines.append(f"\toption {name} '{_quoted(value)}'\n")
        else:
            lines += [f"\tlist {name} '{_quoted(item)}'\n" for item in value if item]
    lines.append("\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''") if "'" in text else text
