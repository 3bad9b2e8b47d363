"""The effective configuration as a person reads it: each value, who set it, what it used, whom it overruled.

Invariant: nothing is decided here. Values and sources are the engine's; this module only arranges them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config_merge.admin.hidden import Hidden
from config_merge.engine import Leaf, Source, Variable

LAYER_TITLES = {
    "system": "System",
    "template": "Template",
    "default": "Default",
    "site": "Site",
    "device": "Device",
    "identity": "Identity",
    "global": "Global",
    "organization": "Organization",
    "group": "Group",
}
NAMING_KEYS = ("name", "config_value", "id", "ssid", "path", "address")
DEEPEST = 8
Links = Callable[[Source], str]


@dataclass(frozen=True, slots=True)
class Origin:
    """A source with what a badge shows: `layer` picks the colour, `link` may be empty."""

    layer: str
    title: str
    name: str
    link: str

    @property
    def key(self) -> str:
        """What the page's filter compares."""
        return f"{self.layer}:{self.name}"


@dataclass(frozen=True, slots=True)
class Used:
    """A variable a value was made with; without an origin nobody defined it."""

    name: str
    value: str
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree: a branch (no origin) or a leaf. `search` is what the search box looks in."""

    depth: int
    label: str
    note: str
    value: str
    origin: Origin | None
    used: tuple[Used, ...]
    shadowed: tuple[tuple[Origin, str], ...]
    search: str
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One top-level key of the configuration."""

    name: str
    rows: tuple[Row, ...]
    leaves: int


@dataclass(frozen=True, slots=True)
class VariableRow:
    """A variable in force."""

    name: str
    value: str
    origin: Origin
    shadowed: tuple[tuple[Origin, str], ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """What the page shows; `legend` counts the values each source won."""

    sections: tuple[Section, ...]
    variables: tuple[VariableRow, ...]
    legend: tuple[tuple[Origin, int], ...]
    leaves: int
    overruled: int


def plain(value: Any) -> str:
    """Return a leaf's value as text.

    >>> plain(True), plain(""), plain({}), plain(None), plain(5)
    ('true', '""', '{ }', 'null', '5')
    """
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case "":
            return '""'
        case dict():
            return "{ }" if not value else repr(value)
        case list() | tuple():
            return "[ ]" if not value else repr(list(value))
        case _:
            return str(value)


def item_label(index: int, item: Any) -> tuple[str, str]:
    """Return what to call an element of a list: its position and, if it has one, its name.

    >>> item_label(0, {"name": "lan"}), item_label(2, "x")
    (('#1', 'lan'), ('#3', ''))
    """
    if isinstance(item, dict):
        for key in NAMING_KEYS:
            if isinstance(item.get(key), str) and item[key]:
                return f"#{index + 1}", item[key]
    return f"#{index + 1}", ""


def escaped(key: str) -> str:
    """Return a key as a step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


class _Arranger:
    """Holds what every row needs while the tree is walked."""

    def __init__(self, leaves: Mapping[str, Leaf], variables: Mapping[str, Variable], links: Links) -> None:
        self.leaves = leaves
        self.variables = variables
        self.links = links
        self.seen: dict[Source, Origin] = {}

    def origin(self, source: Source) -> Origin:
        """Return the badge of a source."""
        if source not in self.seen:
            title = LAYER_TITLES.get(source.layer, source.layer)
            name = source.name if source.layer != "system" else "device name"
            self.seen[source] = Origin(source.layer, title, name, self.links(source))
        return self.seen[source]

    def shadows(self, shadowed: tuple[tuple[Source, Any], ...]) -> tuple[tuple[Origin, str], ...]:
        """Return overruled values, the last overruled first."""
        return tuple((self.origin(source), plain(value)) for source, value in reversed(shadowed))

    def used(self, leaf: Leaf) -> tuple[Used, ...]:
        """Return the variables of a leaf."""
        found = []
        for name in leaf.variables:
            variable = self.variables.get(name)
            origin = self.origin(variable.source) if variable else None
            found.append(Used(name, variable.value if variable else "", origin))
        return tuple(found)

    def rows(self, value: Any, pointer: str, label: str, note: str, depth: int, trail: str) -> Iterator[Row]:
        """Walk a value; a container is a branch and its elements."""
        trail = f"{trail} {label} {note}".strip()
        leaf = self.leaves.get(pointer)
        if leaf is not None:
            shown = plain(leaf.value)
            yield Row(
                depth=min(depth, DEEPEST),
                label=label,
                note=note,
                value=shown,
                origin=self.origin(leaf.source),
                used=self.used(leaf),
                shadowed=self.shadows(leaf.shadowed),
                search=f"{trail} {shown}".lower(),
                pointer=pointer,
            )
            return
        if depth:
            yield Row(min(depth, DEEPEST), label, note, "", None, (), (), trail.lower(), pointer)
        if isinstance(value, dict):
            for key in sorted(value):
                yield from self.rows(value[key], f"{pointer}/{escaped(key)}", key, "", depth + 1, trail)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                number, name = item_label(index, item)
                yield from self.rows(item, f"{pointer}/{index}", number, name, depth + 1, trail)


def explain(hidden: Hidden, links: Links) -> Explained:
    """Arrange an effective configuration; `links` gives the page of a source, or an empty text."""
    leaves = hidden.leaves
    arranger = _Arranger(leaves, hidden.variables, links)
    found: dict[str, list[Row]] = {}
    for name in sorted(hidden.tree):
        # The settings of a site are flat: what is before the first slash is their section.
        root, _, rest = name.partition("/")
        found.setdefault(root, []).extend(
            arranger.rows(hidden.tree[name], f"/{escaped(name)}", rest or name, "", 0, "")
        )
    sections = [
        Section(name, tuple(rows), sum(row.origin is not None for row in rows))
        for name, rows in found.items()
    ]
    won = Counter(leaf.source for leaf in leaves.values())
    variables = tuple(
        VariableRow(name, plain(item.value), arranger.origin(item.source), arranger.shadows(item.shadowed))
        for name, item in sorted(hidden.variables.items())
    )
    return Explained(
        sections=tuple(sections),
        variables=variables,
        legend=tuple((arranger.origin(source), count) for source, count in won.most_common()),
        leaves=len(leaves),
        overruled=sum(bool(leaf.shadowed) for leaf in leaves.values()),
    )
