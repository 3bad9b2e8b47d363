"""A NetJSON tree to UCI packages: which converters run, in what order, and what they know of each other.

Invariant: the outcome is that of netjsonconfig 1.3.1's `to_intermediate`, but top-level values
are converted one by one, and within them elements, so that those met before cost only a look-up. Wherever
elements affect each other (VLAN-filtering bridges, sections of one name), they are converted or merged
together by the library's own code instead.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from netjsonconfig.backends.openwrt import converters
from netjsonconfig.utils import merge_list

from config_merge.engine.backends import Backend
from config_merge.engine.errors import InvalidConfiguration, fragment
from config_merge.engine.places import is_package, require_package_name
from config_merge.engine.sections import (
    LIBRARY_ERRORS,
    Context,
    Converted,
    Job,
    Section,
    convert,
    sections_of,
)
from config_merge.engine.strict_json import Part, frozen, thawed

# Converter and top-level key, in the library's order. `Custom` comes after them.
_ORDER = (
    ("General", "general"),
    ("Ntp", "ntp"),
    ("Led", "led"),
    ("Interfaces", "interfaces"),
    ("Routes", "routes"),
    ("Rules", "ip_rules"),
    ("Switch", "switch"),
    ("Radios", "radios"),
    ("Wireless", "interfaces"),
    ("OpenVpn", "openvpn"),
    ("WireguardPeers", "wireguard_peers"),
    ("ZeroTier", "zerotier"),
)
# Values that are converted as one element in any case.
_SINGLE = ("general", "ntp")
_NUMBERED = frozenset({"Routes", "Rules", "WireguardPeers"})


# As for single elements (see sections), whose sections are shared with what is remembered here.
_REMEMBERED = 2048
_REMEMBERED_LENGTH = 8192


class Conversion(NamedTuple):
    """All sections by package, in the order packages first appear, and the list of extra files."""

    packages: dict[str, list[Section]]
    files: list[Any]


class _Element(NamedTuple):
    """One element of a top-level key; the whole value, with position None, when it is no list."""

    position: int | None
    frozen: bytes


class _State(NamedTuple):
    tree: Mapping[str, Any]
    parts: Mapping[str, Part]
    backend: Backend
    dsa: bool
    packages: dict[str, list[Section]]
    files: list[Any]


class _Part(NamedTuple):
    """The whole input of the conversion of a top-level value.

    `block` is the value as `frozen_part` returns it; `context` is frozen too: for "Interfaces" the pair of
    DNS keys, for "Wireless" the bridges of each interface, for "ZeroTier" the file list.
    """

    converter: str
    key: str
    dsa: bool
    quoted_words: bool
    block: Part
    context: bytes


def converted(
    tree: Mapping[str, Any], parts: Mapping[str, Part], *, backend: Backend, dsa: bool
) -> Conversion:
    """The UCI sections of a tree and its parts as `frozen_parts` returned them. Raises
    InvalidConfiguration."""
    files = tree.get("files", [])
    if not isinstance(files, list):
        raise InvalidConfiguration("files must be a list", path="#/files")
    for key in _SINGLE:
        if isinstance(tree.get(key), list):
            raise InvalidConfiguration(f"{key} must be an object", path=fragment((key,)))
    state = _State(tree=tree, parts=parts, backend=backend, dsa=dsa, packages={}, files=list(files))
    for name, key in _ORDER:
        if key in tree:
            result = _converted_part(state, name, key, _context(state, name))
            _merge_in(state, result.sections)
            if name == "ZeroTier":
                state.files[:] = result.files
            else:
                state.files.extend(result.files)
    for key in sorted(tree.keys() - backend.schema["properties"].keys()):
        if is_package(tree[key]):
            require_package_name(key)
            _merge_in(state, _converted_part(state, "Custom", key, b"").sections)
    return Conversion(packages=state.packages, files=state.files)


def _context(state: _State, name: str) -> bytes:
    match name:
        case "Interfaces":
            return frozen([state.tree.get("dns_servers"), state.tree.get("dns_search")])
        case "Wireless":
            return frozen(_bridges(state))
        case "ZeroTier":
            return frozen(state.files)
    return b""


def _converted_part(state: _State, name: str, key: str, context: bytes) -> Converted:
    block = state.parts[key]
    part = _Part(name, key, state.dsa, state.backend.quoted_words, block, context)
    if key in _SINGLE:
        return _run(part, _whole(part), None)
    length = len(block) if isinstance(block, bytes) else sum(map(len, block))
    if length + len(context) > _REMEMBERED_LENGTH:
        return _convert_part(part)
    return _convert_part_remembered(part)


def _convert_part(part: _Part) -> Converted:
    elements = _elements(part.block)
    match part.converter:
        case "ZeroTier":
            return _run(part, _whole(part), part.context)
        case "Interfaces":
            return _interfaces(part, elements)
        case "Wireless":
            return _wireless(part, elements)
        case "Custom":
            return _custom(part, elements)
    numbered = part.converter in _NUMBERED
    return _joined(
        _run(part, element, element.position + 1 if numbered and element.position is not None else None)
        for element in elements
    )


_convert_part_remembered = lru_cache(maxsize=_REMEMBERED)(_convert_part)


def _joined(results: Iterable[Converted]) -> Converted:
    sections: list[Section] = []
    files: list[Mapping[str, Any]] = []
    for result in results:
        sections += result.sections
        files += result.files
    return Converted(tuple(sections), tuple(files))


def _elements(block: Part) -> list[_Element]:
    if isinstance(block, tuple):
        return [_Element(index, item) for index, item in enumerate(block)]
    return [_Element(None, block)]


def _whole(part: _Part) -> _Element:
    block = part.block
    return _Element(None, frozen([thawed(item) for item in block]) if isinstance(block, tuple) else block)


def _interfaces(part: _Part, elements: list[_Element]) -> Converted:
    """Interface by interface, unless one affects another: then all at once."""
    if not (part.dsa and any(map(_filters_vlans, elements))):
        result = _joined(_run(part, element, part.context) for element in elements)
        if len({section.name for section in result.sections}) == len(result.sections):
            return result
    return _run(part._replace(converter="AllInterfaces"), _whole(part), part.context)


def _filters_vlans(element: _Element) -> bool:
    # The bytes rule it out for most, so that they need not be read.
    if b"vlan_filtering" not in element.frozen:
        return False
    interface = thawed(element.frozen)
    return isinstance(interface, dict) and bool(interface.get("vlan_filtering"))


def _wireless(part: _Part, elements: list[_Element]) -> Converted:
    """The wifi-iface sections of wireless interfaces, joined to the bridges that name them as members."""
    bridges = thawed(part.context)
    results: list[Converted] = []
    for element in elements:
        if b"wireless" not in element.frozen:
            continue
        interface = thawed(element.frozen)
        if isinstance(interface, dict) and "wireless" in interface:
            member = interface.get("name")
            joined = bridges.get(member) if isinstance(member, str) else None
            results.append(_run(part, element, None if joined is None else tuple(joined)))
    return _joined(results)


def _bridges(state: _State) -> dict[str, list[str]]:
    """The bridges each interface is a member of, by the library's own look at the network sections."""
    blocks = [section.block for section in state.packages.get("network", [])]
    converter = converters.Wireless(SimpleNamespace(config={}, intermediate_data={}, dsa=state.dsa))
    try:
        converter._track_bridged_wifi({"network": blocks})
    except LIBRARY_ERRORS as error:
        raise _unrenderable(error, ("interfaces",)) from error
    bridges: dict[str, list[str]] = converter._bridged_wifi
    return bridges


