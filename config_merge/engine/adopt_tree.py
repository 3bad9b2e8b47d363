"""What was edited on a device by hand, as NetJSON of the device itself: the way back from UCI through netjsonconfig.

Invariant: what the device should have and what it has go back through the same converters, so what these lose is no
difference. Where the result, rendered again, still differs, the options are written as a package of their own
(`"network": [{"config_name", "config_value", …}]`), which wins over what the converters make. What neither can express
is named.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netjsonconfig import OpenWrt

from config_merge.engine.adopt_settings import FOLDER, Adopted, Files
from config_merge.engine.backends import BACKENDS
from config_merge.engine.errors import EngineError
from config_merge.engine.netjson import fold
from config_merge.engine.origins import Value
from config_merge.engine.sections import LIBRARY_ERRORS
from config_merge.engine.types import File
from config_merge.engine.uci_reading import UciSection, UnreadableUci, managed, read_uci

OPENWRT = "netjsonconfig.OpenWrt"
Packages = dict[str, tuple[UciSection, ...]]
# From a device's own configuration to the files it would get.
Rendered = Callable[[Mapping[str, Any]], Sequence[File]]


class _Reader(OpenWrt):  # type: ignore[misc]
    """The library's way back, without its check: what is on a device need not be valid."""

    def validate(self) -> None:
        """Accept everything."""


def tree_adopted(
    files: Files, *, whole: bool, sent: Sequence[File], own: Mapping[str, Any], rendered: Rendered, dsa: bool
) -> Adopted:
    """Return the own configuration of a device that makes it what its files are now.

    `files` are the device's (None: it has no such file), `sent` what it was given, `own` its configuration so far,
    `rendered` what it would be given with another; `whole` as in `uci_reading.managed`. `left_out` names what would
    still differ.
    """
    wanted, actual, left_out = _both(files, whole=whole, sent=sent)
    proposal = _with_files(own, files, sent=sent, left_out=left_out)
    proposal = _folded(proposal, _difference(_tree(wanted, dsa=dsa), _tree(actual, dsa=dsa)), left_out)
    goal = _Goal(
        actual, {path: text for path, text in files.items() if not path.startswith(FOLDER)}, rendered
    )
    if goal.remaining(proposal):
        proposal = _refined(own, proposal, goal)
    for place in goal.remaining(proposal):
        left_out.append((place, "this edit cannot be expressed in the device's own configuration"))
    return Adopted(proposal, tuple(left_out))


def _both(files: Files, *, whole: bool, sent: Sequence[File]) -> tuple[Packages, Packages, list[Any]]:
    wanted: Packages = {}
    actual: Packages = {}
    left_out: list[tuple[str, str]] = []
    for file in sent:
        if not file.path.startswith(FOLDER) or file.path not in files:
            continue
        name, text = file.path.removeprefix(FOLDER), files[file.path]
        if text is None:
            left_out.append((file.path, "the file is gone; a device cannot do without what others set"))
            continue
        try:
            wanted[name] = read_uci(file.contents.decode())
            actual[name] = managed(wanted[name], read_uci(text), whole=whole)
        except (UnreadableUci, UnicodeDecodeError) as error:
            wanted.pop(name, None)
            left_out.append((file.path, str(error)))
    return wanted, actual, left_out


def _with_files(
    own: Mapping[str, Any], files: Files, *, sent: Sequence[File], left_out: list[Any]
) -> dict[str, Any]:
    """Take over plain files that were edited; they are known by their path."""
    proposal = copy.deepcopy(dict(own))
    for file in sent:
        if file.path.startswith(FOLDER) or file.path not in files:
            continue
        text = files[file.path]
        if text is None:
            left_out.append((file.path, "the file is gone; a device cannot do without what others set"))
        elif text.encode() != file.contents:
            entry = {"path": f"/{file.path}", "mode": file.mode, "contents": text}
            held = [
                each
                for each in proposal.get("files", [])
                if not (isinstance(each, dict) and each.get("path") == entry["path"])
            ]
            proposal["files"] = [*held, entry]
    return proposal


def _tree(packages: Packages, *, dsa: bool) -> dict[str, Any]:
    """Return the NetJSON that UCI sections stand for, as far as the library knows; {} where it gives up."""
    blocks = {name: [_block(section) for section in sections] for name, sections in packages.items()}
    reader = _Reader({}, dsa=dsa)
    reader.intermediate_data = blocks
    try:
        reader.to_netjson()
    except LIBRARY_ERRORS:
        return {}
    tree: dict[str, Any] = _plain(reader.config)
    return tree


def _block(section: UciSection) -> dict[str, Any]:
    """Return a section as the library's own parser does, which loses quotes."""
    block: dict[str, Any] = {".type": section.type, ".name": section.name}
    block |= {
        name: list(value) if isinstance(value, tuple) else value for name, value in section.options.items()
    }
    if block[".type"] in ("device", "bridge-vlan"):
        if block.get("type") in ("bridge", "8021q", "8021ad") or block[".type"] == "bridge-vlan":
            block["bridge_21"] = True
        if block[".type"] == "bridge-vlan":
            block["type"] = "bridge-vlan"
        elif not block.get("type"):
            block["type"] = "device"
        block[".type"] = "interface"
    return block


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, after: Any) -> dict[str, Any]:
    """Return what folding must bring in to get from one tree to the other; what is gone cannot be said.

    >>> before = {"a": {"b": 1, "c": 2}, "l": [{"name": "x", "y": 1}]}
    >>> _difference(before, {"a": {"b": 3}, "l": [{"name": "x", "y": 2}]})
    {'a': {'b': 3}, 'l': [{'name': 'x', 'y': 2}]}
    """
    patch: dict[str, Any] = {}
    for name, value in after.items():
        held = before.get(name)
        if value == held:
            continue
        if isinstance(value, dict) and isinstance(held, dict):
            below: Any = _difference(held, value)
        elif isinstance(value, list) and isinstance(held, list):
            below = _list_difference(held, value)
        else:
            below = value
        if below not in ({}, []):
            patch[name] = below
    return patch


