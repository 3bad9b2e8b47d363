"""What a change would do to the fleet, over REST: the body of the change in, how many devices and which diffs out.

Nothing is written. A change that concerns more devices than one waits for is answered with a job (202).
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.devices import DEACTIVATED, device_errors
from config_merge.api.rows import device_details_visible_to, group_rows_visible_to, template_rows_visible_to
from config_merge.api.serializers import DeviceDetailSerializer, GroupSerializer, TemplateSerializer
from config_merge.models import Template
from config_merge.services import job_previews, jobs, preview
from config_merge.services.device_previews import device_preview
from core.api_fields import JSONObjectField
from devices.models import Device, DeviceGroup, FleetSettings
from devices.queries import fleet_settings_visible_to
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of

# Above this many devices the answer is a job to look at later.
WAITED_FOR = 1000


class AffectedSerializer(serializers.Serializer[Any]):
    """A device in words."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class DiffGroupSerializer(serializers.Serializer[Any]):
    """Devices to which the same happens: how many, the first twenty of them, and the diff of their files.

    The last group may sum up what is too much to show; its diff is empty.
    """

    count = serializers.IntegerField()
    devices = AffectedSerializer(many=True)
    diff = serializers.CharField(allow_blank=True)


class FailureSerializer(serializers.Serializer[Any]):
    """A device that would not get a valid configuration, and why."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    message = serializers.CharField()


class PreviewSerializer(serializers.Serializer[Any]):
    """What a change would do: `total` = `changed` + `unchanged` + `failed` devices; the biggest group first."""

    total = serializers.IntegerField()
    changed = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    failed = serializers.IntegerField()
    groups = DiffGroupSerializer(many=True)
    failures = FailureSerializer(many=True)


class PreviewJobSerializer(serializers.Serializer[Any]):
    """The job that computes the preview; its result is in `batch/{id}/`."""

    job = serializers.UUIDField()


class VariablesSerializer(serializers.Serializer[Any]):
    """The variables an organization would have."""

    context = JSONObjectField()  # type: ignore[assignment]


ANSWERS: dict[int, Any] = {200: PreviewSerializer, 202: PreviewJobSerializer, **base.WRITE_ONE}
DELETING = [OpenApiParameter("delete", str, description="`true` previews the deletion; the body is ignored.")]
Ask = Callable[[int | None], preview.Preview]


class Previews(base.TenantView):
    """Previews need the right to make the change."""

    post_action = "change"

    def answered(
        self,
        ask: Ask,
        *,
        of: models.Model | None,
        organization_id: UUID | None,
        kind: str,
        changes: Mapping[str, Any],
        delete: bool = False,
    ) -> Response:
        """Return the preview of a change of `of`, or the job that will have it."""
        user: Any = self.request.user
        try:
            found = ask(WAITED_FOR)
        except preview.TooMany as many:
            pk = of.pk if of is not None else None
            proposal = job_previews.packed(kind=kind, pk=pk, changes=changes, delete=delete)
            job = jobs.preview_job_create(
                proposal=proposal,
                organization_id=_owner_after(changes, organization_id),
                creator=user,
                total=many.count,
            )
            return Response({"job": str(job.pk)}, status=status.HTTP_202_ACCEPTED)
        return self.told(found, of=of, organization_id=organization_id)

    def told(
        self, found: preview.Preview, *, of: models.Model | None, organization_id: UUID | None
    ) -> Response:
        """Return the preview as the caller may see it, and note which secrets it shows."""
        disclosure = disclosure_of(self.request)
        shown = job_previews.shown(job_previews.as_json(found), disclosure)
        job_previews.looks_noted(disclosure, shown.owners, of=of, organization_id=organization_id)
        return Response(shown.body)

    def is_deletion(self) -> bool:
        """Tell whether the preview is of a deletion."""
        return self.request.query_params.get("delete") == "true"


def _owner_after(changes: Mapping[str, Any], organization_id: UUID | None) -> UUID | None:
    """Return whose an object is after the changes: what becomes shared concerns devices of others too."""
    if "organization" not in changes:
        return organization_id
    return changes["organization"].pk if changes["organization"] is not None else None


class TemplatePreviewView(Previews):
    """What an edit of a template would do."""

    model = Template
    serializer_class = TemplateSerializer

    def get_queryset(self) -> QuerySet[Template]:
        """Return the templates the caller may see."""
        return template_rows_visible_to(self.request.user)

    @base.operation(
        "controller_template_preview", ANSWERS, request=TemplateSerializer(partial=True), parameters=DELETING
    )
    def post(self, request: Request, pk: str) -> Response:
        """Tell what a change of the template would do to the devices that have it or would get it."""
        template = self.get_object()
        delete = self.is_deletion()
        sent: dict[str, Any] = {}
        if not delete:
            sent = self.valid(self.get_serializer(template, data=request.data, partial=True))
        with worded_for(Template):
            return self.answered(
                lambda limit: preview.template_preview(template, sent, delete=delete, limit=limit),
                of=template,
                organization_id=template.organization_id,
                kind="template",
                changes=sent,
                delete=delete,
            )


class NewTemplatePreviewView(Previews):
    """What a new template would do."""

    model = Template
    serializer_class = TemplateSerializer
    queryset = Template.objects.none()
    post_action = "add"

    @base.operation(
        "controller_template_new_preview", {200: PreviewSerializer, 202: PreviewJobSerializer, **base.WRITE}
    )
    def post(self, request: Request) -> Response:
        """Tell what a new template would do; only a default one reaches devices by itself."""
        sent = self.valid(self.get_serializer(data=request.data))
        organization = sent.get("organization")
        with worded_for(Template):
            return self.answered(
                lambda limit: preview.template_preview(None, sent, limit=limit),
                of=None,
                organization_id=organization.pk if organization else None,
                kind="template",
                changes=sent,
            )


class GroupPreviewView(Previews):
    """What an edit of a device group would do."""

    model = DeviceGroup
    serializer_class = GroupSerializer

    def get_queryset(self) -> QuerySet[DeviceGroup]:
        """Return the groups the caller may see."""
        return group_rows_visible_to(self.request.user)

    @base.operation(
        "controller_group_preview", ANSWERS, request=GroupSerializer(partial=True), parameters=DELETING
    )
    def post(self, request: Request, pk: str) -> Response:
        """Tell what a change of the group would do to its members."""
        group = self.get_object()
        delete = self.is_deletion()
        sent: dict[str, Any] = {}
        if not delete:
            sent = self.valid(self.get_serializer(group, data=request.data, partial=True))
        with worded_for(DeviceGroup):
            return self.answered(
                lambda limit: preview.group_preview(group, sent, delete=delete, limit=limit),
                of=group,
                organization_id=group.organization_id,
                kind="group",
                changes=sent,
                delete=delete,
            )


class VariablesPreviewView(Previews):
    """What new variables of an organization would do."""

    model = FleetSettings
    serializer_class = VariablesSerializer

    def get_queryset(self) -> QuerySet[FleetSettings]:
        """Return the fleet settings of the caller's organizations."""
        return fleet_settings_visible_to(self.request.user)

    @base.operation("controller_organization_variables_preview", ANSWERS)
    def post(self, request: Request, pk: str) -> Response:
        """Tell what new variables would do to the organization's devices."""
        settings = self.get_object()
        context = self.valid(self.get_serializer(data=request.data))["context"]
        with worded_for(FleetSettings):
            return self.answered(
                lambda limit: preview.organization_variables_preview(settings, context, limit=limit),
                of=settings,
                organization_id=settings.pk,
                kind="variables",
                changes={"context": context},
            )


class DevicePreviewView(Previews):
    """What an edit of a device would do."""

    model = Device
    serializer_class = DeviceDetailSerializer

    def get_queryset(self) -> QuerySet[Device]:
        """Return the devices the caller may see."""
        return device_details_visible_to(self.request.user)

    def check_object_permissions(self, request: Request, obj: Device) -> None:
        """Refuse what the change itself would be refused for."""
        super().check_object_permissions(request, obj)
        if obj.is_deactivated:
            raise exceptions.PermissionDenied(DEACTIVATED)

    @base.operation(
        "controller_device_preview",
        {200: PreviewSerializer, **base.WRITE_ONE},
        request=DeviceDetailSerializer(partial=True),
    )
    def post(self, request: Request, pk: str) -> Response:
        """Tell what a change of the device, its group or its configuration would do to its files."""
        device = self.get_object()
        sent = self.valid(self.get_serializer(device, data=request.data, partial=True))
        with device_errors():
            found = device_preview(device, sent)
        return self.told(found, of=device, organization_id=device.organization_id)
