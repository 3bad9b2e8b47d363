"""Variables: which value is in force, and putting values into `{{ name }}`.

Invariant: substitution is a single pass. A value that itself contains `{{ other }}` is not looked at again,
unknown names stay as they stand, and keys are never touched (spec/openwisp.md 2.5; netjsonconfig's own pass
differs in that it expands some values twice and reads backslashes in them as regular-expression escapes).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config_merge.engine.errors import InvalidConfiguration, InvalidVariables
from config_merge.engine.strict_json import MAX_TEXT, kind, plain_object, require_json
from config_merge.engine.types import Source, Variable, VariableLayer

_CONTAINERS = (dict, list)
_REFERENCE = re.compile(r"\{\{\s*+(\w*+)\s*+\}\}")


def variables_in_force(layers: Sequence[VariableLayer]) -> dict[str, Variable]:
    """Every variable with its winning value as text, from layers ordered low to high.

    >>> low = VariableLayer(source=Source("template", "1", "lan"), values={"vlan": 7})
    >>> high = VariableLayer(source=Source("device", "2", "ap"), values={"vlan": 8})
    >>> variable = variables_in_force([low, high])["vlan"]
    >>> variable.value, variable.source.layer, variable.shadowed
    ('8', 'device', ((Source(layer='template', object_id='1', name='lan'), 7),))

    Raises InvalidVariables.
    """
    said: dict[str, list[tuple[Source, Any]]] = {}
    for layer in layers:
        if not isinstance(layer.values, Mapping):
            raise InvalidVariables(f"variables must be an object, not {kind(layer.values)}")
        require_json(layer.values, error=InvalidVariables)
        for name, value in layer.values.items():
            said.setdefault(name, []).append((layer.source, value))
    return {
        name: Variable(name=name, value=str(claims[-1][1]), source=claims[-1][0], shadowed=tuple(claims[:-1]))
        for name, claims in said.items()
    }


def substituted(tree: Mapping[str, Any], *, values: Mapping[str, str]) -> dict[str, Any]:
    """A copy of `tree` (JSON, see strict_json) that shares no container with it, with `values` put in.

    >>> substituted({"name": "ap-{{ n }}", "x": ["{{n}}{{ m }}", 1]}, values={"n": "7"})
    {'name': 'ap-7', 'x': ['7{{ m }}', 1]}

    Raises InvalidConfiguration when the values would make the result larger than `MAX_TEXT` characters.
    """
    room = MAX_TEXT

    def put(match: re.Match[str]) -> str:
        nonlocal room
        value = values.get(match[1])
        if value is None:
            return match[0]
        room -= len(value)
        if room < 0:
            raise InvalidConfiguration(f"variables expand to more than {MAX_TEXT} characters")
        return value

    def copy(value: Any) -> Any:
        # Scalars are told apart where they stand: a call for each would double the time.
        if type(value) is dict:
            return {
                key: (_REFERENCE.sub(put, item) if "{{" in item else item)
                if type(item) is str
                else (copy(item) if type(item) in _CONTAINERS else item)
                for key, item in value.items()
            }
        return [
            (_REFERENCE.sub(put, item) if "{{" in item else item)
            if type(item) is str
            else (copy(item) if type(item) in _CONTAINERS else item)
            for item in value
        ]

    result: dict[str, Any] = copy(tree)
    return result


def references(text: str) -> tuple[str, ...]:
    """The names a string refers to, each once, in order.

    >>> references("{{ b }}-{{a}}-{{b}}")
    ('b', 'a')
    """
    return tuple(dict.fromkeys(_REFERENCE.findall(text))) if "{{" in text else ()


def undefined_variables(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The names still standing as `{{ name }}` anywhere in an effective tree, sorted.

    >>> undefined_variables({"general": {"hostname": "{{ site }}-{{ n }}"}})
    ('n', 'site')

    Raises InvalidConfiguration for what is not JSON.
    """
    return tuple(sorted({name for text in _texts(plain_object(tree)) for name in references(text)}))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
