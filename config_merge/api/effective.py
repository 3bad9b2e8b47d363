"""The effective configuration as JSON: the tree, and for each of its leaves who said it and who was overruled.

Without the right to reveal, secrets are marks: by the name they stand under, in the variables that carry them, in
what those overruled, and wherever such a value was put into a longer text.
"""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config_merge.engine import EngineError, Leaf, Source, Variable
from config_merge.hiding import Secrecy, secret_path, tree_hidden, value_hidden, variables_hidden
from config_merge.inputs import Inputs


class SourceSerializer(serializers.Serializer[Any]):
    """Which layer said it, and which object of that layer (`id` is empty for the system's own)."""

    layer = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField()


@extend_schema_field({})
class AnyField(serializers.JSONField):
    """Any JSON value."""


class ShadowedSerializer(serializers.Serializer[Any]):
    """What a weaker layer said at the same place."""

    source = SourceSerializer()  # type: ignore[assignment]
    value = AnyField()


class LeafSerializer(serializers.Serializer[Any]):
    """One value of the effective configuration at its JSON pointer (RFC 6901)."""

    path = serializers.CharField()
    value = AnyField()
    source = SourceSerializer()  # type: ignore[assignment]
    shadowed = ShadowedSerializer(many=True)
    variables = serializers.ListField(child=serializers.CharField())


class VariableSerializer(serializers.Serializer[Any]):
    """One variable in force."""

    name = serializers.CharField()
    value = serializers.CharField()
    source = SourceSerializer()  # type: ignore[assignment]
    shadowed = ShadowedSerializer(many=True)


class EffectiveSerializer(serializers.Serializer[Any]):
    """What a device should be, and who said so; secrets are marks for those who may not reveal them."""

    backend = serializers.CharField()
    tree = serializers.DictField(child=AnyField())
    leaves = LeafSerializer(many=True)
    variables = VariableSerializer(many=True)


Shown = Callable[[Any], Any]


def _source(source: Source) -> dict[str, str]:
    return {"layer": source.layer, "id": source.object_id, "name": source.name}


def _explained(item: Leaf | Variable, shown: Shown) -> dict[str, Any]:
    shadowed = [{"source": _source(source), "value": shown(value)} for source, value in item.shadowed]
    return {"value": shown(item.value), "source": _source(item.source), "shadowed": shadowed}


def _as_it_is(value: Any) -> Any:
    return value


def effective_body(item: Inputs, *, reveal: bool) -> dict[str, Any]:
    """Return the body of `EffectiveSerializer`, leaves by pointer and variables by name.

    Raises EngineError, whose words hold no secret.
    """
    secrecy = Secrecy()
    try:
        effective = item.effective()
    except EngineError as error:
        raise EngineError(secrecy.words(item, str(error))) from error
    secrets = frozenset() if reveal else secrecy.secrets(item)
    carriers = frozenset() if reveal else variables_hidden(effective) | secrecy.names(item.organization_id)

    def shown(secret: bool) -> Shown:
        return _as_it_is if reveal else lambda value: value_hidden(value, secrets, secret=secret)

    return {
        "backend": effective.backend,
        "tree": effective.tree if reveal else tree_hidden(effective.tree, secrets),
        "leaves": [
            {
                "path": pointer,
                **_explained(leaf, shown(secret_path(pointer))),
                "variables": list(leaf.variables),
            }
            for pointer, leaf in sorted(effective.leaves().items())
        ],
        "variables": [
            {"name": name, **_explained(variable, shown(name in carriers))}
            for name, variable in sorted(effective.variables.items())
        ],
    }
