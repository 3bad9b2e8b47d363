"""Configuration tasks over REST, and a device's contact: what is on its way, and since when it is linked."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.delivery import again, queue
from config_merge.models import ConfigTask, Site
from config_merge.queries import sites_visible_to, tasks_of, tasks_visible_to
from core.errors import Conflict
from core.redaction import redacted_text
from devices.models import Device, Link
from devices.queries import devices_visible_to, with_presence
from tenancy.api import base
from tenancy.api.filters import TenantFilter, visible_organizations

CONFLICT = {409: base.said("It has begun already, has ended, or there is nothing to push.")}


class Late(exceptions.APIException):
    """The state has moved on."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "It cannot be done any more."


class StepSerializer(serializers.Serializer[Any]):
    """One step that a device told while it worked on a task."""

    at = serializers.DateTimeField()
    step = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


class TaskSerializer(serializers.ModelSerializer[ConfigTask]):
    """A revision on its way to its device; `attempt` counts the times it was sent."""

    revision = serializers.IntegerField(source="number", help_text="The revision's number.")
    site = serializers.UUIDField(
        source="site_id", allow_null=True, help_text="The device's site at the time."
    )

    class Meta:
        model = ConfigTask
        fields = (
            "id", "device", "revision", "checksum", "site", "kind", "state", "attempt", "error", "created", "due_at",
            "deadline", "sent_at", "started_at", "finished_at",
        )  # fmt: skip
        read_only_fields: Any = fields


class TaskDetailSerializer(TaskSerializer):
    """A task whole, with what its device told of it."""

    log = serializers.SerializerMethodField()

    class Meta(TaskSerializer.Meta):
        fields = (*TaskSerializer.Meta.fields, "log")  # type: ignore[assignment]
        read_only_fields = fields

    @extend_schema_field(StepSerializer(many=True))
    def get_log(self, task: ConfigTask) -> list[dict[str, str]]:
        """Return the steps, without what looks like a secret."""
        return [{"at": at, "step": step, "message": redacted_text(message)} for at, step, message in task.log]


class PresenceSerializer(serializers.Serializer[Any]):
    """How a device can be reached: `is_online` when it holds a link or polled lately."""

    is_online = serializers.BooleanField()
    is_linked = serializers.BooleanField()
    last_seen = serializers.DateTimeField(allow_null=True)
    linked_since = serializers.DateTimeField(allow_null=True)
    unlinked_at = serializers.DateTimeField(allow_null=True, help_text="When its last link was lost.")
    agent = serializers.CharField(allow_blank=True)
    address = serializers.CharField(allow_null=True)
    capabilities = serializers.ListField(child=serializers.CharField())
    telemetry = serializers.DictField(child=serializers.FloatField())
    telemetry_at = serializers.DateTimeField(allow_null=True)


def visible_sites(request: Any) -> QuerySet[Site]:
    """Return the sites a request may filter by."""
    return sites_visible_to(request.user) if request is not None else Site.objects.none()


def visible_devices(request: Any) -> QuerySet[Device]:
    """Return the devices a request may filter by."""
    return devices_visible_to(request.user) if request is not None else Device.objects.none()


class DeviceTaskFilter(filters.FilterSet):
    """What people look for among the tasks of a device."""

    state = filters.MultipleChoiceFilter(choices=ConfigTask.State.choices)
    kind = filters.ChoiceFilter(choices=ConfigTask.Kind.choices)


class TaskFilter(TenantFilter):
    """What people look for among tasks; `state` may be given several times."""

    organization = filters.ModelChoiceFilter(
        field_name="device__organization", queryset=visible_organizations
    )
    organization_slug = filters.CharFilter(field_name="device__organization__slug")
    state = filters.MultipleChoiceFilter(choices=ConfigTask.State.choices)
    kind = filters.ChoiceFilter(choices=ConfigTask.Kind.choices)
    device = filters.ModelChoiceFilter(queryset=visible_devices)
    site = filters.ModelChoiceFilter(queryset=visible_sites, method="of_site")

    def of_site(self, queryset: QuerySet[ConfigTask], _name: str, value: Site | None) -> QuerySet[ConfigTask]:
        """Keep the tasks of devices that were at the site."""
        return queryset if value is None else queryset.filter(site_id=value.pk)


