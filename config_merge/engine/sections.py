"""One element of a NetJSON tree to its UCI sections, by netjsonconfig's own converters, once for equal input.

Invariant: a remembered result is a pure function of its `Job`, which holds everything the converter reads;
nothing is ever patched into an older text. Converters see canonical JSON (sorted keys), so key order
changes nothing. Results are shared between threads and must not be changed.

What each converter reads was taken from the source of netjsonconfig 1.3.1, which `requirements.txt` pins:
only `interfaces` reads beyond its own element (DNS keys, bridge VLANs of earlier interfaces) and `wireless`
(the bridges an interface is a member of); `openvpn` adds to `files`, and `zerotier` rewrites them.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from netjsonconfig.backends.openwrt import converters
from netjsonconfig.exceptions import NetJsonConfigException

from config_merge.engine.strict_json import frozen, thawed
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
# Together they bound the memory: a remembered conversion takes a few times the length of its input.
_REMEMBERED = 4096
_REMEMBERED_LENGTH = 4096
_CONTAINERS = (dict, list)


class Section(NamedTuple):
    """One UCI section: its package, its name, its text, and the options it was made of."""

    package: str
    name: Any
    text: str
    block: Mapping[str, Any]


Context = bytes | int | tuple[str | int, ...] | None


class Job(NamedTuple):
    """The whole input of a conversion.

    `block` is `frozen` JSON. `context`, by converter: the element's number for "Routes", "Rules" and
    "WireguardPeers"; the names of its bridges or None for "Wireless"; the frozen pair of DNS keys for
    "Interfaces" (one interface) and "AllInterfaces" (the list); package and number for "Custom"; the frozen
    file list for "ZeroTier" (the list).
    """

    converter: str
    dsa: bool
    quoted_words: bool
    block: bytes
    context: Context


class Converted(NamedTuple):
    """Sections, and extra files: those to add, for "ZeroTier" the whole list that replaces the old one."""

    sections: tuple[Section, ...]
    files: tuple[Mapping[str, Any], ...]


def with_sorted_keys(value: Any) -> Any:
    """A deep copy of plain JSON that does not show in what order keys came.

    >>> with_sorted_keys({"b": [{"d": 1, "c": 2}], "a": 3})
    {'a': 3, 'b': [{'c': 2, 'd': 1}]}
    """
    if isinstance(value, dict):
        return {
            key: with_sorted_keys(item) if isinstance(item, _CONTAINERS) else item
            for key, item in sorted(value.items())
        }
    if isinstance(value, list):
        return [with_sorted_keys(item) if isinstance(item, _CONTAINERS) else item for item in value]
    return value


def convert(job: Job) -> Converted:
    """The outcome of a job, remembered for small ones. Raises one of LIBRARY_ERRORS."""
    return _convert(job) if len(job.block) > _REMEMBERED_LENGTH else _convert_remembered(job)


def sections_of(result: Mapping[str, list[dict[str, Any]]], *, quoted_words: bool) -> Iterator[Section]:
    """Sections with their texts from a converter's result. Raises TypeError for an unusable name."""
    for package, blocks in result.items():
        for block in blocks:
            if isinstance(block[".name"], list | dict):
                raise TypeError("a section's name must be a string")
            yield Section(package, block[".name"], block_text(block, quoted_words=quoted_words), block)


def _convert(job: Job) -> Converted:
    block = _thawed(job.block)
    config: dict[str, Any] = {"files": []}
    match job.converter, job.context:
        case "Custom", (str() as package, int() as number):
            result = {package: [_custom_block(block, number)]}
        case "Interfaces" | "AllInterfaces", bytes() as dns:
            config["dns_servers"], config["dns_search"] = _thawed(dns)
            result = _interfaces(job, block, config)
        case "ZeroTier", bytes() as files:
            config |= {"zerotier": block, "files": _thawed(files)}
            result = converters.ZeroTier(_library(config, job.dsa)).to_intermediate()
        case "Wireless", bridges:
            converter = converters.Wireless(_library(config, job.dsa))
            converter._bridged_wifi = {block["name"]: list(bridges)} if isinstance(bridges, tuple) else {}
            result = {}
            converter.to_intermediate_loop(block, result)
        case name, number:
            result = {}
            getattr(converters, name)(_library(config, job.dsa)).to_intermediate_loop(block, result, number)
    return Converted(tuple(sections_of(result, quoted_words=job.quoted_words)), tuple(config["files"]))


_convert_remembered = lru_cache(maxsize=_REMEMBERED)(_convert)


def _interfaces(job: Job, block: Any, config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    converter = _Interfaces(_library(config, job.dsa))
    if job.converter == "AllInterfaces":
        config["interfaces"] = block
        whole: dict[str, list[dict[str, Any]]] = converter.to_intermediate()
        return whole
    aside = _Aside()
    result: dict[str, list[dict[str, Any]]] = {"network": aside}
    converter.to_intermediate_loop(_Block(block), result, None)
    return {"network": [*aside.kept, *result["network"]]}


class _Block(dict[str, Any]):
    """An object of plain JSON that `copy.deepcopy`, which the library calls many times, copies in C."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Block":
        return _Block(thawed(frozen(dict(self))))


class _Interfaces(converters.Interfaces):  # type: ignore[misc]
    """The library's converter, on objects whose copies do not take most of the time."""

    def sorted_dict(self, dict_: Mapping[str, Any]) -> _Block:
        return _Block(sorted(dict_.items()))

    def get_copy(self, dict_: Mapping[str, Any], key: str, default: Any = None) -> Any:
        # `config` and its elements belong to this conversion: nobody sees that they change.
        return dict_.get(key, default)


class _Aside(list[dict[str, Any]]):
    """A list that keeps what is appended out of sight.

    The library copies all earlier sections deeply each time it merges one more interface section in. With
    sections of distinct names (callers throw any other outcome away) hiding them changes nothing but the
    time it takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, Any]] = []

    def append(self, item: dict[str, Any]) -> None:
        self.kept.append(item)


def _custom_block(block: dict[str, Any], number: int) -> dict[str, Any]:
    """A section of a package the schema does not know; the library's own code prints what it skips."""
    name = block.pop("config_name")
    section = block.pop("config_value", f"{name}_{number}")
    block |= {".type": name, ".name": section.replace(".", "_").replace("-", "_")}
    return dict(sorted(block.items()))


def _library(config: dict[str, Any], dsa: bool) -> SimpleNamespace:
    """As much of a library back end as its converters look at."""
    return SimpleNamespace(config=config, intermediate_data={}, dsa=dsa)


def _thawed(data: bytes) -> Any:
    return with_sorted_keys(thawed(data))
