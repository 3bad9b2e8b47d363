"""Relations and filters of this room: API keys, which stand between an organization and what its machines boot."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers

from boot.images.queries import Space
from boot.queries import keys_visible_to, keys_writable_by
from tenancy.api.fields import KeyRelatedField
from tenancy.api.filters import TenantFilter
from tenancy.api.permissions import action_of
from tenancy.models import ApiKey

GLOBAL_IS_FOR_SUPERUSERS = "Name an API key; only superusers store images for everybody."


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """What tells an API key from others; nothing that opens anything."""

    class Meta:
        model = ApiKey
        fields = ("id", "key_id", "name")
        read_only_fields = fields


class KeyField(KeyRelatedField):
    """A living API key of an organization in which the caller may write such objects; shown with its name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(queryset=ApiKey.objects.none(), **kwargs)

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return the keys the caller may choose."""
        request = self.context["request"]
        model = self.parent.Meta.model  # type: ignore[union-attr, attr-defined]
        return keys_writable_by(request.user, action_of(request.method), model)


def visible_keys(request: Any) -> QuerySet[ApiKey]:
    """Return the keys a list may be filtered by."""
    return keys_visible_to(request.user) if request is not None else ApiKey.objects.none()


class OfKeyFilter(TenantFilter):
    """`key`: of one API key."""

    key = filters.ModelChoiceFilter(field_name="api_key", queryset=visible_keys)


class OwnKeyField(KeyField):
    """The API key whose space it is; null, which only superusers may say, is the global space."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)


class SpaceSerializer(serializers.Serializer[Any]):
    """What says where an image belongs."""

    key = OwnKeyField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Turn the key into a space. Raises ValidationError."""
        key: ApiKey | None = attrs.pop("key", None)
        if key is None and not self.context["request"].user.is_superuser:
            raise serializers.ValidationError({"key": [GLOBAL_IS_FOR_SUPERUSERS]})
        return {**attrs, "space": Space(key.organization if key else None, key)}