def _list_difference(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    known = {_identity(item): item for item in before if _identity(item)}
    patch = []
    for item in after:
        held = known.get(_identity(item))
        if held is None:
            if item not in before:
                patch.append(item)
        elif below := _difference(held, item):
            name, value = _identity(item)
            kind = {"type": item["type"]} if "type" in item else {}
            patch.append({name: value, **kind, **below})
    return patch


def _identity(item: Any) -> Any:
    """Return the key by which folding knows an element of a list, and its value."""
    if not isinstance(item, Mapping):
        return ()
    return next(
        ((name, item[name]) for name in BACKENDS[OPENWRT].identifiers if isinstance(item.get(name), str)), ()
    )


def _folded(own: dict[str, Any], patch: Mapping[str, Any], left_out: list[Any]) -> dict[str, Any]:
    if not patch:
        return own
    try:
        tree, _ = fold([own, patch], backend=BACKENDS[OPENWRT])
    except EngineError as error:
        left_out.append(("configuration", error.message))
        return own
    return copy.deepcopy(tree)


def _options(packages: Mapping[str, Iterable[UciSection]]) -> dict[tuple[str, str], tuple[str, Any]]:
    return {
        (name, section.name): (section.type, dict(section.options))
        for name, sections in packages.items()
        for section in sections
    }


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a configuration shall render to: the device's packages and plain files."""

    packages: Packages = field(repr=False)
    plain: Files = field(repr=False)
    rendered: Rendered = field(repr=False)

    def made(self, proposal: Mapping[str, Any]) -> tuple[Packages, dict[str, str]] | None:
        """Return the packages and plain files of a configuration, None when it cannot be rendered."""
        try:
            files = {file.path: file.contents.decode() for file in self.rendered(proposal)}
            packages = {name: read_uci(files.get(f"{FOLDER}{name}", "")) for name in self.packages}
        except (EngineError, UnicodeDecodeError):
            return None
        return packages, {path: text for path, text in files.items() if not path.startswith(FOLDER)}

    def remaining(self, proposal: Mapping[str, Any]) -> list[str]:
        """Return the places where a configuration renders to something else than the device has."""
        made = self.made(proposal)
        if made is None:
            return ["configuration"]
        then, now = _options(made[0]), _options(self.packages)
        places = []
        for place in sorted(then.keys() | now.keys()):
            kind, options = then.get(place, ("", {}))
            kind_now, options_now = now.get(place, ("", {}))
            name = f"{FOLDER}{place[0]} {place[1]}"
            if kind != kind_now:
                places.append(name)
                continue
            places += [
                f"{name}.{option}"
                for option in sorted(options.keys() | options_now.keys())
                if options.get(option) != options_now.get(option)
            ]
        # A file that is gone was named before; here is what an edit of an option did to files.
        return places + sorted(
            path for path, text in made[1].items() if self.plain.get(path, "") not in (text, None)
        )


def _refined(own: Mapping[str, Any], proposal: dict[str, Any], goal: _Goal) -> dict[str, Any]:
    """Return a proposal with the options that still differ written out; the plain one where that is no better."""
    best, fewest = proposal, len(goal.remaining(proposal))
    # A conversion may have made matters worse: begin once with its result, once with the configuration as it was.
    for start in (proposal, _only_files(own, proposal)):
        tried = _written_out(start, goal)
        count = len(goal.remaining(tried))
        if count < fewest:
            best, fewest = tried, count
    return best


def _only_files(own: Mapping[str, Any], proposal: Mapping[str, Any]) -> dict[str, Any]:
    files = {"files": proposal["files"]} if "files" in proposal else {}
    return copy.deepcopy({**own, **files})


def _written_out(start: dict[str, Any], goal: _Goal) -> dict[str, Any]:
    made = goal.made(start)
    if made is None:
        return start
    then = _options(made[0])
    # A name that the schema has a meaning for (`openvpn`) is no package of one's own.
    known = BACKENDS[OPENWRT].schema["properties"]
    result = copy.deepcopy(start)
    for (name, section), (kind, options) in _options(goal.packages).items():
        kind_then, before = then.get((name, section), (kind, {}))
        # An empty option is not written: so one that is gone is taken away.
        changes: dict[str, Any] = {
            option: _sendable(value) for option, value in options.items() if before.get(option) != value
        }
        changes |= dict.fromkeys(before.keys() - options.keys(), "")
        if not changes or kind_then != kind or name in known or not isinstance(result.get(name, []), list):
            continue
        sections = result.setdefault(name, [])
        held = next(
            (each for each in sections if isinstance(each, dict) and each.get("config_value") == section),
            None,
        )
        if held is None:
            sections.append({"config_name": kind, "config_value": section, **changes})
        else:
            held.update(changes)
    return result


def _sendable(value: Value) -> Any:
    return value if isinstance(value, str) else list(value)
