"""Users' own tokens, organizations and notifications as JSON: parsing and printing, nothing else."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenancy.models import ApiToken, Notification, Organization, Role


class SignInSerializer(serializers.Serializer[Any]):
    """Who asks for a token; `username` may also be an e-mail address."""

    username = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=4096, trim_whitespace=False, style={"input_type": "password"})
    otp = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Code of the second factor, or a recovery code; for those who have one.",
    )


class TokenSerializer(serializers.Serializer[Any]):
    """A bearer token, shown this once."""

    token = serializers.CharField(read_only=True)


class ApiTokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token without its secret."""

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "expires_at", "last_used_at", "created", "modified")
        read_only_fields = ("prefix", "last_used_at")


class IssuedTokenSerializer(ApiTokenSerializer):
    """A token with its secret, as the answer to its creation."""

    token = serializers.CharField(read_only=True)

    class Meta(ApiTokenSerializer.Meta):
        fields = (*ApiTokenSerializer.Meta.fields, "token")


class TokenNameSerializer(ApiTokenSerializer):
    """What may change of a token: its name."""

    class Meta(ApiTokenSerializer.Meta):
        read_only_fields = (*ApiTokenSerializer.Meta.read_only_fields, "expires_at")


class OrganizationSerializer(serializers.ModelSerializer[Organization]):
    """An organization in a list."""

    class Meta:
        model = Organization
        fields = ("id", "name", "is_active", "slug", "description", "email", "url", "created", "modified")
        # The service validates; a second check here would only race with it.
        extra_kwargs = {"slug": {"validators": []}}

    def validate_is_active(self, value: bool) -> bool:
        """Leave enabling and disabling to superusers: an owner could not undo it."""
        was = self.instance.is_active if isinstance(self.instance, Organization) else True
        if value != was and not self.context["request"].user.is_superuser:
            raise serializers.ValidationError("Only superusers may enable or disable an organization.")
        return value


class OwnerSerializer(serializers.Serializer[Any]):
    """The membership that owns an organization."""

    organization_user = serializers.UUIDField(read_only=True)


class OrganizationDetailSerializer(OrganizationSerializer):
    """An organization with its first owner's membership."""

    owner = serializers.SerializerMethodField()

    class Meta(OrganizationSerializer.Meta):
        fields = (*OrganizationSerializer.Meta.fields[:-2], "owner", "created", "modified")

    @extend_schema_field(OwnerSerializer(allow_null=True))
    def get_owner(self, organization: Organization) -> dict[str, str] | None:
        """Return who has owned the organization longest, or None."""
        owners = organization.memberships.filter(role=Role.OWNER).order_by("created", "id")
        first = owners.values_list("pk", flat=True).first()
        return {"organization_user": str(first)} if first else None


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """A notification; only whether it was read can change."""

    class Meta:
        model = Notification
        fields = (
            "id", "organization", "level", "kind", "target_type", "target_id", "message", "is_read",
            "created", "modified",
        )  # fmt: skip
        read_only_fields = ("organization", "level", "kind", "target_type", "target_id", "message")
        extra_kwargs = {"is_read": {"required": True}}
