"""Serializer fields of the REST dialect that no DRF field fits."""

import json
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.canonical import canonical_json

MAX_DEPTH = 64


def _below(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def problem_with(value: Any) -> str | None:
    """Return why a JSON value cannot be stored everywhere, as an error code, or None. Does not recurse.

    >>> problem_with({"a": [1]}), problem_with({"a": "\\x00"})
    (None, 'null_character')
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(isinstance(item, str) and "\x00" in item for item in level):
            return "null_character"
        level = [below for item in level for below in _below(item)]
        if not level:
            return None
    return "too_deep"


@extend_schema_field(OpenApiTypes.OBJECT)
class JSONObjectField(serializers.JSONField):
    """A JSON object; in a form it comes as text. What could not be stored or answered again is refused."""

    default_error_messages = {
        "invalid": "Value must be valid JSON.",
        "not_object": "The supplied value is not a JSON object.",
        "too_deep": "The supplied value is nested too deeply.",
        "null_character": "Null characters are not allowed.",
    }

    def to_internal_value(self, data: Any) -> Any:
        """Return the object; raises ValidationError."""
        try:
            value = json.loads(data or "{}") if getattr(data, "is_json_string", False) else data
            problem = problem_with(value)
            if problem is None:
                canonical_json(value)
        except (TypeError, ValueError, RecursionError):
            self.fail("invalid")
        if problem is not None:
            self.fail(problem)
        if not isinstance(value, dict):
            self.fail("not_object")
        return value
