"""Devices, templates and groups as JSON, key by key as in the OpenWISP spec, sections 1B.1, 1B.2 and 1B.4.

They parse and print; whether a change is allowed and what follows from it is the services' business.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config_merge.api.fields import OrderedTemplatesField, TagsField, VpnField
from config_merge.api.rows import assignable_templates_visible_to
from config_merge.engine import Effective, Leaf, Source, Variable
from config_merge.models import Backend, Config, ConfigRevision, Template
from config_merge.queries import templates_visible_to
from core.api_fields import JSONObjectField
from devices.models import Device, DeviceGroup
from devices.queries import groups_visible_to
from tenancy.api.fields import OrganizationField, VisibleField


class ConfigStatusSerializer(serializers.ModelSerializer[Config]):
    """A device's configuration in a list."""

    class Meta:
        model = Config
        fields = ("status", "error_reason", "backend")
        read_only_fields = fields


class ConfigSerializer(serializers.ModelSerializer[Config]):
    """A device's own configuration, with its templates in merge order."""

    backend = serializers.ChoiceField(choices=Backend.choices, required=False)
    templates = OrderedTemplatesField(
        many=True, queryset=Template.objects.all(), visible=templates_visible_to, source="config_templates"
    )
    context = JSONObjectField()
    config = JSONObjectField()

    class Meta:
        model = Config
        fields = ("status", "error_reason", "backend", "templates", "context", "config")
        read_only_fields = ("status", "error_reason")

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of `config_create` and `config_update`."""
        sent = super().to_internal_value(data)
        if "config_templates" in sent:
            sent["templates"] = sent.pop("config_templates")
        return sent


class _DeviceSerializer(serializers.ModelSerializer[Device]):
    organization = OrganizationField()
    group = VisibleField(
        queryset=DeviceGroup.objects.all(), visible=groups_visible_to, required=False, allow_null=True
    )

    def get_config(self, device: Device) -> Config | None:
        """Return the device's configuration, None when it has none."""
        return getattr(device, "config", None)

    def to_representation(self, instance: Device) -> dict[str, Any]:
        """Print the device; one without a configuration has `config: null`."""
        body = super().to_representation(instance)
        body.setdefault("config", None)
        return {name: body[name] for name in self.Meta.fields}  # type: ignore[attr-defined]


DEVICE_FIELDS = (
    "id", "name", "organization", "group", "mac_address", "key", "last_ip", "management_ip", "model", "os",
    "system", "notes", "config", "created", "modified",
)  # fmt: skip
_place = DEVICE_FIELDS.index("model")
DETAIL_FIELDS = (*DEVICE_FIELDS[:_place], "is_deactivated", *DEVICE_FIELDS[_place:])


class DeviceListSerializer(_DeviceSerializer):
    """A device in a list: its configuration is three words."""

    config = ConfigStatusSerializer(read_only=True, allow_null=True, required=False)

    class Meta:
        model = Device
        fields = DEVICE_FIELDS
        validators: list[Any] = []


class DeviceCreateSerializer(_DeviceSerializer):
    """A new device; `config` may be left out."""

    config = ConfigSerializer(required=False, allow_null=True)

    class Meta:
        model = Device
        fields = DEVICE_FIELDS
        validators: list[Any] = []


class DeviceDetailSerializer(_DeviceSerializer):
    """A device whole. To replace it, `config` must be said; null leaves the configuration alone."""

    config = ConfigSerializer(allow_null=True)

    class Meta:
        model = Device
        fields = DETAIL_FIELDS
        read_only_fields = ("is_deactivated",)
        validators: list[Any] = []


class TemplateSerializer(serializers.ModelSerializer[Template]):
    """A template."""

    organization = OrganizationField(shared=True)
    backend = serializers.ChoiceField(choices=Backend.choices)
    vpn = VpnField(required=False, allow_null=True)
    tags = TagsField(source="tag_rows", required=False)
    default_values = JSONObjectField(required=False)
    config = JSONObjectField(required=False)

    class Meta:
        model = Template
        fields = (
            "id", "name", "organization", "type", "backend", "vpn", "tags", "default", "required", "notes",
            "default_values", "config", "created", "modified",
        )  # fmt: skip
        validators: list[Any] = []

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of `template_create` and `template_update`."""
        sent = super().to_internal_value(data)
        sent.pop("vpn", None)
        if "tag_rows" in sent:
            sent["tags"] = sent.pop("tag_rows")
        return sent


class GroupSerializer(serializers.ModelSerializer[DeviceGroup]):
    """A device group with its templates in order."""

    organization = OrganizationField()
    templates = OrderedTemplatesField(
        many=True,
        queryset=Template.objects.all(),
        visible=assignable_templates_visible_to,
        source="group_templates",
    )
    context = JSONObjectField(required=False)
    meta_data = JSONObjectField(required=False)

    class Meta:
        model = DeviceGroup
        fields = (
            "id", "name", "organization", "description", "templates", "context", "meta_data", "created",
            "modified",
        )  # fmt: skip
        validators: list[Any] = []

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of `managed_group_create` and `managed_group_update`."""
        sent = super().to_internal_value(data)
        if "group_templates" in sent:
            sent["templates"] = sent.pop("group_templates")
        return sent


class RevisionSerializer(serializers.ModelSerializer[ConfigRevision]):
    """One revision, without its archive; `actor` is the id of who caused it, `size` counts bytes."""

    class Meta:
        model = ConfigRevision
        fields = ("id", "number", "checksum", "sha256", "cause", "actor", "size", "created")
        read_only_fields = fields


# --- the effective configuration ----------------------------------------------------------------------------


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

    source = SourceSerializer()
    value = AnyField()


class LeafSerializer(serializers.Serializer[Any]):
    """One value of the effective configuration at its JSON pointer (RFC 6901)."""

    path = serializers.CharField()
    value = AnyField()
    source = SourceSerializer()
    shadowed = ShadowedSerializer(many=True)
    variables = serializers.ListField(child=serializers.CharField())


class VariableSerializer(serializers.Serializer[Any]):
    """One variable in force."""

    name = serializers.CharField()
    value = serializers.CharField()
    source = SourceSerializer()
    shadowed = ShadowedSerializer(many=True)


class EffectiveSerializer(serializers.Serializer[Any]):
    """What a device should be, and who said so."""

    backend = serializers.CharField()
    leaves = LeafSerializer(many=True)
    variables = VariableSerializer(many=True)


def _source(source: Source) -> dict[str, str]:
    return {"layer": source.layer, "id": source.object_id, "name": source.name}


def _explained(item: Leaf | Variable) -> dict[str, Any]:
    shadowed = [{"source": _source(source), "value": value} for source, value in item.shadowed]
    return {"value": item.value, "source": _source(item.source), "shadowed": shadowed}


def effective_body(effective: Effective) -> dict[str, Any]:
    """Return the body of `EffectiveSerializer`, leaves by pointer and variables by name."""
    return {
        "backend": effective.backend,
        "leaves": [
            {"path": pointer, **_explained(leaf), "variables": list(leaf.variables)}
            for pointer, leaf in sorted(effective.leaves().items())
        ],
        "variables": [
            {"name": name, **_explained(variable)} for name, variable in sorted(effective.variables.items())
        ],
    }
