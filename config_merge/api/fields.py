"""Fields of the OpenWISP dialect: ordered templates, tags, and the VPN server that is not there yet."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils import html

from tenancy.api.fields import VisibleField


def form_list(field: serializers.Field[Any, Any, Any, Any], dictionary: Any) -> Any:
    """Return a list from a form: the key repeated, or once as a JSON list; from JSON, the value as it is."""
    if not html.is_html_input(dictionary):
        return dictionary.get(field.field_name, empty)
    if field.field_name not in dictionary:
        return empty if getattr(field.root, "partial", False) or not field.required else []
    values = dictionary.getlist(field.field_name)
    if len(values) == 1 and isinstance(values[0], str):
        text = values[0].strip()
        if text.startswith("["):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return values
        return [text] if text else []
    return values


class OrderedRelatedField(serializers.ManyRelatedField):
    """Several related objects whose order counts."""

    def get_value(self, dictionary: Any) -> Any:
        """Read the ids from JSON or from a form."""
        return form_list(self, dictionary)

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the objects in the order sent; only a list has one. Raises ValidationError."""
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        return list(super().to_internal_value(data))

    def get_attribute(self, instance: Any) -> Any:
        """Return the link rows, prefetched in order."""
        return serializers.Field.get_attribute(self, instance)

    def to_representation(self, iterable: Any) -> list[str]:
        """Return the templates' ids."""
        return [str(row.template_id) for row in iterable.all()]


class OrderedTemplatesField(VisibleField):
    """Templates the caller may see, in order; with `many`, read from the link rows in `source`."""

    @classmethod
    def many_init(cls, *args: Any, **kwargs: Any) -> OrderedRelatedField:
        """Build the field that holds many."""
        of_list = ("required", "allow_null", "allow_empty", "help_text", "source", "read_only", "label")
        outer = {key: kwargs.pop(key) for key in list(kwargs) if key in of_list}
        return OrderedRelatedField(child_relation=cls(*args, **kwargs), **outer)


class OptionalBooleanField(serializers.BooleanField):
    """A boolean that a form may leave out: it then stays, or is the model's default, instead of becoming false."""

    default_empty_html = empty


class TagsField(serializers.ListField):
    """The words of a template, sorted."""

    child = serializers.CharField(max_length=64)

    def get_value(self, dictionary: Any) -> Any:
        """Read the words from JSON or from a form."""
        return form_list(self, dictionary)

    def to_representation(self, data: Any) -> list[str]:
        """Return the names of the (prefetched) tag rows."""
        return sorted(row.name for row in data.all())


@extend_schema_field({"type": "string", "format": "uuid"})
class VpnField(serializers.Field[Any, Any, Any, Any]):
    """The VPN server of a template: there is none to name, so every id is unknown."""

    default_error_messages = {"does_not_exist": 'Invalid pk "{pk_value}" - object does not exist.'}

    def get_attribute(self, instance: Any) -> None:
        """Return no server."""
        return

    def to_internal_value(self, data: Any) -> Any:
        """Refuse every id."""
        if data == "":
            return None
        self.fail("does_not_exist", pk_value=str(data)[:64])

    def to_representation(self, value: Any) -> None:
        """Print no server."""
        return
