"""Devices, templates and groups as JSON, key by key as in the OpenWISP spec, sections 1B.1, 1B.2 and 1B.4.

They parse and print; whether a change is allowed and what follows from it is the services' business.
"""

from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS
from rest_framework import serializers

from config_merge.api.fields import OptionalBooleanField, OrderedTemplatesField, TagsField, VpnField
from config_merge.api.rows import assignable_templates_visible_to
from config_merge.carrying import carries_secrets, secret_names_of
from config_merge.models import Backend, Config, ConfigRevision, Template
from config_merge.queries import templates_visible_to
from config_merge.services.templates import EMPTY
from core.api_fields import JSONObjectField
from core.redaction import secrets_in, variables_of_secrets
from devices.models import Device, DeviceGroup
from devices.queries import groups_visible_to
from tenancy.api.fields import OrganizationField, VisibleField
from tenancy.api.secrets import NO_KEY, disclosure_in, put_back, put_back_value, refuse_to_take_along


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
        disclosure = disclosure_in(self)
        place: dict[str, Any] = {"of": instance, "organization_id": instance.organization_id}
        body["key"] = disclosure.value(instance.key, **place)
        config = body["config"]
        if config is not None and "context" in config:
            names = secret_variables(instance.config) if config["context"] else frozenset()
            config["config"] = disclosure.tree(config["config"], **place)
            config["context"] = disclosure.tree(config["context"], names=names, **place)
        return {name: body[name] for name in self.Meta.fields}  # type: ignore[attr-defined]

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of the services, with the stored secrets in place of their marks."""
        sent = super().to_internal_value(data)
        device = self.instance if isinstance(self.instance, Device) else None
        put_back_value(sent, "key", stored=device.key if device else "")
        refuse_to_take_along(self, sent, carries=lambda: True)
        self._check_key(sent, device)
        wanted = sent.get("config")
        if wanted:
            config: Config | None = getattr(device, "config", None)
            own, context = (config.config, config.context) if config else ({}, {})
            names = secret_variables(config) if config and "context" in wanted else frozenset()
            try:
                put_back(wanted, "config", stored=own)
                put_back(wanted, "context", stored=context, names=names)
            except serializers.ValidationError as error:
                raise serializers.ValidationError({"config": error.detail}) from error
        return sent

    def _check_key(self, sent: dict[str, Any], device: Device | None) -> None:
        """Who chooses a device's key can download its configuration, secrets and all."""
        organization = sent.get("organization")
        owner = device.organization_id if device else organization.pk if organization else None
        if sent.get("key") and not disclosure_in(self).may(owner):
            raise serializers.ValidationError({"key": [NO_KEY]})


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


def secret_variables(config: Config) -> frozenset[str]:
    """Return the variables that a configuration and its templates use at secret places (one query)."""
    ids = [row.template_id for row in config.config_templates.all()]
    trees = (
        [template.config for template in Template.objects.filter(pk__in=ids).only("config")] if ids else []
    )
    return frozenset().union(*map(variables_of_secrets, [config.config, *trees]))


class TemplateSerializer(serializers.ModelSerializer[Template]):
    """A template."""

    organization = OrganizationField(shared=True)
    backend = serializers.ChoiceField(choices=Backend.choices)
    vpn = VpnField(required=False, allow_null=True)
    auto_cert = OptionalBooleanField(
        required=False, help_text="Issue a certificate to each device; only for VPN templates."
    )
    tags = TagsField(source="tag_rows", required=False)
    default_values = JSONObjectField(required=False)
    config = JSONObjectField(required=False)

    class Meta:
        model = Template
        fields = (
            "id", "name", "organization", "type", "backend", "vpn", "auto_cert", "tags", "default", "required",
            "notes",
            "default_values", "config", "created", "modified",
        )  # fmt: skip
        validators: list[Any] = []

    def to_representation(self, instance: Template) -> dict[str, Any]:
        """Print the template, its secrets for who may see them."""
        body: dict[str, Any] = super().to_representation(instance)
        disclosure = disclosure_in(self)
        place: dict[str, Any] = {"of": instance, "organization_id": instance.organization_id}
        names = self._secret_names(instance)
        body["config"] = disclosure.tree(body["config"], **place)
        body["default_values"] = disclosure.tree(body["default_values"], names=names, **place)
        return body

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of `template_create` and `template_update`."""
        sent = super().to_internal_value(data)
        sent.pop("vpn", None)
        template = self.instance if isinstance(self.instance, Template) else Template()
        names = self._secret_names(template)
        refuse_to_take_along(self, sent, carries=lambda: carries_secrets(template, names=names))
        put_back(sent, "config", stored=template.config)
        put_back(sent, "default_values", stored=template.default_values, names=names)
        if "tag_rows" in sent:
            sent["tags"] = sent.pop("tag_rows")
        return sent

    def _secret_names(self, template: Template) -> frozenset[str]:
        """Return the default values that are secrets, here or where another template puts them."""
        if not template.default_values:
            return frozenset()
        return variables_of_secrets(template.config) | _names_of(self, template.organization_id)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An empty configuration is `config`'s fault where a generic template was asked for, else the template's."""
        template = self.instance if isinstance(self.instance, Template) else Template()
        generic = attrs.get("type", template.type) == Template.Type.GENERIC
        if generic and not attrs.get("config", template.config):
            name = "config" if "type" in attrs else NON_FIELD_ERRORS
            raise serializers.ValidationError({name: [EMPTY]})
        return attrs


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
        group = self.instance if isinstance(self.instance, DeviceGroup) else DeviceGroup()
        names = self._secret_names(group)
        refuse_to_take_along(
            self, sent, carries=lambda: bool(secrets_in([group.context, group.meta_data], names=names))
        )
        put_back(sent, "context", stored=group.context, names=names)
        put_back(sent, "meta_data", stored=group.meta_data, names=names)
        if "group_templates" in sent:
            sent["templates"] = sent.pop("group_templates")
        return sent

    def to_representation(self, instance: DeviceGroup) -> dict[str, Any]:
        """Print the group, the secrets among its variables for who may see them."""
        body: dict[str, Any] = super().to_representation(instance)
        disclosure = disclosure_in(self)
        place: dict[str, Any] = {"of": instance, "organization_id": instance.organization_id}
        for name in ("context", "meta_data"):
            body[name] = disclosure.tree(body[name], names=self._secret_names(instance), **place)
        return body

    def _secret_names(self, group: DeviceGroup) -> frozenset[str]:
        """Return the variables that are secrets in the group's organization."""
        return _names_of(self, group.organization_id) if group.context or group.meta_data else frozenset()


def _names_of(serializer: Any, organization_id: UUID | None) -> frozenset[str]:
    """Return the variables that templates of an organization use at secret places, asked once per answer."""
    known: dict[Any, frozenset[str]] = serializer.root.__dict__.setdefault("_muster_secret_names", {})
    if organization_id not in known:
        known[organization_id] = secret_names_of([organization_id])
    return known[organization_id]


class RevisionSerializer(serializers.ModelSerializer[ConfigRevision]):
    """One revision, without its archive; `actor` is the id of who caused it, `size` counts bytes."""

    class Meta:
        model = ConfigRevision
        fields = ("id", "number", "checksum", "sha256", "cause", "actor", "size", "created")
        read_only_fields = fields