def _custom(part: _Part, elements: list[_Element]) -> Converted:
    """A top-level list the schema does not know: each object with a `config_name` is a section of that
    package."""
    named = [element for element in elements if _has_config_name(thawed(element.frozen))]
    return _joined(_run(part, element, (part.key, number)) for number, element in enumerate(named, 1))


def _has_config_name(value: Any) -> bool:
    return isinstance(value, dict) and "config_name" in value


def _run(part: _Part, element: _Element, context: Context) -> Converted:
    try:
        return convert(Job(part.converter, part.dsa, part.quoted_words, element.frozen, context))
    except LIBRARY_ERRORS as error:
        path = (part.key,) if element.position is None else (part.key, element.position)
        raise _unrenderable(error, path) from error


def _merge_in(state: _State, sections: Iterable[Section]) -> None:
    """Adds one converter's sections; sections of one name in one package become one, by the library's
    rules."""
    arrived: dict[str, list[Section]] = {}
    for section in sections:
        arrived.setdefault(section.package, []).append(section)
    for package, new in arrived.items():
        old = state.packages.get(package)
        if old is None:
            state.packages[package] = new
            continue
        if len({section.name for section in (*old, *new)}) == len(old) + len(new):
            old += new
            continue
        try:
            blocks = merge_list([item.block for item in old], [item.block for item in new], [".name"])
            merged = list(sections_of({package: blocks}, quoted_words=state.backend.quoted_words))
        except LIBRARY_ERRORS as error:
            raise _unrenderable(error, (package,)) from error
        state.packages[package] = merged


def _unrenderable(error: Exception, path: tuple[str | int, ...]) -> InvalidConfiguration:
    """The library's own words may quote secrets, so only the kind of failure and the key it missed are
    told."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return InvalidConfiguration(
            f"cannot be rendered: {error.args[0]!r} is missing or unknown", path=fragment(path)
        )
    return InvalidConfiguration(f"cannot be rendered ({type(error).__name__})", path=fragment(path))
