"""Devices over REST (OpenWISP spec, section 1B.1), and who said what in their configuration."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge import inputs
from config_merge.api import serializers
from config_merge.api.archives import ARCHIVE, archive_response, engine_errors
from config_merge.api.effective import EffectiveSerializer, effective_body
from config_merge.api.filters import DeviceFilter
from config_merge.api.listing import listing_of
from config_merge.api.rows import device_details_visible_to, device_rows_visible_to
from config_merge.models import Config, ConfigRevision
from config_merge.queries import configs_visible_to, revisions_of
from config_merge.services import configs, recompute
from core.errors import Conflict
from devices.models import Device
from devices.queries import devices_visible_to
from tenancy.api import base
from tenancy.api.problems import worded, worded_for
from tenancy.api.secrets import require_reveal
from tenancy.disclosure import disclosure_of

DEACTIVATED = "The device is deactivated."


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """Word what the services refuse; foreign templates are a flat list under `config`."""
    try:
        with worded_for(Device):
            try:
                yield
            except configs.ConfigInvalid as error:
                body = worded(error.error, Config)
                raise exceptions.ValidationError({"config": body.get("templates", body)}) from error
    except Conflict as error:
        raise exceptions.NotFound(str(error)) from error


class _Devices(base.TenantView):
    """The caller's devices."""

    model = Device
    serializer_class: Any = serializers.DeviceDetailSerializer

    def get_queryset(self) -> QuerySet[Device]:
        """Return devices with all that the detail shows."""
        return device_details_visible_to(self.request.user)

    def answer(self, device: Device) -> Response:
        """Print a device as the database has it now."""
        fresh = device_details_visible_to(self.request.user).get(pk=device.pk)
        return Response(serializers.DeviceDetailSerializer(fresh, context=self.get_serializer_context()).data)


