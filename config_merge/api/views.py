"""Templates and device groups over REST (OpenWISP spec, sections 1B.2 and 1B.4)."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api import serializers
from config_merge.api.archives import ARCHIVE, archive_response, engine_errors
from config_merge.api.filters import GroupFilter, TemplateFilter
from config_merge.api.rows import group_rows_visible_to, template_artefact, template_rows_visible_to
from config_merge.carrying import carries_secrets
from config_merge.models import Template
from config_merge.services import groups, templates
from devices.models import DeviceGroup
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.api.secrets import require_reveal
from tenancy.disclosure import disclosure_of


class _Templates(base.TenantView):
    """The caller's templates, and the shared ones."""

    model = Template
    serializer_class = serializers.TemplateSerializer

    def get_queryset(self) -> QuerySet[Template]:
        """Return them newest first."""
        return template_rows_visible_to(self.request.user)

    def answer(self, template: Template, *, code: int = status.HTTP_200_OK) -> Response:
        """Print a template as the database has it now."""
        return Response(self.get_serializer(self.get_queryset().get(pk=template.pk)).data, status=code)


class TemplateListView(_Templates, mixins.ListModelMixin):
    """Templates."""

    filterset_class: Any = TemplateFilter
    search_fields: ClassVar = ("name", "notes", "tag_rows__name")
    search_shown = ("name", "notes", "tags")
    ordering_fields: ClassVar[dict[str, str]] = {
        name: name for name in ("name", "created", "modified", "type", "backend", "default", "required")
    }

    @base.operation("controller_template_list", {200: serializers.TemplateSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List templates, newest first."""
        return self.list(request)

    @base.operation("controller_template_create", {201: serializers.TemplateSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create a template; without an organization (superusers) it is shared by all."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Template):
            template = templates.template_create(actor_id=request.user.pk, **sent)
        return self.answer(template, code=status.HTTP_201_CREATED)


class TemplateDetailView(_Templates):
    """One template."""

    @base.operation("controller_template_read", {200: serializers.TemplateSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one template."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("controller_template_update", {200: serializers.TemplateSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Replace a template; its devices are computed anew in the background."""
        return self._change(request, partial=False)

    @base.operation(
        "controller_template_partial_update", {200: serializers.TemplateSerializer, **base.WRITE_ONE}
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of a template; its devices are computed anew in the background."""
        return self._change(request, partial=True)

    @base.operation("controller_template_delete", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a template; devices that used it are computed anew without it."""
        templates.template_delete(self.get_object(), actor_id=request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        template = self.get_object()
        sent = self.valid(self.get_serializer(template, data=request.data, partial=partial))
        with worded_for(Template):
            templates.template_update(template, actor_id=request.user.pk, **sent)
        return self.answer(template)


class TemplateConfigurationView(_Templates):
    """What a template renders to by itself."""

    @base.operation(
        "controller_template_configuration",
        {(200, ARCHIVE): OpenApiTypes.BINARY, 400: base.INVALID, **base.READ_ONE},
    )
    def get(self, request: Request, pk: str) -> HttpResponse:
        """Download the template's tar.gz."""
        template = self.get_object()
        disclosure = disclosure_of(request)
        if carries_secrets(template):
            require_reveal(request, template.organization_id)
            disclosure.note(template, organization_id=template.organization_id)
        with engine_errors():
            return archive_response(template_artefact(template).archive, name=template.name)


class _Groups(base.TenantView):
    """The caller's device groups."""

    model = DeviceGroup
    serializer_class = serializers.GroupSerializer

    def get_queryset(self) -> QuerySet[DeviceGroup]:
        """Return them newest first."""
        return group_rows_visible_to(self.request.user)

    def answer(self, group: DeviceGroup, *, code: int = status.HTTP_200_OK) -> Response:
        """Print a group as the database has it now."""
        return Response(self.get_serializer(self.get_queryset().get(pk=group.pk)).data, status=code)


class GroupListView(_Groups, mixins.ListModelMixin):
    """Device groups."""

    filterset_class: Any = GroupFilter
    search_fields: ClassVar = ("name", "description")
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("name", "created", "modified")}

    @base.operation("controller_group_list", {200: serializers.GroupSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List device groups, newest first."""
        return self.list(request)

    @base.operation("controller_group_create", {201: serializers.GroupSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create a device group."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(DeviceGroup):
            group = groups.managed_group_create(actor_id=request.user.pk, **sent)
        return self.answer(group, code=status.HTTP_201_CREATED)


class GroupDetailView(_Groups):
    """One device group."""

    @base.operation("controller_group_read", {200: serializers.GroupSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one device group."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("controller_group_update", {200: serializers.GroupSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Replace a device group; its members are computed anew in the background."""
        return self._change(request, partial=False)

    @base.operation("controller_group_partial_update", {200: serializers.GroupSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of a device group; templates that are not sent stay."""
        return self._change(request, partial=True)

    @base.operation("controller_group_delete", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a device group; its members lose its templates and variables."""
        groups.managed_group_delete(self.get_object(), actor_id=request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        group = self.get_object()
        sent = self.valid(self.get_serializer(group, data=request.data, partial=partial))
        with worded_for(DeviceGroup):
            groups.managed_group_update(group, actor_id=request.user.pk, **sent)
        return self.answer(group)
