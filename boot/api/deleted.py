"""Deleted boot configurations over REST: listed, looked at, and brought back.

A deleted configuration has no id any more: its API key and what its device calls itself name it.
"""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from boot import services
from boot.api.configs import BootConfigSerializer, BootConfigShownSerializer, VersionDocument, shown
from boot.api.fields import KeySerializer, OfKeyFilter
from boot.api.problems import BUSY, InTheWay
from boot.models import BootConfig, DeletedBootConfig
from boot.queries import boot_configs_visible_to, deleted_configs_visible_to, keys_visible_to, versions_of
from core.errors import Conflict
from tenancy.api import base
from tenancy.api.filters import MomentFilter
from tenancy.api.problems import worded_for

VERSIONS: Any = serializers.ListSerializer(child=VersionDocument)
DEVICE = OpenApiParameter("device", str, required=True, description="What the device calls itself.")


class DeletedSerializer(serializers.ModelSerializer[DeletedBootConfig]):
    """A configuration that was deleted; `version` is the number of the deletion, one before it is what there was."""

    key = KeySerializer(source="api_key", read_only=True)
    version = serializers.IntegerField(source="number", read_only=True)
    deleted = serializers.DateTimeField(source="at", read_only=True)
    by = serializers.CharField(source="actor_name", read_only=True)

    class Meta:
        model = DeletedBootConfig
        fields: ClassVar[tuple[str, ...]] = ("organization", "key", "device", "version", "deleted", "by")
        read_only_fields: ClassVar[tuple[str, ...]] = fields


class RestoreSerializer(serializers.Serializer[Any]):
    """What to bring back: the configuration of a device, as it was last unless `version` names another one."""

    device = serializers.CharField(max_length=255, trim_whitespace=False)
    version = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=(1 << 31) - 1)


class DeletedFilter(OfKeyFilter):
    """What people look for among deleted configurations."""

    device = filters.CharFilter()
    deleted__gte = MomentFilter(field_name="at", lookup_expr="gte")
    deleted__lt = MomentFilter(field_name="at", lookup_expr="lt")
    # A deletion is dated by its own column.
    created: Any = None
    created__gte: Any = None
    created__lt: Any = None


class DeletedListView(base.TenantView, mixins.ListModelMixin):
    """Deleted configurations."""

    model = DeletedBootConfig
    serializer_class = DeletedSerializer
    filterset_class: Any = DeletedFilter
    search_fields: ClassVar = ("device", "api_key__name", "api_key__key_id")
    ordering_fields: ClassVar[dict[str, str]] = {"device": "device", "deleted": "at"}

    def get_queryset(self) -> QuerySet[Any]:
        """Return them, the last deleted first."""
        return deleted_configs_visible_to(self.request.user)

    @base.operation("boot_deleted_list", {200: DeletedSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List configurations that were deleted and have not come back, the last deleted first."""
        return self.list(request)


class _OfKey(base.TenantView):
    """What belongs to the API key in the path."""

    model = BootConfig
    serializer_class: Any = RestoreSerializer
    pagination_class = None
    filter_backends: Any = ()

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's keys."""
        return keys_visible_to(self.request.user)


class DeviceVersionsView(_OfKey):
    """What a device had, whether it has something now or not."""

    @base.operation(
        "boot_key_versions",
        {200: VERSIONS, **base.READ_ONE, 400: base.INVALID},
        parameters=[DEVICE],
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show the last twenty versions of a device's configuration, also of a deleted one, newest first."""
        key, device = self.get_object(), request.query_params.get("device", "")
        with worded_for(BootConfig):
            services.check_device(device)
        return Response(
            [
                {
                    "version": row.number,
                    "at": row.at,
                    "by": row.actor_name,
                    "document": shown(request, row, row.document),
                }
                for row in versions_of(api_key_id=key.pk, device=device)
            ]
        )


class DeletedRestoreView(_OfKey):
    """Bringing a deleted configuration back."""

    @base.operation("boot_key_restore", {201: BootConfigShownSerializer, **base.WRITE_ONE, **BUSY})
    def post(self, request: Request, pk: str) -> Response:
        """Bring the deleted configuration of a device back, as a new version."""
        key = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        try:
            with worded_for(BootConfig):
                row = services.boot_config_restore(
                    api_key_id=key.pk, device=sent["device"], number=sent.get("version")
                )
        except Conflict as error:
            raise InTheWay(str(error)) from error
        fresh = boot_configs_visible_to(request.user).get(pk=row.pk)
        body = BootConfigSerializer(fresh, context=self.get_serializer_context()).data
        return Response(body, status=status.HTTP_201_CREATED)
