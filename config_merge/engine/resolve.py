"""From layers and variables to the effective configuration of one device, with the source of every leaf.

Invariant: there is one fold. What `Effective.leaves()` tells is read from the trace that the fold left
while it picked the values, so an explanation cannot disagree with the tree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from config_merge.engine.backends import backend_named
from config_merge.engine.errors import escaped
from config_merge.engine.netjson import Trace, Written, fold, fold_in, opened_list, opened_object
from config_merge.engine.strict_json import plain_object
from config_merge.engine.types import Layer, Leaf, Source, Variable, VariableLayer
from config_merge.engine.variables import references, substituted, variables_in_force


@dataclass(frozen=True, slots=True)
class Effective:
    """What a device should be.

    `tree` is plain JSON owned by the caller; `raw` is the same before variables were put in and may share
    containers with the layers (do not change it); `sources` are the fold's layers by number.
    """

    backend: str
    tree: dict[str, Any] = field(repr=False)
    variables: dict[str, Variable]
    sources: tuple[Source, ...]
    raw: dict[str, Any] = field(repr=False)
    trace: dict[str, Trace] = field(repr=False)

    def leaves(self) -> dict[str, Leaf]:
        """Every scalar and empty container of `tree` by its JSON pointer (RFC 6901), with where it came
        from."""
        return dict(_leaves(self, "", self.tree, self.raw, self.trace))


def resolve(
    *,
    backend: str,
    layers: Sequence[Layer],
    variables: Sequence[VariableLayer] = (),
    hostname: Source | str | None = None,
) -> Effective:
    """Folds `layers` (later wins), injects the hostname, puts the variables in.

    `hostname` is the device's name, or a Source whose `name` it is: when no layer sets `general.hostname`,
    the name with ":" replaced by "-" stands there and its source is layer "system" (spec/openwisp.md 2.3).
    Without it nothing is injected. Raises MergeConflict, InvalidConfiguration, InvalidVariables,
    UnknownBackend.

    >>> lan = Layer(source=Source("template", "1", "lan"), config={"general": {"timezone": "{{ tz }}"}})
    >>> zone = VariableLayer(source=Source("device", "2", "ap"), values={"tz": "UTC"})
    >>> effective = resolve(backend="netjsonconfig.OpenWrt", layers=[lan], variables=[zone], hostname="00:11")
    >>> effective.tree
    {'general': {'timezone': 'UTC', 'hostname': '00-11'}}
    >>> leaf = effective.leaves()["/general/timezone"]
    >>> leaf.value, leaf.source.name, leaf.variables
    ('UTC', 'lan', ('tz',))
    """
    language = backend_named(backend)
    sources = [layer.source for layer in layers]
    raw, trace = fold([layer.config for layer in layers], backend=language)
    general = raw.get("general", {})
    if hostname is not None and isinstance(general, dict) and "hostname" not in general:
        system = hostname if isinstance(hostname, Source) else Source("system", "", hostname)
        injected = {"general": {"hostname": system.name.replace(":", "-")}}
        raw, trace = fold_in(raw, trace, config=injected, layer=len(sources), backend=language)
        sources.append(system)
    raw = plain_object(raw)
    in_force = variables_in_force(variables)
    tree = substituted(raw, values={name: variable.value for name, variable in in_force.items()})
    return Effective(
        backend=backend, tree=tree, variables=in_force, sources=tuple(sources), raw=raw, trace=trace
    )


def _leaves(
    effective: Effective, pointer: str, value: Any, raw: Any, trace: Trace
) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, dict) and (value or not pointer):
        traces = opened_object(trace)
        for key, item in value.items():
            yield from _leaves(effective, f"{pointer}/{escaped(key)}", item, raw[key], traces[key])
    elif isinstance(value, list) and value:
        for index, below in enumerate(opened_list(trace)):
            yield from _leaves(effective, f"{pointer}/{index}", value[index], raw[index], below)
    elif isinstance(trace, Written):
        yield pointer, _leaf(effective.sources, value, raw, trace)


def _leaf(sources: Sequence[Source], value: Any, raw: Any, written: Written) -> Leaf:
    shadowed: list[tuple[Source, Any]] = []
    over = written.over
    while over is not None:
        shadowed.append((sources[over.layer], over.value))
        over = over.over
    return Leaf(
        value=value,
        source=sources[written.layer],
        shadowed=tuple(reversed(shadowed)),
        variables=references(raw) if isinstance(raw, str) else (),
        raw=raw,
    )