ORDERED_BY = {"created": "created", "revision": "number", "state": "state", "finished_at": "finished_at"}


class _Tasks(base.TenantView):
    """Tasks of the caller's devices."""

    model = ConfigTask
    serializer_class: Any = TaskSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return tasks_visible_to(self.request.user)

    def check_object_permissions(self, request: Request, obj: Any) -> None:
        """Ask the policy with the task's device, which has the organization."""
        super().check_object_permissions(request, obj.device if isinstance(obj, ConfigTask) else obj)


class TaskListView(_Tasks, mixins.ListModelMixin):
    """Tasks."""

    filterset_class: Any = TaskFilter
    ordering_fields: ClassVar[dict[str, str]] = ORDERED_BY

    @base.operation("controller_task_list", {200: TaskSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List configuration tasks, newest first unless ordered otherwise; they are kept for 90 days."""
        return self.list(request)


class TaskDetailView(_Tasks):
    """One task."""

    serializer_class = TaskDetailSerializer

    @base.operation("controller_task_read", {200: TaskDetailSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one task with what its device told of it."""
        return Response(self.get_serializer(self.get_object()).data)


class TaskCancelView(_Tasks):
    """Takes a task back."""

    serializer_class = TaskDetailSerializer
    post_action = "change"

    @base.operation(
        "controller_task_cancel",
        {200: TaskDetailSerializer, **base.READ_ONE, **CONFLICT},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Take a task back; 409 once the device has begun."""
        task = self.get_object()
        try:
            queue.cancel(task)
        except Conflict as error:
            raise Late(str(error)) from error
        return Response(self.get_serializer(task).data)


class _OfDevice(_Tasks):
    """Something of one device, which is found as all devices are."""

    pagination_class: Any = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)


class DeviceTasksView(base.TenantView, mixins.ListModelMixin):
    """The tasks of a device."""

    model = ConfigTask
    queryset = ConfigTask.objects.none()
    serializer_class: Any = TaskSerializer
    filterset_class: Any = DeviceTaskFilter
    ordering_fields: ClassVar[dict[str, str]] = ORDERED_BY

    def get_queryset(self) -> QuerySet[ConfigTask]:
        """Return the tasks of the device in the path. Raises NotFound."""
        device = devices_visible_to(self.request.user).filter(pk=self.kwargs["pk"]).first()
        if device is None:
            raise exceptions.NotFound("No Device matches the given query.")
        self.check_object_permissions(self.request, device)
        return tasks_of(device)

    @base.operation("controller_device_tasks", {200: TaskSerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List what was, or is, on its way to the device, newest first."""
        return self.list(request)


class DevicePushView(_OfDevice):
    """Pushes once more."""

    serializer_class = TaskDetailSerializer
    post_action = "change"

    @base.operation(
        "controller_device_push", {201: TaskDetailSerializer, **base.READ_ONE, **CONFLICT}, request=None
    )
    def post(self, request: Request, pk: str) -> Response:
        """Give the device its files once more, with another checksum, also when it says that it has them."""
        device = self.get_object()
        try:
            task = again.push_again(device, actor_id=request.user.pk)
        except Conflict as error:
            raise Late(str(error)) from error
        return Response(self.get_serializer(task).data, status=status.HTTP_201_CREATED)


class DevicePresenceView(_OfDevice):
    """Whether a device can be reached."""

    model: Any = Device
    serializer_class = PresenceSerializer

    @base.operation("controller_device_presence", {200: PresenceSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Tell whether a device is online, by what, and since when."""
        return Response(self.get_serializer(presence_of(self.get_object())).data)

    def get_queryset(self) -> QuerySet[Any]:
        """Return the devices with their presence."""
        return with_presence(super().get_queryset()).select_related("organization", "link")


def presence_of(device: Any) -> dict[str, Any]:
    """Return how a device can be reached; it was read `with_presence` and with its link."""
    link: Link | None = getattr(device, "link", None)
    return {
        "is_online": device.is_online,
        "is_linked": device.is_linked,
        "last_seen": device.last_seen,
        "linked_since": link.opened_at if link else None,
        "unlinked_at": device.unlinked_at,
        "agent": link.agent if link else "",
        "address": link.address if link else None,
        "capabilities": link.capabilities if link else [],
        "telemetry": link.telemetry if link else {},
        "telemetry_at": link.telemetry_at if link else None,
    }
