"""Folds NetJSON layers into one tree and remembers, in the same pass, who wrote every part of it.

Invariant: the tree and its trace have the same shape at every step, and a layer is never changed. The list
rules are those of netjsonconfig 1.3.1 (`utils.merge_config`, `utils.merge_list`; spec/openwisp.md 2.5),
with one correction: the library recognises a repeated element without identifier inside one layer by its
address in memory, which differs between runs; here such repetitions are kept.

A trace is either a `Written` (one layer wrote this whole value, scalar or container) or, where several layers
contributed to a container, a dict or list of traces mirroring it. `Written` containers are opened only when
another layer touches them, so an untouched template section costs nothing.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Union, cast

from config_merge.engine.backends import Backend, Identifiers
from config_merge.engine.errors import InvalidConfiguration, MergeConflict, fragment
from config_merge.engine.strict_json import MAX_DEPTH, kind

Path = tuple[str | int, ...]
Trace = Union["Written", dict[str, "Trace"], list["Trace"]]


class Written(NamedTuple):
    """Layer number `layer` wrote `value` here, over what an earlier layer had written."""

    layer: int
    value: Any
    over: "Written | None"


_SCALARS = frozenset({str, int, float, bool, type(None)})
_NO_IDENTIFIERS = Identifiers(default=(), composite={})
_UNIDENTIFIED: Hashable = object()


class Folding(NamedTuple):
    """What stays the same while one layer is folded in."""

    layer: int
    identifiers: Identifiers


def fold(
    configs: Sequence[Mapping[str, Any]], *, backend: Backend
) -> tuple[dict[str, Any], dict[str, Trace]]:
    """The left fold of `configs` (later wins) and its trace, whose layer numbers are indices of `configs`.

    The tree may share containers with the layers: read it, do not change it.
    Raises MergeConflict (object against list) and InvalidConfiguration (not an object, unusable identifier,
    depth).
    """
    tree: dict[str, Any] = {}
    trace: dict[str, Trace] = {}
    for number, config in enumerate(configs):
        tree, trace = fold_in(tree, trace, config=config, layer=number, backend=backend)
    return tree, trace


def fold_in(
    tree: dict[str, Any], trace: dict[str, Trace], *, config: Mapping[str, Any], layer: int, backend: Backend
) -> tuple[dict[str, Any], dict[str, Trace]]:
    """One step of the fold; the given tree and trace are left as they are. Errors as for `fold`."""
    if not isinstance(config, Mapping):
        raise InvalidConfiguration(f"{kind(config)} is not of type 'object'")
    folding = Folding(layer=layer, identifiers=backend.identifiers_for(config))
    try:
        return _fold_object(tree, trace, config, folding, ())
    except RecursionError as error:
        raise InvalidConfiguration(f"nested deeper than {MAX_DEPTH} levels") from error


def opened_object(trace: Trace) -> dict[str, Trace]:
    """The trace of an object, mirrored one level down if one layer wrote it whole."""
    if isinstance(trace, dict):
        return trace
    layer, value, over = cast(Written, trace)
    return {key: Written(layer, item, over) for key, item in value.items()}


def opened_list(trace: Trace) -> list[Trace]:
    """The trace of a list, mirrored one level down if one layer wrote it whole."""
    if isinstance(trace, list):
        return trace
    layer, value, over = cast(Written, trace)
    return [Written(layer, item, over) for item in value]


def _fold_object(
    old: Mapping[str, Any], old_trace: dict[str, Trace], new: Mapping[str, Any], folding: Folding, path: Path
) -> tuple[dict[str, Any], dict[str, Trace]]:
    tree, trace = dict(old), dict(old_trace)
    layer = folding.layer
    for key, value in new.items():
        if key not in tree:
            trace[key] = Written(layer, value, None)
        elif type(value) in _SCALARS:
            # As `_fold_value` would, without its questions: most values are scalars.
            trace[key] = Written(layer, value, _overruled(tree[key], trace[key], layer))
        else:
            tree[key], trace[key] = _fold_value(tree[key], trace[key], value, folding, (*path, key))
            continue
        tree[key] = value
    return tree, trace


def _fold_value(old: Any, old_trace: Trace, new: Any, folding: Folding, path: Path) -> tuple[Any, Trace]:
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        if not old:
            return new, Written(
                folding.layer, new, _beneath(old_trace) if new else _overruled(old, old_trace, folding.layer)
            )
        if not new:
            return old, old_trace
        return _fold_object(old, opened_object(old_trace), new, folding, path)
    if isinstance(new, list) and isinstance(old, list):
        return _fold_list(old, old_trace, new, folding, path)
    if isinstance(new, Mapping | list) and isinstance(old, Mapping | list):
        raise MergeConflict(
            f"Incompatible type for '{path[-1]}': one layer has {kind(old)}, a later one {kind(new)}.",
            path=fragment(path),
        )
    return new, Written(folding.layer, new, _overruled(old, old_trace, folding.layer))


def _fold_list(
    old: list[Any], old_trace: Trace, new: list[Any], folding: Folding, path: Path
) -> tuple[list[Any], Trace]:
    if not old and not new:
        return new, Written(folding.layer, new, _overruled(old, old_trace, folding.layer))
    beneath = None if old else _beneath(old_trace)
    values, traces, slots = _by_identity(old, opened_list(old_trace), folding.identifiers, path)
    incoming = _incoming(new, values, traces, slots, folding, path)
    # Lists inside list elements are joined without identifiers, as the library does.
    inner = Folding(layer=folding.layer, identifiers=_NO_IDENTIFIERS)
    for key, value in incoming:
        slot = slots.get(key)
        if slot is None:
            values.append(value)
            traces.append(Written(folding.layer, value, beneath))
        else:
            values[slot], traces[slot] = _fold_value(values[slot], traces[slot], value, inner, (*path, slot))
    return values, traces


def _by_identity(
    old: list[Any], old_traces: list[Trace], identifiers: Identifiers, path: Path
) -> tuple[list[Any], list[Trace], dict[Hashable, int]]:
    """Copies of a list and its traces with one element per identity (the last), and where each identity
    stands."""
    values: list[Any] = []
    traces: list[Trace] = []
    slots: dict[Hashable, int] = {}
    for value, trace in zip(old, old_traces, strict=True):
        key = _identity(value, identifiers, path)
        slot = None if key is _UNIDENTIFIED else slots.get(key)
        if slot is not None:
            values[slot], traces[slot] = value, trace
            continue
        if key is not _UNIDENTIFIED:
            slots[key] = len(values)
        values.append(value)
        traces.append(trace)
    return values, traces, slots


def _incoming(
    new: list[Any],
    values: list[Any],
    traces: list[Trace],
    slots: dict[Hashable, int],
    folding: Folding,
    path: Path,
) -> list[tuple[Hashable, Any]]:
    """The elements of `new` that add something, one per identity (the last, at the first one's place).

    An element equal to one already present adds nothing to the list; the layer is noted as having said it
    again.
    """
    incoming: dict[Hashable, Any] = {}
    seen: dict[Hashable, int] | None = None
    for value in new:
        key = _identity(value, folding.identifiers, path)
        if key is _UNIDENTIFIED:
            if seen is None:
                seen = {_frozen(item): slot for slot, item in reversed(list(enumerate(values)))}
            slot = seen.get(_frozen(value))
            key = object()
        else:
            slot = slots.get(key)
            if slot is not None and values[slot] != value:
                slot = None
        if slot is None:
            incoming[key] = value
        else:
            traces[slot] = _said_again(traces[slot], folding.layer)
    return list(incoming.items())


def _identity(value: Any, identifiers: Identifiers, path: Path) -> Hashable:
    if not isinstance(value, Mapping):
        return _UNIDENTIFIED
    key: Any = _UNIDENTIFIED
    kind_of = value.get("type") if identifiers.composite else None
    composite = identifiers.composite.get(kind_of) if isinstance(kind_of, str) else None
    if composite is not None:
        key = tuple(value[name] for name in composite if name in value)
    else:
        for name in identifiers.default:
            if name in value:
                key = value[name]
                break
    if isinstance(key, list):
        key = tuple(key)
    try:
        hash(key)
    except TypeError:
        raise InvalidConfiguration(
            "an element's identifier must be a string or a number", path=fragment(path)
        ) from None
    result: Hashable = key
    return result


def _frozen(value: Any) -> Hashable:
    """A hashable stand-in that is equal exactly when Python calls the values equal (so 1, 1.0 and True
    are)."""
    if isinstance(value, Mapping):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidConfiguration(f"{type(value).__name__} is not a JSON type")


def _said_again(trace: Trace, layer: int) -> Trace:
    """The trace of a value that `layer` repeated: that layer is its source now, over the ones before."""
    if isinstance(trace, Written):
        if not (isinstance(trace.value, Mapping | list) and trace.value):
            return trace if trace.layer == layer else Written(layer, trace.value, trace)
        trace = opened_list(trace) if isinstance(trace.value, list) else opened_object(trace)
    if isinstance(trace, dict):
        return {key: _said_again(item, layer) for key, item in trace.items()}
    return [_said_again(item, layer) for item in trace]


def _overruled(old: Any, trace: Trace, layer: int) -> Written | None:
    """What `layer` overrules by replacing `old`: the value as written by the last layer before it that had
    a hand in it.

    A layer that first repeats a list element and then changes it does not overrule itself.
    """
    if isinstance(trace, Written):
        return trace if trace.layer < layer else trace.over
    last = _last_layer(trace, layer)
    return None if last is None else Written(last, old, None)


def _beneath(trace: Trace) -> Written | None:
    """What an empty container was written over: filling it overrules that, but not the emptiness."""
    below = trace.over if isinstance(trace, Written) else None
    while below is not None and below.value in ({}, []):
        below = below.over
    return below


def _last_layer(trace: Trace, before: int) -> int | None:
    """The last layer before number `before` that wrote any part of a value."""
    if isinstance(trace, Written):
        written: Written | None = trace
        while written is not None and written.layer >= before:
            written = written.over
        return None if written is None else written.layer
    parts = trace.values() if isinstance(trace, dict) else trace
    return max((last for part in parts if (last := _last_layer(part, before)) is not None), default=None)
