"""What REST says of sites, of their settings, and of a device's place in one."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config_merge.api.effective import AnyField
from config_merge.carrying import secret_names_of
from config_merge.delivery.drift import is_differing
from config_merge.models import Config, Managed, Site, SiteDevice
from config_merge.queries import sites_visible_to
from core.api_fields import JSONObjectField
from tenancy.api.fields import OrganizationField, VisibleField
from tenancy.api.secrets import disclosure_in, put_back

SOURCES = ("default", "site", "device")
_VALUE: dict[str, Any] = {
    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "nullable": True,
}
_ENTRY = {
    "type": "object",
    "properties": {
        "value": _VALUE,
        "origin": {"type": "string", "enum": ["site", "device", "site-device"]},
    },
}


@extend_schema_field({"type": "object", "additionalProperties": {**_ENTRY, "required": ["value", "origin"]}})
class EntriesField(serializers.JSONField):
    """Settings: `{key: {"value", "origin"}}`."""


@extend_schema_field({"type": "object", "additionalProperties": {**_ENTRY, "nullable": True}})
class ChangesField(JSONObjectField):
    """Changed settings; null in place of an entry takes it away, on an entity's own key the whole entity."""


class SiteSerializer(serializers.ModelSerializer[Site]):
    """A site; `number` is its id in the cloud's API (`/pub/v1/`). Its settings have a room of their own."""

    organization = OrganizationField()
    number = serializers.CharField(read_only=True)
    version = serializers.CharField(read_only=True)
    defaults = JSONObjectField(
        required=False, help_text="Forms for new entities; values under names with a slash fill gaps."
    )
    context = JSONObjectField(  # type: ignore[assignment]
        required=False, help_text="Variables for devices of the site that use templates."
    )

    class Meta:
        model = Site
        fields = (
            "id", "number", "name", "organization", "defaults", "context", "is_initialised", "version", "created",
            "modified",
        )  # fmt: skip
        validators: list[Any] = []

    def to_internal_value(self, data: Any) -> Any:
        """Return the keywords of `site_create` and `site_update`."""
        sent = super().to_internal_value(data)
        site = self.instance if isinstance(self.instance, Site) else Site()
        put_back(sent, "defaults", stored=site.defaults)
        put_back(sent, "context", stored=site.context, names=self._secret_names(site))
        return sent

    def to_representation(self, instance: Site) -> dict[str, Any]:
        """Print the site, the secrets among its defaults and variables for who may see them."""
        body: dict[str, Any] = super().to_representation(instance)
        disclosure = disclosure_in(self)
        place: dict[str, Any] = {"of": instance, "organization_id": instance.organization_id}
        body["defaults"] = disclosure.tree(body["defaults"], **place)
        body["context"] = disclosure.tree(body["context"], names=self._secret_names(instance), **place)
        return body

    def _secret_names(self, site: Site) -> frozenset[str]:
        """Return the variables that are secrets in the site's organization, asked once per answer."""
        if not site.context:
            return frozenset()
        known: dict[Any, frozenset[str]] = self.root.__dict__.setdefault("_muster_secret_names", {})
        if site.organization_id not in known:
            known[site.organization_id] = secret_names_of([site.organization_id])
        return known[site.organization_id]


class SiteUpdateSerializer(SiteSerializer):
    """A change of a site; it stays in its organization."""

    organization: Any = serializers.PrimaryKeyRelatedField(read_only=True)


class SiteSettingsSerializer(serializers.Serializer[Any]):
    """A site's settings; a change names the `version` it was made from. `initial` is there until the first change."""

    version = serializers.CharField()
    settings = EntriesField()
    initial = EntriesField(required=False)


class PlaceSettingsSerializer(serializers.Serializer[Any]):
    """A device's own settings beside those of its site; a change names the `version` it was made from."""

    version = serializers.CharField()
    settings = EntriesField()
    site = EntriesField(help_text="Those of its site, empty where it does not inherit them.")