class DeviceListView(_Devices, mixins.ListModelMixin):
    """Devices."""

    filterset_class: Any = DeviceFilter
    serializer_class = serializers.DeviceListSerializer
    ordering_fields: ClassVar[dict[str, str]] = {
        **{name: name for name in ("name", "created", "modified", "last_seen")},
        "status": "config__status",
        "config__status": "config__status",
        **{name: name for name in ("mac_address", "model", "os", "management_ip", "last_ip")},
    }
    search_shown = ("name", "mac_address", "model", "os", "system", "last_ip", "management_ip")

    def get_queryset(self) -> QuerySet[Device]:
        """Return devices newest first, without what the list does not show."""
        return device_rows_visible_to(self.request.user)

    def filter_queryset(self, queryset: QuerySet[Any]) -> Any:
        """Return the list asked for; it counts and slices itself."""
        return listing_of(self, queryset)

    def get_serializer_class(self) -> Any:
        """Take the configuration whole when a device is made; show three words of it otherwise."""
        return serializers.DeviceCreateSerializer if self.request.method == "POST" else self.serializer_class

    @base.operation("controller_device_list", {200: serializers.DeviceListSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List devices, newest first unless ordered otherwise."""
        return self.list(request)

    @base.operation(
        "controller_device_create",
        {201: serializers.DeviceListSerializer, **base.WRITE},
        request=serializers.DeviceCreateSerializer,
    )
    def post(self, request: Request) -> Response:
        """Create a device, and its configuration when that says anything."""
        sent = self.valid(self.get_serializer(data=request.data))
        with device_errors():
            device = configs.managed_device_create(actor_id=request.user.pk, **sent)
        fresh = self.get_queryset().get(pk=device.pk)
        body = serializers.DeviceListSerializer(fresh, context=self.get_serializer_context()).data
        return Response(body, status=status.HTTP_201_CREATED)


class DeviceDetailView(_Devices):
    """One device."""

    def check_object_permissions(self, request: Request, obj: Device) -> None:
        """Refuse to change a device that is out of service (spec section 3)."""
        super().check_object_permissions(request, obj)
        if obj.is_deactivated and request.method in ("PUT", "PATCH"):
            raise exceptions.PermissionDenied(DEACTIVATED)

    @base.operation("controller_device_read", {200: serializers.DeviceDetailSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one device."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("controller_device_update", {200: serializers.DeviceDetailSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Replace a device; `config: null` leaves its configuration alone."""
        return self._change(request, partial=False)

    @base.operation(
        "controller_device_partial_update", {200: serializers.DeviceDetailSerializer, **base.WRITE_ONE}
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of a device or of its configuration."""
        return self._change(request, partial=True)

    @base.operation(
        "controller_device_delete",
        {204: None, **base.READ_ONE},
        parameters=[OpenApiParameter("force", str, description="`true` deletes active devices too.")],
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a device that has confirmed its deactivation."""
        with device_errors():
            configs.device_delete(self.get_object(), force=request.query_params.get("force") == "true")
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        device = self.get_object()
        sent = self.valid(self.get_serializer(device, data=request.data, partial=partial))
        with device_errors():
            configs.managed_device_update(device, actor_id=request.user.pk, **sent)
        return self.answer(device)


class DeviceActivateView(_Devices):
    """Puts a device back into service."""

    @base.operation(
        "controller_device_activate",
        {200: serializers.DeviceDetailSerializer, 400: base.INVALID, **base.READ_ONE},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Activate; an active device is not found."""
        device = self.get_object()
        with device_errors():
            return self.answer(configs.device_activate(device, actor_id=request.user.pk))


class DeviceDeactivateView(_Devices):
    """Takes a device out of service."""

    @base.operation(
        "controller_device_deactivate",
        {200: serializers.DeviceDetailSerializer, 400: base.INVALID, **base.READ_ONE},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Deactivate; a deactivated device is not found."""
        device = self.get_object()
        with device_errors():
            return self.answer(configs.device_deactivate(device, actor_id=request.user.pk))


class _OfDevice(base.TenantView):
    """Something that belongs to one device, found only through it."""

    model = Device
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)

    def config(self) -> Config:
        """Return the configuration of the device in the path. Raises Http404."""
        device = self.get_object()
        config = configs_visible_to(self.request.user).filter(device=device).first()
        if config is None:
            raise Http404("The device has no configuration.")
        return config


class DeviceConfigurationView(_OfDevice):
    """What a device downloads."""

    serializer_class = serializers.ConfigStatusSerializer

    @base.operation(
        "controller_device_configuration",
        {(200, ARCHIVE): OpenApiTypes.BINARY, 400: base.INVALID, **base.READ_ONE},
    )
    def get(self, request: Request, pk: str) -> HttpResponse:
        """Download the device's tar.gz as it is now, its secrets with it; deactivated devices have one too."""
        config = self.config()
        require_reveal(request, config.device.organization_id)
        disclosure_of(request).note(config.device, organization_id=config.device.organization_id)
        if config.is_stale:
            recompute.recompute_one(config.pk)
            config.refresh_from_db()
        revision = config.revision
        if revision is None:
            problem = config.problem or "The configuration cannot be computed."
            raise exceptions.ValidationError({NON_FIELD_ERRORS: [problem]})
        return archive_response(bytes(revision.artefact), name=config.device.name)


class DeviceEffectiveView(_OfDevice):
    """Who said what."""

    serializer_class = EffectiveSerializer

    @base.operation(
        "controller_device_effective",
        {200: EffectiveSerializer, 400: base.INVALID, **base.READ_ONE},
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show every value of the effective configuration with its source and what it shadows."""
        config = self.config()
        disclosure, owner = disclosure_of(request), config.device.organization_id
        with engine_errors():
            for item in inputs.load([config]):
                body = effective_body(item, reveal=disclosure.may(owner))
                if disclosure.may(owner):
                    # Its variables hold the device's key at least.
                    disclosure.note(config.device, organization_id=owner)
                return Response(body)
        raise Http404("The device has no configuration.")


class DeviceRevisionsView(base.TenantView, mixins.ListModelMixin):
    """A device's revisions."""

    model = Device
    queryset = ConfigRevision.objects.none()
    serializer_class = serializers.RevisionSerializer
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("number", "created", "size")}

    def get_queryset(self) -> QuerySet[ConfigRevision]:
        """Return the revisions of the device in the path, newest first. Raises Http404."""
        device = devices_visible_to(self.request.user).filter(pk=self.kwargs["pk"]).first()
        if device is None:
            raise Http404("No Device matches the given query.")
        self.check_object_permissions(self.request, device)
        return revisions_of(device).select_related(None)

    @base.operation("controller_device_revisions", {200: serializers.RevisionSerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List what the device was told to be, newest first."""
        return self.list(request)
