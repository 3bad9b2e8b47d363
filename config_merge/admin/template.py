"""Admin page of templates: what they say, who uses them, and how far a change has got."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db import models
from django.db.models import F, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from config_merge.admin.clones import TemplateClones
from config_merge.admin.editor import ContentEditor
from config_merge.admin.effect import MOST_DEVICES, EffectPanel
from config_merge.admin.forms import TemplateForm
from config_merge.carrying import secret_default_values
from config_merge.models import ConfigTemplate, Template
from config_merge.queries import template_users
from config_merge.services import job_previews, preview, templates
from config_merge.services.preview import Preview
from core.admin import json_text
from core.secret_fields import hidden_object
from tenancy.admin_filters import ScopedChoiceFilter
from tenancy.admin_secrets import SecretsAdmin
from tenancy.queries import organizations_visible_to, restrict

SHARED = "shared"


class ScopeFilter(ScopedChoiceFilter):
    """By organization, or what all share."""

    title = "organization"
    parameter_name = "organization"
    field_name = "organization"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the user's organizations."""
        return organizations_visible_to(request.user)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Add the shared ones."""
        return [(SHARED, "Shared"), *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches."""
        if self.value() == SHARED:
            return queryset.filter(organization__isnull=True)
        return super().queryset(request, queryset)


def progress(template: Template, user: Any) -> dict[str, int]:
    """Return how many of the user's devices use a template, and how many wait to be computed."""
    return template_users(template.pk, user).aggregate(
        devices=models.Count("pk"),
        stale=models.Count("pk", filter=models.Q(generation__gt=F("computed_generation"))),
    )


@admin.register(Template)
class TemplateAdmin(SecretsAdmin, TemplateClones, ContentEditor, EffectPanel):
    """Parts of configurations. Those without an organization are written by superusers, read by all."""

    form = TemplateForm
    has_shared = True
    list_display = ("name", "scope", "kind", "backend", "tag_words", "device_count", "modified")
    list_select_related = ("organization",)
    list_deferred = ("config", "default_values", "notes")
    list_filter = (ScopeFilter, "backend", "default", "required")
    search_fields = ("name", "tag_rows__name")
    ordering = ("name", "id")
    change_form_outer_before_template = "admin/config_merge/template_head.html"
    effect_fields = frozenset({"config", "default_values", "backend", "default", "required", "organization"})
    effect_of_new = True
    redacted_fields = ("config", "default_values")

    class Media:
        js = ("core/secrets.js",)

    fieldsets = (
        (None, {"fields": ("name", "organization", "backend")}),
        ("Content", {"fields": ("config", "default_values")}),
        ("Who gets it", {"fields": ("default", "required", "tags")}),
        ("Notes", {"fields": ("notes",), "classes": ("collapse",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, JSON is shown as text."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown = {"config": "shown_config", "default_values": "shown_values"}
        return [
            (title, {**options, "fields": tuple(shown.get(name, name) for name in options["fields"])})
            for title, options in fieldsets
        ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Count the user's own devices in the same query."""
        users = restrict(ConfigTemplate.objects.all(), request.user, path="config__device__organization")
        counted = users.filter(template=models.OuterRef("pk")).order_by().values("template")
        total = counted.annotate(total=models.Count("pk")).values("total")
        return super().get_queryset(request).annotate(device_total=Coalesce(models.Subquery(total), 0))

    def get_urls(self) -> list[URLPattern]:
        """Add what the progress bar asks for."""
        view = self.admin_site.admin_view(self.progress_view)
        return [path("<uuid:pk>/progress/", view, name="config_merge_template_progress"), *super().get_urls()]

    @display(description="Organization", ordering="organization__name")
    def scope(self, obj: Any) -> str:
        """Whose it is."""
        if obj.organization_id is None:
            return format_html('<span class="mu-badge mu-badge--info">{}</span>', "shared")
        return str(obj.organization)

    @display(description="Assigned")
    def kind(self, obj: Any) -> str:
        """Whether devices get it by themselves."""
        if not obj.default:
            return "by choice"
        tone, word = ("warning", "required") if obj.required else ("success", "default")
        return format_html('<span class="mu-badge mu-badge--{}">{}</span>', tone, word)

    @display(description="Tags")
    def tag_words(self, obj: Any) -> str:
        """All of them."""
        return ", ".join(tag.name for tag in obj.tag_rows.all()) or "-"

    @display(description="Devices", ordering="device_total")
    def device_count(self, obj: Any) -> str:
        """A link to the devices with it."""
        link = f"{reverse('admin:devices_device_changelist')}?template={obj.pk}"
        return format_html('<a class="mu-link" href="{}">{}</a>', link, f"{obj.device_total:,}")

    @display(description="Tags")
    def tags(self, obj: Any) -> str:
        """All of them."""
        return self.tag_words(obj)

    @display(description="Configuration")
    def shown_config(self, obj: Any) -> str:
        """As text."""
        return json_text(hidden_object(obj.config))

    @display(description="Default values")
    def shown_values(self, obj: Any) -> str:
        """As text."""
        return json_text(hidden_object(obj.default_values, self.secret_names(obj, "default_values")))

    def secret_names(self, obj: Any, part: str) -> Iterable[str]:
        """A default value that ends up at a secret place, here or in another template, is one."""
        return secret_default_values(obj) if part == "default_values" else ()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read the tags of the page in one query."""
        page = super().get_changelist_instance(request)
        prefetch_related_objects(list(page.result_list), "tag_rows")
        return page

    def edited(self, form: Any) -> dict[str, Any]:
        """Return what the service is told."""
        return {**form.values(), "tags": form.cleaned_data.get("tags", "").split()}

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what an edit, or a new template, does to the devices it reaches."""
        return preview.template_preview(obj, self.edited(form), limit=MOST_DEVICES)

    def proposed(self, obj: Any, form: Any) -> dict[str, Any]:
        """Return the same for a job."""
        return job_previews.packed(kind="template", pk=obj.pk if obj else None, changes=self.edited(form))

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Template:
        """Create or change through the service; its devices follow in the background."""
        values: dict[str, Any] = {**self.edited(form), "actor_id": request.user.pk}
        return templates.template_update(obj, **values) if change else templates.template_create(**values)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service; its devices are computed anew without it."""
        templates.template_delete(obj, actor_id=request.user.pk)

    def progress_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say how many devices still wait, as JSON for the page's script."""
        template = self.get_object(request, str(pk))
        if template is None:
            return self.missing(request, pk)
        self.require(request, "view", template)
        response = JsonResponse(progress(template, request.user))
        response["Cache-Control"] = "no-store"
        return response

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add usage and progress."""
        original = context.get("original")
        if original is not None:
            context["progress"] = progress(original, request.user)
            context["users_link"] = f"{reverse('admin:devices_device_changelist')}?template={original.pk}"
            context["progress_link"] = self.link("progress", original.pk)
        return super().render_change_form(request, context, *args, **kwargs)