class SettingsChangeSerializer(serializers.Serializer[Any]):
    """A change of settings, made from `version`; all or nothing."""

    version = serializers.CharField(max_length=64)
    changes = ChangesField()


class SettingsProposalSerializer(serializers.Serializer[Any]):
    """A change of settings to be previewed."""

    changes = ChangesField()


class ToldSerializer(serializers.Serializer[Any]):
    """What a level says without being heard."""

    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]
    value = AnyField()


class SettledSerializer(serializers.Serializer[Any]):
    """A value in force: which level it is from, and what it shadows."""

    value = AnyField()
    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]
    shadowed = ToldSerializer(many=True)


class WarningSerializer(serializers.Serializer[Any]):
    """Something worth knowing of a key (`docs/ignitenet.md` lists the codes)."""

    code = serializers.CharField()
    key = serializers.CharField()


class SettledSettingsSerializer(serializers.Serializer[Any]):
    """What settings come to; `unheard` are keys that a level sets and that are not in force, `uci` is the text."""

    settings = serializers.DictField(child=SettledSerializer())
    unheard = serializers.ListField(child=serializers.CharField())
    warnings = WarningSerializer(many=True)
    uci = serializers.CharField(allow_blank=True)


class OverridingSerializer(serializers.Serializer[Any]):
    """A device and the keys of the site that it overrides, entities by their own key."""

    id = serializers.UUIDField(source="device_id")
    number = serializers.CharField()
    name = serializers.CharField()
    keys = serializers.ListField(child=serializers.CharField())


class OverridesSerializer(serializers.Serializer[Any]):
    """Devices that override their site, by name; `is_complete` is false where not all devices were looked at."""

    devices = OverridingSerializer(many=True)
    is_complete = serializers.BooleanField()


class PlaceSerializer(serializers.ModelSerializer[SiteDevice]):
    """A device's place in a site. `number` is its id in the cloud's API, `hold` the strongest of what holds it.

    To put a device into a site or to move it, name the `site`; `managed_by` chooses where its configuration comes from.
    """

    site = VisibleField(queryset=Site.objects.all(), visible=sites_visible_to)
    number = serializers.CharField(read_only=True)
    device = serializers.UUIDField(source="device_id", read_only=True)
    name = serializers.CharField(source="device.name", read_only=True)
    mac_address = serializers.CharField(source="device.mac_address", read_only=True)
    managed_by = serializers.ChoiceField(choices=Managed.choices, required=False)
    hold = serializers.CharField(read_only=True)
    needs_resync = serializers.SerializerMethodField()
    version = serializers.CharField(read_only=True)

    class Meta:
        model = SiteDevice
        fields = (
            "device", "number", "name", "mac_address", "serial", "site", "managed_by", "inherits", "is_suspended",
            "is_blocked", "is_retired", "hold", "needs_resync", "license_type", "registered_at", "version", "created",
            "modified",
        )  # fmt: skip
        extra_kwargs: Mapping[str, Any] = {"license_type": {"required": False}}
        validators: list[Any] = []

    def get_needs_resync(self, instance: SiteDevice) -> bool:
        """Tell whether the device has something else than it confirmed."""
        return is_differing(instance.device)

    def to_representation(self, instance: SiteDevice) -> dict[str, Any]:
        """Print the place, with what the device is managed by."""
        config: Config | None = getattr(instance.device, "config", None)
        instance.managed_by = config.managed_by if config is not None else Managed.TEMPLATES  # type: ignore[attr-defined]
        body: dict[str, Any] = super().to_representation(instance)
        return body


class PlacementProposalSerializer(serializers.Serializer[Any]):
    """What might be done with a device: join or move (`site`), leave (`site` null), other management, own settings."""

    site = VisibleField(
        queryset=Site.objects.all(), visible=sites_visible_to, required=False, allow_null=True
    )
    managed_by = serializers.ChoiceField(choices=Managed.choices, required=False)
    inherits = serializers.BooleanField(required=False)
    changes = ChangesField(required=False)
