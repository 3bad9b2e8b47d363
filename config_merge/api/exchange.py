"""Devices as tables over REST, devices that were deleted, and copies of templates."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.devices import DeviceListView, device_errors
from config_merge.api.filters import DeviceFilter
from config_merge.api.listing import searched
from config_merge.api.rows import device_details_visible_to, template_rows_visible_to
from config_merge.api.serializers import DeviceDetailSerializer, TemplateSerializer
from config_merge.exchange import files
from config_merge.exchange.columns import COLUMNS, FORMATS
from config_merge.exchange.export import chosen, export_record, rows_of
from config_merge.exchange.importing import ACTIONS, import_devices
from config_merge.exchange.models import DeletedDevice
from config_merge.exchange.queries import deleted_devices_visible_to
from config_merge.models import Template
from config_merge.services.cloning import template_clone
from config_merge.services.recovery import device_restore
from core.clock import now
from core.errors import Conflict
from core.streaming import Streamed
from devices.models import Device
from devices.queries import devices_visible_to
from tenancy.api import base
from tenancy.api.fields import KeyRelatedField
from tenancy.api.filters import TenantFilter
from tenancy.api.permissions import action_of, organization_id_of
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of
from tenancy.models import Organization
from tenancy.policy import allows
from tenancy.queries import organization_ids_where, roles_of

YES, NO = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})
DRY_RUN = (
    "`true`, `1`, `yes` or `on` only tells what the import would do; `false`, `0`, `no`, `off` or nothing imports. "
    "In any case of letters; in the query or as a field of the form."
)
CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def export_response(
    devices: QuerySet[Device], *, request: Any, kind: str, columns: tuple[str, ...]
) -> Streamed:
    """Return the download of a table of devices; that it shows secrets has been written down then."""
    disclosure = disclosure_of(request)
    export_record(devices, disclosure=disclosure, columns=columns, kind=kind)
    parts = files.write(kind, columns, rows_of(devices, user=disclosure.user))
    response = Streamed(parts, content_type=files.CONTENT_TYPES[kind])
    response["Content-Disposition"] = f'attachment; filename="devices-{now():%Y-%m-%d}.{kind}"'
    response["Cache-Control"] = "no-store"
    return response


class DeviceExportView(base.TenantView):
    """The caller's devices as one file."""

    model = Device
    filterset_class: Any = DeviceFilter
    search_shown = DeviceListView.search_shown
    pagination_class = None
    serializer_class = serializers.Serializer

    def get_queryset(self) -> QuerySet[Device]:
        """Return the caller's devices."""
        return devices_visible_to(self.request.user)

    @base.operation(
        "controller_device_export",
        {
            (200, CSV): OpenApiTypes.BINARY,
            (200, XLSX): OpenApiTypes.BINARY,
            200: {"type": "array", "items": {"type": "object", "additionalProperties": {}}},
            400: base.INVALID,
            **base.READ,
        },
        parameters=[
            OpenApiParameter("file_format", str, enum=list(FORMATS), description="CSV when it is not said."),
            OpenApiParameter("columns", str, description="Names, separated by commas; all when not said."),
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Download the devices a list would show as a table. Secrets are marks for who may not reveal them."""
        kind = request.query_params.get("file_format", "csv")
        if kind not in FORMATS:
            raise exceptions.ValidationError({"file_format": [f"Choose one of {', '.join(FORMATS)}."]})
        asked = [name.strip() for name in request.query_params.get("columns", "").split(",") if name.strip()]
        unknown = [name for name in asked if name not in COLUMNS]
        if unknown:
            raise exceptions.ValidationError({"columns": [f"There is no column {unknown[0][:64]}."]})
        devices = searched(request, self.filter_queryset(self.get_queryset()))
        return export_response(devices, request=request, kind=kind, columns=chosen(asked))


# --- import ---------------------------------------------------------------------------------------------------


class CellChangeSerializer(serializers.Serializer[Any]):
    """One cell that changes; secrets are marks."""

    field = serializers.CharField()
    old = serializers.CharField()
    new = serializers.CharField()


class ImportRowSerializer(serializers.Serializer[Any]):
    """What one row comes to; `row` is its number in the file."""

    row = serializers.IntegerField()
    name = serializers.CharField()
    action = serializers.ChoiceField(choices=[(name, name) for name in ACTIONS])
    errors: Any = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    diff = CellChangeSerializer(many=True)


class ImportTotalsSerializer(serializers.Serializer[Any]):
    """How many rows come to what."""

    new = serializers.IntegerField()
    update: Any = serializers.IntegerField()
    same = serializers.IntegerField()
    error = serializers.IntegerField()


class ImportReportSerializer(serializers.Serializer[Any]):
    """What an import did or would do."""

    applied = serializers.BooleanField()
    totals = ImportTotalsSerializer()
    unchecked = serializers.IntegerField(
        help_text="How many rows at the end were not checked, because of the errors before them."
    )
    ignored_columns = serializers.ListField(child=serializers.CharField())
    rows = ImportRowSerializer(many=True)


class ImportFileSerializer(serializers.Serializer[Any]):
    """A table to import."""

    file = serializers.FileField(max_length=150)
    dry_run = serializers.CharField(required=False, allow_blank=True, help_text=DRY_RUN)


def dry_run_of(request: Request) -> bool:
    """Tell whether an import shall only be rehearsed; the query and a field of a form may say so, and must agree.

    Raises DRF's ValidationError under `dry_run`.
    """
    said = list(request.query_params.getlist("dry_run"))
    if isinstance(request.data, QueryDict):
        said += [str(value) for value in request.data.getlist("dry_run")]
    words = {word.strip().lower() for word in said}
    if words - YES - NO:
        raise exceptions.ValidationError({"dry_run": ["Say true or false."]})
    if words & YES and words & NO:
        raise exceptions.ValidationError({"dry_run": ["It is said twice, and differently."]})
    return bool(words & YES)


class DeviceImportView(base.TenantView):
    """A table of devices in."""

    model = Device
    serializer_class = ImportFileSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Device]:
        """Return the caller's devices."""
        return devices_visible_to(self.request.user)

    @base.operation(
        "controller_device_import",
        {200: ImportReportSerializer, **base.WRITE},
        request={
            "multipart/form-data": ImportFileSerializer,
            "application/json": {"type": "array", "items": {"type": "object", "additionalProperties": {}}},
        },
        parameters=[
            OpenApiParameter("dry_run", str, description=DRY_RUN),
        ],
    )
    def post(self, request: Request) -> Response:
        """Import devices from a CSV, XLSX or JSON file, or from rows in a JSON body: all of them or none.

        Rows are matched by id, else by organization and MAC address. With errors in any row the answer is a 400 that
        has the same body, and nothing is written.
        """
        rehearse = dry_run_of(request)
        rows, name = self._table(request)
        with _refused_files():
            report = import_devices(rows, user=request.user, rehearse=rehearse, name=name)
        done = rehearse or report.applied
        return Response(report.body(), status=status.HTTP_200_OK if done else status.HTTP_400_BAD_REQUEST)

    def _table(self, request: Request) -> tuple[list[files.TableRow], str]:
        """Return the rows that were sent, and what the table is called."""
        if isinstance(request.data, list):
            with _refused_files():
                return files.from_json(request.data), "rows"
        uploaded = self.valid(self.get_serializer(data=request.data))["file"]
        if uploaded.size > files.MAX_BYTES:
            raise exceptions.ValidationError({"file": ["The file is too large; import it in parts."]})
        with _refused_files():
            return files.read(uploaded.read(), name=uploaded.name), uploaded.name[:150]


@contextlib.contextmanager
def _refused_files() -> Iterator[None]:
    try:
        yield
    except files.FileRefused as refusal:
        raise exceptions.ValidationError({"file": [str(refusal)]}) from refusal


# --- deleted devices ------------------------------------------------------------------------------------------


class DeletedDeviceSerializer(serializers.ModelSerializer[DeletedDevice]):
    """A device that was deleted and can be restored."""

    class Meta:
        model = DeletedDevice
        fields = (
            "id", "device_id", "name", "mac_address", "organization", "status", "deleted_by", "created",
        )  # fmt: skip
        read_only_fields = fields


class RestoredDeviceSerializer(DeviceDetailSerializer):
    """The device that came back, and what of it did not."""

    skipped = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(DeviceDetailSerializer.Meta):
        fields = (*DeviceDetailSerializer.Meta.fields, "skipped")

    def to_representation(self, instance: Device) -> dict[str, Any]:
        """Print the device whole."""
        instance.skipped = self.context["skipped"]  # type: ignore[attr-defined]
        return super().to_representation(instance)


class DeletedDeviceListView(base.TenantView, mixins.ListModelMixin):
    """Deleted devices."""

    model = DeletedDevice
    serializer_class = DeletedDeviceSerializer
    filterset_class: Any = TenantFilter

    def get_queryset(self) -> QuerySet[DeletedDevice]:
        """Return them, the latest first."""
        return deleted_devices_visible_to(self.request.user).select_related(None)

    @base.operation("controller_device_deleted_list", {200: DeletedDeviceSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List the devices deleted in the last thirty days, the latest first."""
        return self.list(request)


class DeletedDeviceRestoreView(base.TenantView):
    """Takes a deletion back."""

    model = DeletedDevice
    serializer_class = RestoredDeviceSerializer

    def get_queryset(self) -> QuerySet[DeletedDevice]:
        """Return what can be restored."""
        return deleted_devices_visible_to(self.request.user)

    @base.operation(
        "controller_device_deleted_restore",
        {200: RestoredDeviceSerializer, 400: base.INVALID, **base.READ_ONE},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Restore a device with its id, key and configuration; templates that are gone are named in `skipped`."""
        kept = self.get_object()
        try:
            with device_errors():
                restored = device_restore(kept, actor_id=request.user.pk)
        except Conflict as error:
            raise exceptions.NotFound(str(error)) from error
        fresh = device_details_visible_to(request.user).get(pk=restored.device.pk)
        context = {**self.get_serializer_context(), "skipped": list(restored.skipped)}
        return Response(RestoredDeviceSerializer(fresh, context=context).data)


# --- clones ---------------------------------------------------------------------------------------------------


class _TargetField(KeyRelatedField):
    """The organization of a copy, among those where the caller may add templates."""

    def get_queryset(self) -> QuerySet[Organization]:
        """Return them."""
        user: Any = self.context["request"].user
        if user.is_superuser:
            return Organization.objects.all()
        return Organization.objects.filter(pk__in=list(organization_ids_where(user, "add", Template)))


class CloneSerializer(serializers.Serializer[Any]):
    """Where the copy goes; the original's organization when it is not said, null for a shared copy."""

    organization = _TargetField(queryset=Organization.objects.all(), required=False, allow_null=True)


class TemplateCloneView(base.TenantView):
    """Copies a template."""

    model = Template
    serializer_class = CloneSerializer

    def get_queryset(self) -> QuerySet[Template]:
        """Return the caller's templates, and the shared ones."""
        return template_rows_visible_to(self.request.user)

    def check_object_permissions(self, request: Request, obj: Template) -> None:
        """A shared template may be copied by whoever sees it; what counts is where the copy goes."""
        if organization_id_of(obj) is not None:
            super().check_object_permissions(request, obj)

    @base.operation(
        "controller_template_clone", {201: TemplateSerializer, **base.WRITE_ONE}, request=CloneSerializer
    )
    def post(self, request: Request, pk: str) -> Response:
        """Copy a template as "<name> (Clone)"; no device gets the copy by itself."""
        template = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        target: Organization | None = sent.get("organization", template.organization)
        user: Any = request.user
        if target is None and not user.is_superuser:
            raise exceptions.ValidationError({"organization": ["This field may not be null."]})
        role = roles_of(user).get(target.pk) if target is not None else None
        if not user.is_superuser and not allows(role, action_of(request.method), Template):
            raise exceptions.PermissionDenied
        with worded_for(Template):
            copy = template_clone(template, organization=target, user=user)
        fresh = self.get_queryset().get(pk=copy.pk)
        body = TemplateSerializer(fresh, context=self.get_serializer_context()).data
        return Response(body, status=status.HTTP_201_CREATED)
