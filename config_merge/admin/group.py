"""Admin page of device groups, with their templates and variables."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from unfold.decorators import display

from config_merge.admin.effect import MOST_DEVICES, EffectPanel
from config_merge.admin.forms import GroupForm
from config_merge.carrying import secret_names_of
from config_merge.services import groups, job_previews, preview
from config_merge.services.preview import Preview
from core.admin import json_text
from core.secret_fields import hidden_object
from devices.models import DeviceGroup
from tenancy.admin_filters import OrganizationFilter
from tenancy.admin_secrets import SecretsAdmin


@admin.register(DeviceGroup)
class DeviceGroupAdmin(SecretsAdmin, EffectPanel):
    """Devices that belong together."""

    form = GroupForm
    redacted_fields = ("context", "meta_data")
    list_display = ("name", "organization", "device_count", "template_count", "created")
    list_select_related = ("organization",)
    list_deferred = ("context", "meta_data")
    list_filter = (OrganizationFilter,)
    search_fields = ("name", "description")
    ordering = ("name", "id")
    change_form_outer_before_template = "admin/config_merge/group_head.html"

    class Media:
        js = ("core/secrets.js",)

    effect_fields = frozenset({"templates", "context", "organization"})
    fieldsets = (
        (None, {"fields": ("name", "organization", "description")}),
        ("What its devices get", {"fields": ("templates", "context")}),
        ("About the group", {"fields": ("meta_data",), "classes": ("collapse",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, JSON is shown as text."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown = {"context": "shown_context", "meta_data": "shown_meta"}
        return [
            (title, {**options, "fields": tuple(shown.get(name, name) for name in options["fields"])})
            for title, options in fieldsets
        ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Count in the same query."""
        return (
            super()
            .get_queryset(request)
            .annotate(
                device_total=models.Count("devices", distinct=True),
                template_total=models.Count("group_templates", distinct=True),
            )
        )

    @display(description="Devices", ordering="device_total")
    def device_count(self, obj: Any) -> int:
        """How many members it has."""
        count: int = obj.device_total
        return count

    @display(description="Templates", ordering="template_total")
    def template_count(self, obj: Any) -> int:
        """How many templates it gives."""
        count: int = obj.template_total
        return count

    @display(description="Templates")
    def templates(self, obj: Any) -> str:
        """In order."""
        rows = obj.group_templates.select_related("template").order_by("position", "pk")
        return ", ".join(row.template.name for row in rows) or "-"

    @display(description="Variables")
    def shown_context(self, obj: Any) -> str:
        """As text."""
        return json_text(hidden_object(obj.context, self.secret_names(obj, "context")))

    @display(description="Metadata")
    def shown_meta(self, obj: Any) -> str:
        """As text."""
        return json_text(hidden_object(obj.meta_data or {}, self.secret_names(obj, "meta_data")))

    def secret_names(self, obj: Any, part: str) -> Iterable[str]:
        """A variable that a template of the organization puts at a secret place is one."""
        return secret_names_of([obj.organization_id])

    def edited(self, form: Any) -> dict[str, Any]:
        """Return what the service is told; templates only when they were edited."""
        values: dict[str, Any] = form.values()
        if "templates" in form.changed_data:
            values["templates"] = form.cleaned_data["templates"]
        return values

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what an edit does to the members."""
        return preview.group_preview(obj, self.edited(form), limit=MOST_DEVICES)

    def proposed(self, obj: Any, form: Any) -> dict[str, Any]:
        """Return the same for a job."""
        return job_previews.packed(kind="group", pk=obj.pk, changes=self.edited(form))

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> DeviceGroup:
        """Create or change through the service."""
        values: dict[str, Any] = {**self.edited(form), "actor_id": request.user.pk}
        return groups.managed_group_update(obj, **values) if change else groups.managed_group_create(**values)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service; members lose its templates and variables."""
        groups.managed_group_delete(obj, actor_id=request.user.pk)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Link to the members."""
        original = context.get("original")
        if original is not None:
            context["member_count"] = original.devices.count()
            context["members_link"] = f"{reverse('admin:devices_device_changelist')}?group={original.pk}"
        return super().render_change_form(request, context, *args, **kwargs)
