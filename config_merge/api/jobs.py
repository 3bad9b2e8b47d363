"""Batch operations over REST: one request for many devices, one job with a result for each of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import QueryDict
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.filters import DeviceFilter
from config_merge.api.previews import PreviewSerializer
from config_merge.models import Job, JobItem, Managed, Site, Template
from config_merge.queries import (
    job_progress,
    job_results,
    jobs_visible_to,
    sites_visible_to,
    templates_visible_to,
)
from config_merge.services import job_previews, jobs
from config_merge.services.job_actions import right_for
from core.clock import now
from core.errors import Conflict
from devices.models import Device, DeviceGroup
from devices.queries import devices_visible_to, groups_visible_to
from tenancy.api import base
from tenancy.api.fields import VisibleField
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of
from tenancy.models import Organization
from tenancy.queries import organization_ids_where, organizations_visible_to

MOST_IDS = 10_000
BATCHES = [choice for choice in Job.Kind.choices if choice[0] != Job.Kind.PREVIEW]


SITELESS = "Templates manage the devices that leave their site."
IDLE = "This leaves no device out; say what it shall be, or do not say it."


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class DeviceFilterField(serializers.Field[Any, Any, Any, Any]):
    """The filters of the device list, by the same names; a name that is none of them is refused."""

    def to_internal_value(self, data: Any) -> QueryDict:
        """Return the filters as a query. Raises ValidationError."""
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("An object of the device list's filters is expected.")
        query = QueryDict(mutable=True)
        for name, value in data.items():
            if name not in DeviceFilter.base_filters:
                raise serializers.ValidationError(f"There is no such filter: {str(name)[:64]!r}.")
            if not isinstance(value, str | int):
                raise serializers.ValidationError(f"The filter {name} takes one value.")
            query[str(name)] = str(value).lower() if isinstance(value, bool) else str(value)
        return query

    def to_representation(self, value: Any) -> Any:
        """Return it as it came; never printed."""
        return value


class JobRequestSerializer(serializers.Serializer[Any]):
    """What to do to which devices: `devices` (ids) or `filter`; `organization` when they could be of several.

    `change_group` needs `group` and `change_site` needs `site` (null takes devices out of theirs), `assign_template`
    and `unassign_template` need `template`, `change_management` needs `managed_by`, which `change_site` takes, too;
    `delete` takes `force`. With `dry_run` each result says what would happen.
    """

    action = serializers.ChoiceField(choices=BATCHES)
    devices = serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_empty=False, max_length=MOST_IDS
    )
    filter = DeviceFilterField(required=False)
    organization = VisibleField(
        queryset=Organization.objects.all(),
        visible=organizations_visible_to,
        required=False,
        allow_null=True,
    )
    group = VisibleField(
        queryset=DeviceGroup.objects.all(), visible=groups_visible_to, required=False, allow_null=True
    )
    template = VisibleField(queryset=Template.objects.all(), visible=templates_visible_to, required=False)
    site = VisibleField(
        queryset=Site.objects.all(), visible=sites_visible_to, required=False, allow_null=True
    )
    managed_by = serializers.ChoiceField(choices=Managed.choices, required=False)
    force = serializers.BooleanField(required=False, default=False)
    dry_run = serializers.BooleanField(required=False, default=False)
    reason = serializers.CharField(required=False, allow_blank=True, max_length=256, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse what does not belong together. Raises ValidationError."""
        if ("devices" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError({"devices": "Name either devices or a filter."})
        needed = {
            Job.Kind.CHANGE_GROUP: "group",
            Job.Kind.ASSIGN_TEMPLATE: "template",
            Job.Kind.UNASSIGN_TEMPLATE: "template",
            Job.Kind.CHANGE_SITE: "site",
            Job.Kind.CHANGE_MANAGEMENT: "managed_by",
        }.get(attrs["action"])
        if needed and needed not in attrs:
            raise serializers.ValidationError({needed: "This field is required."})
        if attrs["action"] == Job.Kind.CHANGE_SITE and attrs["site"] is None and "managed_by" in attrs:
            raise serializers.ValidationError({"managed_by": SITELESS})
        return attrs


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job and how far it is; `eta` is when it should end at its pace so far."""

    action = serializers.ChoiceField(choices=Job.Kind.choices, source="kind")
    group = serializers.UUIDField(source="parameters.group", default=None, allow_null=True)
    template = serializers.UUIDField(source="parameters.template", default=None, allow_null=True)
    site = serializers.UUIDField(source="parameters.site", default=None, allow_null=True)
    managed_by = serializers.ChoiceField(
        choices=Managed.choices, source="parameters.managed_by", default=None, allow_null=True
    )
    force = serializers.BooleanField(source="parameters.force", default=False)
    done = serializers.IntegerField()
    failed = serializers.IntegerField()
    skipped = serializers.IntegerField()
    pending = serializers.IntegerField()
    eta = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Job
        fields = (
            "id", "action", "organization", "state", "dry_run", "reason", "creator", "creator_name", "group",
            "template", "site", "managed_by", "force", "total", "done", "failed", "skipped", "pending", "problem",
            "created", "started", "finished", "eta",
        )  # fmt: skip
        read_only_fields = fields


class JobDetailSerializer(JobSerializer):
    """A job whole; `result` is the preview a job of that kind has computed, null before."""

    result = PreviewSerializer(allow_null=True)

    class Meta(JobSerializer.Meta):
        fields = (*JobSerializer.Meta.fields, "result")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class JobItemSerializer(serializers.ModelSerializer[JobItem]):
    """What became of one device; the device may be gone by now."""

    device = serializers.UUIDField(source="device_id")

    class Meta:
        model = JobItem
        fields = ("device", "name", "outcome", "message", "at")
        read_only_fields = fields


class JobFilter(TenantFilter):
    """What people look for among jobs."""

    action = filters.ChoiceFilter(field_name="kind", choices=Job.Kind.choices)
    state = filters.ChoiceFilter(choices=Job.State.choices)
    dry_run = filters.BooleanFilter()


class JobItemFilter(filters.FilterSet):
    """What people look for among results."""

    outcome = filters.ChoiceFilter(choices=JobItem.Outcome.choices)
    name = filters.CharFilter(lookup_expr="icontains")


def with_progress(found: list[Job]) -> list[Job]:
    """Put counts and the expected end on jobs (one query)."""
    counts = job_progress(found)
    for job in found:
        for name, number in counts[job.pk].items():
            setattr(job, name, number)
        job.eta = expected_end(job)  # type: ignore[attr-defined]
    return found


def expected_end(job: Any) -> datetime | None:
    """Return when a running job should end, None before anything is done or when it has."""
    worked = job.total - job.pending
    if job.state != Job.State.RUNNING or job.started is None or worked <= 0:
        return None
    moment = now()
    return moment + (moment - job.started) / worked * job.pending


class _Jobs(base.TenantView):
    """The jobs of the caller's organizations."""

    model = Job
    serializer_class: Any = JobSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return jobs_visible_to(self.request.user).select_related(None)

    def detail(self, job: Job, *, code: int = status.HTTP_200_OK) -> Response:
        """Print a job as the database has it now."""
        fresh = Job.objects.get(pk=job.pk)
        (fresh,) = with_progress([fresh])
        body = JobSerializer(fresh, context=self.get_serializer_context()).data
        if not fresh.result:
            return Response({**body, "result": None}, status=code)
        disclosure = disclosure_of(self.request)
        shown = job_previews.shown(fresh.result, disclosure)
        job_previews.looks_noted(disclosure, shown.owners, of=fresh, organization_id=fresh.organization_id)
        return Response({**body, "result": shown.body}, status=code)


class JobListView(_Jobs, mixins.ListModelMixin):
    """Jobs."""

    filterset_class: Any = JobFilter

    @base.operation("controller_batch_list", {200: JobSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        found = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(
            self.get_serializer(with_progress(list(found or ())), many=True).data
        )

    @base.operation(
        "controller_batch_create", {202: JobDetailSerializer, **base.WRITE}, request=JobRequestSerializer
    )
    def post(self, request: Request) -> Response:
        """Ask for something to be done to many devices."""
        sender = JobRequestSerializer(data=request.data, context=self.get_serializer_context())
        sent = self.valid(sender)
        devices = self._chosen(sent)
        organization_id = self._organization(sent, devices)
        _require_own(sent, organization_id)
        parameters = {
            "group": str(sent["group"].pk) if sent.get("group") else None,
            "template": str(sent["template"].pk) if sent.get("template") else None,
            "site": str(sent["site"].pk) if sent.get("site") else None,
            "managed_by": sent.get("managed_by"),
            "force": sent["force"],
        }
        with worded_for(Job):
            job = jobs.job_create(
                kind=sent["action"],
                devices=devices,
                organization_id=organization_id,
                creator=request.user,
                parameters=parameters,
                dry_run=sent["dry_run"],
                reason=sent["reason"],
            )
        return self.detail(job, code=status.HTTP_202_ACCEPTED)

    def _chosen(self, sent: Mapping[str, Any]) -> QuerySet[Device]:
        """Return the devices that are named and that the caller may do this to. Raises ValidationError, 403."""
        user = self.request.user
        devices = devices_visible_to(user).select_related(None)
        if sent.get("organization") is not None:
            devices = devices.filter(organization=sent["organization"])
        writable = self._writable(devices, sent["action"])
        if "filter" in sent:
            filterset = DeviceFilter(sent["filter"], queryset=writable, request=self.request)
            if not filterset.is_valid():
                raise exceptions.ValidationError({"filter": filterset.errors})
            # A list ignores these; whoever deletes or deactivates means something by them.
            idle = [name for name in sent["filter"] if filterset.form.cleaned_data[name] in (None, "")]
            if idle:
                raise exceptions.ValidationError({"filter": {name: [IDLE] for name in idle}})
            return filterset.qs
        ids = list(dict.fromkeys(sent["devices"]))
        known = set(devices.filter(pk__in=ids).values_list("pk", flat=True))
        unknown = [pk for pk in ids if pk not in known]
        if unknown:
            raise exceptions.ValidationError(
                {"devices": [f'Invalid pk "{pk}" - object does not exist.' for pk in unknown[:20]]}
            )
        chosen = writable.filter(pk__in=ids)
        if chosen.count() != len(ids):
            raise exceptions.PermissionDenied
        return chosen

    def _writable(self, devices: QuerySet[Device], action: str) -> QuerySet[Device]:
        user = self.request.user
        if user.is_superuser:
            return devices
        allowed = organization_ids_where(user, right_for(action), Device)
        if not allowed:
            raise exceptions.PermissionDenied
        return devices.filter(organization_id__in=list(allowed))

    def _organization(self, sent: Mapping[str, Any], devices: QuerySet[Device]) -> UUID | None:
        """Return whose job it is; only a superuser's may span organizations. Raises ValidationError."""
        if sent.get("organization") is not None:
            organization: Organization = sent["organization"]
            return organization.pk
        owners = list(devices.order_by().values_list("organization_id", flat=True).distinct()[:2])
        if len(owners) == 1:
            return owners[0]
        if owners and not self.request.user.is_superuser:
            raise exceptions.ValidationError(
                {"organization": ["The devices are of several organizations: name one."]}
            )
        return None


def _require_own(sent: Mapping[str, Any], organization_id: UUID | None) -> None:
    """Refuse a group, site or template that no device of the organization could get. Raises ValidationError."""
    if organization_id is None:
        return
    for name in ("group", "site"):
        if sent.get(name) is not None and sent[name].organization_id != organization_id:
            raise exceptions.ValidationError({name: [f"The {name} belongs to another organization."]})
    template = sent.get("template")
    if template is not None and template.organization_id not in (None, organization_id):
        raise exceptions.ValidationError({"template": ["The template belongs to another organization."]})


class JobDetailView(_Jobs):
    """One job."""

    serializer_class = JobDetailSerializer

    @base.operation("controller_batch_read", {200: JobDetailSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one job, how far it is, and what a preview found."""
        return self.detail(self.get_object())


class JobCancelView(_Jobs):
    """Stops a job."""

    serializer_class = JobDetailSerializer

    @base.operation(
        "controller_batch_cancel",
        {200: JobDetailSerializer, 400: base.INVALID, **base.READ_ONE},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Stop a job: devices whose turn has not come are skipped. One that has ended is refused."""
        job = self.get_object()
        try:
            return self.detail(jobs.job_cancel(job))
        except Conflict as error:
            raise exceptions.ValidationError({"state": [str(error)]}) from error


class JobResultsView(base.TenantView, mixins.ListModelMixin):
    """What became of each device of a job."""

    model = Job
    queryset = JobItem.objects.none()
    serializer_class = JobItemSerializer
    filterset_class: Any = JobItemFilter

    def get_queryset(self) -> QuerySet[JobItem]:
        """Return the items of the job in the path, by name. Raises Http404."""
        job = jobs_visible_to(self.request.user).select_related(None).filter(pk=self.kwargs["pk"]).first()
        if job is None:
            raise exceptions.NotFound("No Job matches the given query.")
        self.check_object_permissions(self.request, job)
        return job_results(job)

    @base.operation("controller_batch_results", {200: JobItemSerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List what became of each device."""
        return self.list(request)
