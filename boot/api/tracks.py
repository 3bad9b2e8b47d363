"""Tracks over REST: what devices have said, and which of them are in the inventory."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from boot import services
from boot.api.fields import KeySerializer, OfKeyFilter
from boot.queries import device_of, devices_of
from core.clock import now
from devices.models import Device
from tenancy.api import base
from tenancy.api.filters import MomentFilter
from tenancy.api.problems import worded_for
from tracking.models import TrackedDevice
from tracking.queries import active_since, timeline_of, tracked_devices_visible_to


class InventorySerializer(serializers.ModelSerializer[Device]):
    """The device of the inventory that a tracked one is."""

    class Meta:
        model = Device
        fields = ("id", "name", "mac_address")
        read_only_fields = fields


class TrackEntrySerializer(serializers.Serializer[Any]):
    """One entry."""

    at = serializers.DateTimeField()
    text = serializers.CharField()


class TrackedSerializer(serializers.ModelSerializer[TrackedDevice]):
    """A device as it names itself under an API key."""

    key = KeySerializer(source="api_key", read_only=True)
    inventory = serializers.SerializerMethodField()
    is_active = serializers.SerializerMethodField()

    class Meta:
        model = TrackedDevice
        fields: ClassVar[tuple[str, ...]] = (
            "id", "organization", "key", "device", "mac_address", "last_at", "is_active", "inventory",
        )  # fmt: skip
        read_only_fields: ClassVar[tuple[str, ...]] = fields

    @extend_schema_field(InventorySerializer(allow_null=True))
    def get_inventory(self, row: Any) -> Any:
        """The device of the organization with its MAC address."""
        device = self.context["inventory"].get(row.pk)
        return InventorySerializer(device).data if device is not None else None

    def get_is_active(self, row: Any) -> bool:
        """Heard of within three months."""
        return bool(row.last_at >= active_since(now()))


class TrackSerializer(TrackedSerializer):
    """A device with its last ten entries, oldest first."""

    entries = serializers.SerializerMethodField()

    class Meta(TrackedSerializer.Meta):
        fields = (*TrackedSerializer.Meta.fields, "entries")
        read_only_fields = fields

    @extend_schema_field(TrackEntrySerializer(many=True))
    def get_entries(self, row: Any) -> Any:
        """The last ten."""
        return TrackEntrySerializer(
            [{"at": at, "text": text} for at, text in timeline_of(row)], many=True
        ).data


class AdoptionSerializer(serializers.Serializer[Any]):
    """How a tracked device is called in the inventory."""

    name = serializers.CharField(required=False, allow_blank=True, max_length=64)
    mac_address = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=17,
        help_text="For a device that does not call itself by one.",
    )


class TrackedFilter(OfKeyFilter):
    """What people look for among tracked devices."""

    device = filters.CharFilter()
    mac_address = filters.CharFilter(lookup_expr="iexact")
    last_at__gte = MomentFilter(field_name="last_at", lookup_expr="gte")
    last_at__lt = MomentFilter(field_name="last_at", lookup_expr="lt")


class TrackListView(base.TenantView, mixins.ListModelMixin):
    """Tracked devices."""

    model = TrackedDevice
    serializer_class = TrackedSerializer
    filterset_class: Any = TrackedFilter
    search_fields: ClassVar = ("device",)
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("device", "last_at", "created")}

    def get_queryset(self) -> QuerySet[Any]:
        """Return them, last heard of first."""
        return tracked_devices_visible_to(self.request.user)

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """Give the serializer the inventory of the whole page."""
        rows = list(args[0]) if args and kwargs.get("many") else []
        serializer: Any = super().get_serializer(*args, **kwargs)
        serializer.context["inventory"] = devices_of(rows)
        return serializer

    @base.operation("boot_track_list", {200: TrackedSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List the devices that were heard of, the last one first unless ordered otherwise."""
        return self.list(request)


class TrackDetailView(base.TenantView):
    """One tracked device."""

    model = TrackedDevice
    serializer_class = TrackSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's."""
        return tracked_devices_visible_to(self.request.user)

    @base.operation("boot_track_read", {200: TrackSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show what a device has said, oldest first."""
        row = self.get_object()
        context = {**self.get_serializer_context(), "inventory": devices_of([row])}
        return Response(TrackSerializer(row, context=context).data)


class TrackAdoptView(base.TenantView):
    """Taking a tracked device into the inventory."""

    model = Device
    serializer_class = AdoptionSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return the caller's tracked devices."""
        return tracked_devices_visible_to(self.request.user)

    @base.operation("boot_track_adopt", {200: InventorySerializer, **base.WRITE_ONE})
    def post(self, request: Request, pk: str) -> Response:
        """Make a tracked device one of the inventory; one that is there already is answered as it is."""
        row = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        by: Any = request.user
        with worded_for(Device):
            device = device_of(row) or services.tracked_adopt(row, by=by, **sent)
        return Response(InventorySerializer(device).data)
