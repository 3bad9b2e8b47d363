"""NetJSON to UCI sections by netjsonconfig's own converters, each section at most once for equal input.

Invariant: a remembered result is a pure function of its key. The key is the canonical JSON (sorted keys) of one element
of the tree, together with everything else its converter reads; nothing is ever patched into an older text. Results are
shared between threads and must not be changed. Canonical JSON also makes the outcome independent of key order.

What each converter reads was taken from the source of netjsonconfig 1.3.1, which `requirements.txt` pins:
only `interfaces` reads beyond its own element (DNS keys, bridge VLANs of earlier interfaces), `wireless` reads which
bridges an interface is a member of, `zerotier` rewrites `files`, and `openvpn` adds to them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from netjsonconfig.backends.openwrt import converters
from netjsonconfig.exceptions import NetJsonConfigException
from netjsonconfig.utils import merge_list

from config_merge.engine.backends import Backend
from config_merge.engine.errors import InvalidConfiguration, fragment
from config_merge.engine.places import is_package, require_package_name
from config_merge.engine.uci import block_text

# What the library lets escape when a stored tree does not fit its schema.
LIBRARY_ERRORS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NetJsonConfigException,
)
_REMEMBERED = 4096
_REMEMBERED_LENGTH = 4096


class Section(NamedTuple):
    """One UCI section: its package, its name, its text, and the options it was made of."""

    package: str
    name: Any
    text: str
    block: Mapping[str, Any]


class Job(NamedTuple):
    """The whole input of a conversion: `block` and `context` are canonical JSON."""

    converter: str
    dsa: bool
    quoted_words: bool
    block: str
    context: str


class Converted(NamedTuple):
    """The sections of one element, and the extra files it needs."""

    sections: tuple[Section, ...]
    files: tuple[Mapping[str, Any], ...]


class Conversion(NamedTuple):
    """All sections by package, in the order packages first appear, and the list of extra files."""

    packages: dict[str, list[Section]]
    files: list[Any]


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
# Cycles and NaN were refused by `require_object`.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
_NUMBERED = frozenset({"Routes", "Rules", "WireguardPeers"})


def converted(tree: Mapping[str, Any], *, backend: Backend, dsa: bool) -> Conversion:
    """The UCI sections of a tree that `require_object` accepts. Raises InvalidConfiguration."""
    files = tree.get("files", [])
    if not isinstance(files, list):
        raise InvalidConfiguration("files must be a list", path="#/files")
    state = _State(tree=tree, backend=backend, dsa=dsa, packages={}, files=list(files))
    for name, key in _ORDER:
        if key in tree:
            value = tree[key]
            elements = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            _merge_in(state, _sections_of(state, name, key, elements))
    custom: list[Section] = []
    for key in sorted(tree.keys() - backend.schema["properties"].keys()):
        if is_package(tree[key]):
            require_package_name(key)
            custom += _custom_sections(state, key, tree[key])
    _merge_in(state, custom)
    return Conversion(packages=state.packages, files=state.files)


class _State(NamedTuple):
    tree: Mapping[str, Any]
    backend: Backend
    dsa: bool
    packages: dict[str, list[Section]]
    files: list[Any]


Elements = list[tuple[int | None, Any]]


def _sections_of(state: _State, name: str, key: str, elements: Elements) -> list[Section]:
    if name == "Interfaces":
        return _interface_sections(state, elements)
    if name == "ZeroTier":
        return _zerotier_sections(state)
    bridges = _bridges(state) if name == "Wireless" else {}
    sections: list[Section] = []
    for index, element in elements:
        context = ""
        if name in _NUMBERED:
            context = str((index or 0) + 1)
        elif name == "Wireless":
            if not isinstance(element, dict) or "wireless" not in element:
                continue
            member = element.get("name")
            context = _canonical(bridges.get(member)) if isinstance(member, str) else "null"
        result = _run(state, name, key, index, element, context)
        sections += result.sections
        state.files.extend(result.files)
    return sections


def _interface_sections(state: _State, elements: Elements) -> list[Section]:
    """Interface by interface, unless one affects another: then all at once, as the library does."""
    dns = _canonical([state.tree.get("dns_servers"), state.tree.get("dns_search")])
    alone = not (state.dsa and any(isinstance(item, dict) and item.get("vlan_filtering") for _, item in elements))
    if alone:
        sections = [
            section
            for index, item in elements
            for section in _run(state, "Interfaces", "interfaces", index, item, dns).sections
        ]
        if len({section.name for section in sections}) == len(sections):
            return sections
    whole = state.tree["interfaces"]
    return list(_run(state, "AllInterfaces", "interfaces", None, whole, dns).sections)


def _zerotier_sections(state: _State) -> list[Section]:
    """ZeroTier's converter replaces the file list, so it gets a copy and is never remembered."""
    config = json.loads(_canonical({"zerotier": state.tree["zerotier"], "files": state.files}))
    library = SimpleNamespace(config=config, intermediate_data={}, dsa=state.dsa)
    try:
        result = converters.ZeroTier(library).to_intermediate()
        sections = tuple(_sections(result, quoted_words=state.backend.quoted_words))
    except LIBRARY_ERRORS as error:
        raise _unrenderable(error, ("zerotier",)) from error
    state.files[:] = config["files"]
    return list(sections)


