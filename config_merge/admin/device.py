"""The device list and the device form."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.decorators import display

from config_merge.admin.badges import seen_badge, status_badge
from config_merge.admin.bulk import DeviceActions
from config_merge.admin.filters import BackendFilter, GroupFilter, StatusFilter, TemplateFilter
from config_merge.admin.forms import CONFIG_PARTS, DeviceForm
from config_merge.models import Config
from config_merge.services import configs
from core.admin import json_text, secret_text
from core.crypto import digest
from devices.models import Device
from tenancy.admin_base import OrganizationFilter


@admin.register(Device)
class DeviceAdmin(DeviceActions):
    """Devices with their configurations."""

    form = DeviceForm
    list_display = ("name", "shown_status", "mac_address", "model", "organization", "group", "seen")
    list_select_related = ("organization", "group", "config")
    list_deferred = (
        "key", "notes", "config__config", "config__context", "group__context", "group__meta_data",
        "organization__description",
    )  # fmt: skip
    list_filter = (StatusFilter, BackendFilter, OrganizationFilter, GroupFilter, TemplateFilter)
    search_fields = ("name", "mac_address", "model", "os")
    search_help_text = "Name, MAC address, model, operating system, or a whole key"
    ordering = ("-created", "id")
    readonly_fields = ("last_ip",)
    change_form_outer_before_template = "admin/config_merge/device_head.html"

    class Media:
        js = ("core/secrets.js",)

    fieldsets = (
        (None, {"fields": ("name", "mac_address", "organization", "group", "key")}),
        (
            "Configuration",
            {"fields": ("config_templates", "config_config", "config_context", "config_backend")},
        ),
        (
            "Equipment",
            {
                "fields": ("model", "os", "system", "hardware_id", "management_ip", "last_ip", "notes"),
                "classes": ("collapse",),
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, the key is shown masked."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (
                title,
                {
                    **options,
                    "fields": tuple("shown_key" if name == "key" else name for name in options["fields"]),
                },
            )
            for title, options in fieldsets
        ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A deactivated device is looked at, not edited."""
        return self.may(request, "change", obj) and not (obj is not None and obj.is_deactivated)

    @display(description="Key")
    def shown_key(self, obj: Any) -> str:
        """Masked."""
        return secret_text(obj.key)

    def config_of(self, obj: Any) -> Config | None:
        """Return the device's configuration, read once per page."""
        config: Config | None = getattr(obj, "config", None)
        return config

    @display(description="Backend")
    def config_backend(self, obj: Any) -> str:
        """In words."""
        config = self.config_of(obj)
        return config.get_backend_display() if config else "-"

    @display(description="Templates")
    def config_templates(self, obj: Any) -> str:
        """In order."""
        config = self.config_of(obj)
        rows = config.config_templates.select_related("template").order_by("position", "pk") if config else []
        return ", ".join(row.template.name for row in rows) or "-"

    @display(description="Configuration")
    def config_config(self, obj: Any) -> str:
        """As text."""
        config = self.config_of(obj)
        return json_text(config.config if config else {})

    @display(description="Variables")
    def config_context(self, obj: Any) -> str:
        """As text."""
        config = self.config_of(obj)
        return json_text(config.context if config else {})

    @display(description="Status", ordering="config__status")
    def shown_status(self, obj: Any) -> str:
        """A coloured badge."""
        return status_badge(self.config_of(obj))

    @display(description="Last seen", ordering="last_seen")
    def seen(self, obj: Any) -> str:
        """How long ago, with a dot."""
        return seen_badge(obj.last_seen)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Search by words; a whole key is found by its digest, since keys are stored encrypted."""
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if " " in search_term or len(search_term) < 8:
            return found, duplicates
        words = Q(*((f"{name}__icontains", search_term) for name in self.search_fields), _connector=Q.OR)
        return queryset.filter(words | Q(key_digest=digest(search_term))), duplicates

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Device:
        """Create or change device and configuration through their service."""
        try:
            if change:
                return configs.managed_device_update(
                    obj, config=form.config_values() or None, actor_id=request.user.pk, **form.values()
                )
            return configs.managed_device_create(
                config=form.config_values(), actor_id=request.user.pk, **form.values()
            )
        except configs.ConfigInvalid as invalid:
            raise ValidationError(
                {CONFIG_PARTS.get(name, name): texts for name, texts in invalid.error.message_dict.items()}
            ) from invalid

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service, which insists on a deactivated device."""
        configs.device_delete(obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say at once what the service would refuse."""
        device = self.get_object(request, object_id)
        if device is not None and self.has_delete_permission(request, device) and not device.is_deactivated:
            messages.error(request, "The device must be deactivated before it can be deleted.")
            return HttpResponseRedirect(self.link("change", device.pk))
        return super().delete_view(request, object_id, extra_context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add what the head of the page shows."""
        original = context.get("original")
        if original is not None:
            context.update(self.head(request, original, tab="change"))
            context["show_delete"] = original.is_deactivated
        return super().render_change_form(request, context, *args, **kwargs)
