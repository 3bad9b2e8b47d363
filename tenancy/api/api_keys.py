"""API keys over REST: one's own, and for those who manage an organization its members'."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy import api_keys as services
from tenancy.api import base
from tenancy.api.fields import OrganizationField, VisibleField
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for
from tenancy.models import ApiKey


def _users(request: Any) -> Any:
    return services.key_users_visible_to(request.user)


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key without its secret; `user` is the caller unless a superuser names somebody."""

    organization: Any = OrganizationField()
    user: Any = VisibleField(visible=services.key_users_visible_to, required=False)

    class Meta:
        model = ApiKey
        fields: ClassVar[tuple[str, ...]] = (
            "id", "key_id", "name", "organization", "user", "created", "last_used", "expires_at", "revoked_at",
            "read_only", "is_imported",
        )  # fmt: skip
        read_only_fields: ClassVar[tuple[str, ...]] = ("key_id", "last_used", "revoked_at", "is_imported")


class IssuedApiKeySerializer(ApiKeySerializer):
    """A key with its whole text, as the answer to its creation."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")


class ApiKeyChangeSerializer(ApiKeySerializer):
    """What may change of a key: its name, when it expires, and whether it only reads."""

    organization: Any = serializers.PrimaryKeyRelatedField(read_only=True)
    user: Any = serializers.PrimaryKeyRelatedField(read_only=True)


class ApiKeyFilter(TenantFilter):
    """What people look for among keys."""

    user = filters.ModelChoiceFilter(queryset=_users)
    key_id = filters.CharFilter()
    read_only = filters.BooleanFilter()
    revoked = filters.BooleanFilter(field_name="revoked_at", lookup_expr="isnull", exclude=True)


class _ApiKeys(base.TenantView):
    """The caller's keys, and those of the members of organizations they manage."""

    model = ApiKey
    serializer_class: Any = ApiKeySerializer

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return them newest first."""
        return services.api_keys_visible_to(self.request.user)


class ApiKeyListView(_ApiKeys, mixins.ListModelMixin):
    """API keys, newest first."""

    filterset_class: Any = ApiKeyFilter
    search_fields: ClassVar = ("name", "key_id", "user__username")
    ordering_fields: ClassVar[dict[str, str]] = {
        "created": "created",
        "name": "name",
        "key_id": "key_id",
        "username": "user__username",
        "last_used": "last_used",
        "expires_at": "expires_at",
        "revoked_at": "revoked_at",
    }

    @base.operation("users_api_key_list", {200: ApiKeySerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List keys, newest first."""
        return self.list(request)

    @base.operation("users_api_key_create", {201: IssuedApiKeySerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create a key to an organization; its whole text is in this answer and nowhere else."""
        sent = self.valid(self.get_serializer(data=request.data))
        by: Any = request.user
        with worded_for(ApiKey):
            row, text = services.api_key_create(by=by, **{"user": by, **sent})
        body = {**self.get_serializer(row).data, "key": text}
        response = Response(body, status=status.HTTP_201_CREATED)
        response["Cache-Control"] = "no-store"
        return response


class ApiKeyDetailView(_ApiKeys):
    """One API key."""

    serializer_class: Any = ApiKeyChangeSerializer

    @base.operation("users_api_key_read", {200: ApiKeyChangeSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one key."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("users_api_key_partial_update", {200: ApiKeyChangeSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change the name, the expiry or `read_only` of a living key; its user and superusers may."""
        row = self.get_object()
        sent = self.valid(self.get_serializer(row, data=request.data, partial=True))
        by: Any = request.user
        with worded_for(ApiKey):
            services.api_key_update(row, by=by, **sent)
        return Response(self.get_serializer(row).data)

    @base.operation("users_api_key_revoke", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Revoke a key at once."""
        by: Any = request.user
        services.api_key_revoke(self.get_object(), by=by)
        return Response(status=status.HTTP_204_NO_CONTENT)