def _custom_sections(state: _State, key: str, elements: list[Any]) -> Iterator[Section]:
    """A top-level list the schema does not know: each object with a `config_name` is a section of that package."""
    number = 0
    for index, element in enumerate(elements):
        if isinstance(element, dict) and "config_name" in element:
            number += 1
            yield from _run(state, "Custom", key, index, element, _canonical([key, number])).sections


def _run(state: _State, name: str, key: str, index: int | None, element: Any, context: str) -> Converted:
    job = Job(name, state.dsa, state.backend.quoted_words, _canonical(element), context)
    try:
        if len(job.block) > _REMEMBERED_LENGTH:
            return _convert(job)
        return _convert_remembered(job)
    except LIBRARY_ERRORS as error:
        raise _unrenderable(error, (key,) if index is None else (key, index)) from error


def _convert(job: Job) -> Converted:
    block = json.loads(job.block)
    if job.converter == "Custom":
        package, number = json.loads(job.context)
        result: dict[str, Any] = {package: [_custom_block(block, number)]}
        return Converted(tuple(_sections(result, quoted_words=job.quoted_words)), ())
    config: dict[str, Any] = {"files": []}
    library = SimpleNamespace(config=config, intermediate_data={}, dsa=job.dsa)
    if job.converter in ("Interfaces", "AllInterfaces"):
        dns, search = json.loads(job.context)
        config |= {"dns_servers": dns, "dns_search": search}
    if job.converter == "AllInterfaces":
        config["interfaces"] = block
        result = converters.Interfaces(library).to_intermediate()
    else:
        converter = getattr(converters, job.converter)(library)
        if job.converter == "Wireless":
            bridges = json.loads(job.context)
            converter._bridged_wifi = {} if bridges is None else {block["name"]: bridges}
        # The list is there because a VLAN-filtering interface takes an earlier interface's for granted.
        result = {"network": []} if job.converter == "Interfaces" else {}
        converter.to_intermediate_loop(block, result, int(job.context) if job.converter in _NUMBERED else None)
    return Converted(tuple(_sections(result, quoted_words=job.quoted_words)), tuple(config["files"]))


_convert_remembered = lru_cache(maxsize=_REMEMBERED)(_convert)


def _custom_block(block: dict[str, Any], number: int) -> dict[str, Any]:
    name = block.pop("config_name")
    section = block.pop("config_value", f"{name}_{number}")
    block |= {".type": name, ".name": section.replace(".", "_").replace("-", "_")}
    return dict(sorted(block.items()))


def _sections(result: Mapping[str, list[dict[str, Any]]], *, quoted_words: bool) -> Iterator[Section]:
    for package, blocks in result.items():
        for block in blocks:
            if not isinstance(block[".name"], str | int | float):
                raise TypeError("a section's name must be a string")
            text = block_text(block, quoted_words=quoted_words)
            yield Section(package, block[".name"], text, block)


def _merge_in(state: _State, sections: Iterable[Section]) -> None:
    """Adds one converter's sections; sections of one name in one package become one, by the library's rules."""
    arrived: dict[str, list[Section]] = {}
    for section in sections:
        arrived.setdefault(section.package, []).append(section)
    for package, new in arrived.items():
        old = state.packages.setdefault(package, [])
        names = {section.name for section in old} | {section.name for section in new}
        if not old or len(names) == len(old) + len(new):
            old += new
            continue
        try:
            blocks = merge_list([item.block for item in old], [item.block for item in new], [".name"])
            merged = list(_sections({package: blocks}, quoted_words=state.backend.quoted_words))
        except LIBRARY_ERRORS as error:
            raise _unrenderable(error, ()) from error
        state.packages[package] = merged


def _bridges(state: _State) -> dict[str, list[str]]:
    """The bridges each interface is a member of, by the library's own look at the network sections."""
    blocks = [section.block for section in state.packages.get("network", [])]
    library = SimpleNamespace(config={}, intermediate_data={}, dsa=state.dsa)
    converter = converters.Wireless(library)
    try:
        converter._track_bridged_wifi({"network": blocks})
    except LIBRARY_ERRORS as error:
        raise _unrenderable(error, ("interfaces",)) from error
    bridges: dict[str, list[str]] = converter._bridged_wifi
    return bridges


def _unrenderable(error: Exception, path: tuple[str | int, ...]) -> InvalidConfiguration:
    """The library's own words may quote secrets, so only the kind of failure is told."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return InvalidConfiguration(f"cannot be rendered: unexpected or missing {error.args[0]!r}", path=fragment(path))
    return InvalidConfiguration(f"cannot be rendered ({type(error).__name__})", path=fragment(path))
