"""A NetJSON tree to UCI packages: which converters run, in what order, and what they know of each other.

Invariant: the outcome is that of netjsonconfig 1.3.1's `to_intermediate`, but elements are converted one by
one, so that those met before cost only a look-up. Wherever elements affect each other (VLAN-filtering
bridges, sections of one name), they are converted or merged together by the library's own code instead.
"""

from collections.abc import Iterator, Mapping
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
    frozen,
    sections_of,
)

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
_NUMBERED = frozenset({"Routes", "Rules", "WireguardPeers"})


class Conversion(NamedTuple):
    """All sections by package, in the order packages first appear, and the list of extra files."""

    packages: dict[str, list[Section]]
    files: list[Any]


class _Element(NamedTuple):
    """One element of a top-level key; the whole value, with position None, when it is no list."""

    position: int | None
    value: Any
    frozen: bytes


class _State(NamedTuple):
    tree: Mapping[str, Any]
    backend: Backend
    dsa: bool
    packages: dict[str, list[Section]]
    files: list[Any]


def converted(tree: Mapping[str, Any], *, backend: Backend, dsa: bool) -> Conversion:
    """The UCI sections of a tree that `plain_object` returned. Raises InvalidConfiguration."""
    files = tree.get("files", [])
    if not isinstance(files, list):
        raise InvalidConfiguration("files must be a list", path="#/files")
    for key in ("general", "ntp"):
        if isinstance(tree.get(key), list):
            raise InvalidConfiguration(f"{key} must be an object", path=fragment((key,)))
    state = _State(tree=tree, backend=backend, dsa=dsa, packages={}, files=list(files))
    elements = {key: _elements(tree[key]) for _, key in _ORDER if key in tree}
    for name, key in _ORDER:
        if key in tree:
            _merge_in(state, _converted_key(state, name, key, elements[key]))
    for key in sorted(tree.keys() - backend.schema["properties"].keys()):
        if is_package(tree[key]):
            require_package_name(key)
            _merge_in(state, list(_custom(state, key, tree[key])))
    return Conversion(packages=state.packages, files=state.files)


def _elements(value: Any) -> list[_Element]:
    if isinstance(value, list):
        return [_Element(index, item, frozen(item)) for index, item in enumerate(value)]
    return [_whole(value)]


def _whole(value: Any) -> _Element:
    return _Element(None, value, frozen(value))


def _converted_key(state: _State, name: str, key: str, elements: list[_Element]) -> list[Section]:
    if name == "Interfaces":
        return _interfaces(state, elements)
    if name == "Wireless":
        return _wireless(state, elements)
    if name == "ZeroTier":
        result = _run(state, name, key, _whole(state.tree[key]), frozen(state.files))
        state.files[:] = result.files
        return list(result.sections)
    sections: list[Section] = []
    for element in elements:
        number = (element.position or 0) + 1 if name in _NUMBERED else None
        result = _run(state, name, key, element, number)
        sections += result.sections
        state.files.extend(result.files)
    return sections


def _interfaces(state: _State, elements: list[_Element]) -> list[Section]:
    """Interface by interface, unless one affects another: then all at once."""
    dns = frozen([state.tree.get("dns_servers"), state.tree.get("dns_search")])
    if not (state.dsa and any(_filters_vlans(element.value) for element in elements)):
        sections: list[Section] = []
        for element in elements:
            sections += _run(state, "Interfaces", "interfaces", element, dns).sections
        if len({section.name for section in sections}) == len(sections):
            return sections
    return list(_run(state, "AllInterfaces", "interfaces", _whole(state.tree["interfaces"]), dns).sections)


def _filters_vlans(interface: Any) -> bool:
    return isinstance(interface, dict) and bool(interface.get("vlan_filtering"))


def _wireless(state: _State, elements: list[_Element]) -> list[Section]:
    """The wifi-iface sections of wireless interfaces, joined to the bridges that name them as members."""
    bridges = _bridges(state)
    sections: list[Section] = []
    for element in elements:
        if isinstance(element.value, dict) and "wireless" in element.value:
            member = element.value.get("name")
            joined = bridges.get(member) if isinstance(member, str) else None
            context = None if joined is None else tuple(joined)
            sections += _run(state, "Wireless", "interfaces", element, context).sections
    return sections


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


def _custom(state: _State, key: str, values: list[Any]) -> Iterator[Section]:
    """A top-level list the schema does not know: each object with a `config_name` is a section of that
    package."""
    number = 0
    for index, value in enumerate(values):
        if isinstance(value, dict) and "config_name" in value:
            number += 1
            element = _Element(index, value, frozen(value))
            yield from _run(state, "Custom", key, element, (key, number)).sections


def _run(
    state: _State,
    name: str,
    key: str,
    element: _Element,
    context: Context,
) -> Converted:
    try:
        return convert(Job(name, state.dsa, state.backend.quoted_words, element.frozen, context))
    except LIBRARY_ERRORS as error:
        raise _unrenderable(error, (key,) if element.position is None else (key, element.position)) from error


def _merge_in(state: _State, sections: list[Section]) -> None:
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
