"""Quotas over REST: what each key has used and has left, and the limits of organizations with their own."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from boot import quotas, services
from boot.images.queries import limits_visible_to, room_of
from boot.images.services import limits_update
from boot.models import Operation, Quota
from boot.models_images import ImageLimits
from boot.queries import keys_visible_to, limits_of
from core.clock import now
from tenancy.api import base
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for
from tenancy.models import ApiKey
from tenancy.queries import organizations_visible_to

KEY_STATES = ["active", "read_only", "revoked", "expired"]


class BootKeySerializer(serializers.ModelSerializer[ApiKey]):
    """An API key as the boot API sees it; nothing that opens anything."""

    state = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = ("id", "key_id", "name", "organization", "state", "last_used")
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=KEY_STATES))
    def get_state(self, row: Any) -> str:
        """Whether it reads and writes, only reads, or is over."""
        if row.revoked_at is not None:
            return "revoked"
        if row.expires_at is not None and row.expires_at <= now():
            return "expired"
        return "read_only" if row.read_only else "active"


class GaugeSerializer(serializers.Serializer[Any]):
    """How much of a limit is used."""

    operation = serializers.ChoiceField(choices=Operation.choices)
    limit = serializers.IntegerField()
    used = serializers.IntegerField()
    left = serializers.IntegerField()
    resets_at = serializers.DateTimeField()


class OrganizationQuotaSerializer(serializers.Serializer[Any]):
    """A limit of each API key of an organization; `standard` is everybody's, `own` null where that holds.

    `limit` is what holds and `allowed` the most that the organization's managers may set it to.
    """

    operation = serializers.ChoiceField(choices=Operation.choices)
    period = serializers.ChoiceField(choices=["hour", "month"])
    standard = serializers.IntegerField()
    own = serializers.IntegerField(allow_null=True)
    allowed = serializers.IntegerField()
    limit = serializers.IntegerField()


class QuotaChangeSerializer(serializers.Serializer[Any]):
    """An organization's own limits by operation; null gives back what is allowed, from superusers the standard one."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """One field for each operation."""
        return {
            str(name): serializers.IntegerField(
                required=False, allow_null=True, min_value=0, max_value=1_000_000_000
            )
            for name in Operation.values
        }

    def to_internal_value(self, data: Any) -> Any:
        """Refuse what is no operation: a misspelt limit would seem to hold."""
        unknown = [name for name in data if name not in self.fields] if isinstance(data, Mapping) else []
        if unknown:
            raise serializers.ValidationError({name: ["There is no such operation."] for name in unknown})
        return super().to_internal_value(data)


class BootKeyListView(base.TenantView, mixins.ListModelMixin):
    """The API keys that machines may boot with."""

    model = Quota
    serializer_class = BootKeySerializer
    filterset_class: Any = TenantFilter
    search_fields: ClassVar = ("name", "key_id")
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("name", "created", "last_used")}

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return keys_visible_to(self.request.user)

    @base.operation("boot_key_list", {200: BootKeySerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List API keys by id and name, for whoever configures what machines boot."""
        return self.list(request)


class KeyQuotasView(base.TenantView):
    """What a key has used."""

    model = Quota
    serializer_class = GaugeSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's keys."""
        return keys_visible_to(self.request.user)

    @base.operation("boot_key_quotas", {200: GaugeSerializer(many=True), **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show limit, used, left and the time of the reset of every operation."""
        key = self.get_object()
        found = quotas.gauges(key_id=key.key_id, organization_id=key.organization_id, at=now())
        return Response(GaugeSerializer(found, many=True).data)


class OrganizationQuotasView(base.TenantView):
    """The limits of an organization."""

    model = Quota
    serializer_class: Any = QuotaChangeSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's organizations."""
        return organizations_visible_to(self.request.user)

    def _answer(self, organization: Any) -> Response:
        rows = limits_of(organization)
        return Response(OrganizationQuotaSerializer(rows, many=True).data)

    @base.operation("boot_quota_read", {200: OrganizationQuotaSerializer(many=True), **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show the limits that hold for each API key of an organization."""
        return self._answer(self.get_object())

    @base.operation(
        "boot_quota_partial_update", {200: OrganizationQuotaSerializer(many=True), **base.WRITE_ONE}
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Give an organization its own limits: superusers any, its managers at most what is allowed. All or none."""
        organization = self.get_object()
        by: Any = request.user
        sent = self.valid(self.get_serializer(data=request.data))
        with transaction.atomic():
            for operation, amount in sent.items():
                try:
                    with worded_for(Quota):
                        services.quota_set(
                            by=by, organization=organization, operation=operation, amount=amount
                        )
                except exceptions.ValidationError as error:
                    detail: Any = error.detail
                    raise exceptions.ValidationError({operation: detail.get("amount", detail)}) from error
        return self._answer(organization)


class ImageLimitsSerializer(serializers.Serializer[Any]):
    """How many bytes of images an organization may keep, and keeps."""

    largest = serializers.IntegerField(min_value=0, max_value=(1 << 62), required=False)
    total = serializers.IntegerField(min_value=0, max_value=(1 << 62), required=False)
    used = serializers.IntegerField(read_only=True)
    coming = serializers.IntegerField(read_only=True, help_text="Promised to uploads that are not finished.")
    left = serializers.IntegerField(read_only=True)


class ImageLimitsView(base.TenantView):
    """How much of images an organization may keep."""

    model = ImageLimits
    serializer_class = ImageLimitsSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's organizations."""
        return limits_visible_to(self.request.user)

    @base.operation("boot_image_limits_read", {200: ImageLimitsSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show how many bytes one image and all together may have, and how many are used and left."""
        return Response(ImageLimitsSerializer(room_of(self.get_object())).data)

    @base.operation("boot_image_limits_partial_update", {200: ImageLimitsSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Set these limits; superusers may."""
        organization = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(ImageLimits):
            limits_update(organization, **sent)
        return Response(ImageLimitsSerializer(room_of(organization)).data)
