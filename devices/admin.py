"""Admin page of organizations' fleet settings.

Devices and groups show configurations, so their pages are in config_merge.
"""

import secrets
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from unfold.decorators import display

from core.admin import SecretInput
from devices import services
from devices.models import FleetSettings
from tenancy.admin_base import Refused, ScopedAdmin, reason_of, refusals


@admin.register(FleetSettings)
class FleetSettingsAdmin(ScopedAdmin):
    """How an organization's devices register, and the variables they share."""

    list_display = ("organization", "registration_enabled", "limit", "device_count")
    list_select_related = ("organization",)
    list_deferred = ("shared_secret", "context")
    list_display_links = ("organization",)
    search_fields = ("organization__name", "organization__slug")
    ordering = ("organization__name",)
    readonly_fields = ("organization",)
    change_form_outer_before_template = "admin/devices/fleet_head.html"
    fieldsets = (
        (None, {"fields": ("organization", "registration_enabled", "shared_secret", "device_limit")}),
        ("Variables", {"fields": ("context",)}),
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Count devices in the same query."""
        return super().get_queryset(request).annotate(devices=models.Count("organization__devices"))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They come with the organization."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They go with the organization."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Mask the secret, and post beside it what it was when the form was rendered."""
        if db_field.name == "shared_secret":
            kwargs |= {"widget": SecretInput(), "show_hidden_initial": True}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @display(description="Devices", ordering="devices")
    def device_count(self, obj: Any) -> int:
        """How many there are."""
        count: int = obj.devices
        return count

    @display(description="Limit", ordering="device_limit")
    def limit(self, obj: Any) -> str:
        """In words where the number has a meaning of its own."""
        if obj.device_limit is None:
            return "closed"
        return f"{obj.device_limit:,}" if obj.device_limit else "unlimited"

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> FleetSettings:
        """Change through the service; a secret nobody edited here may have been replaced since."""
        values = form.values()
        if "shared_secret" not in form.changed_data:
            values.pop("shared_secret", None)
        return services.fleet_settings_update(obj, **values)

    def get_urls(self) -> list[URLPattern]:
        """Add the rotation of the secret."""
        own = path(
            "<uuid:pk>/rotate/",
            self.admin_site.admin_view(self.rotate_view),
            name="devices_fleetsettings_rotate",
        )
        return [own, *super().get_urls()]

    def rotate_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Replace the shared secret by a random one after a question."""
        settings_row = self.get_object(request, str(pk))
        if settings_row is None:
            return self.missing(request, pk)
        self.require(request, "change", settings_row)
        if request.method != "POST":
            return self.confirm(
                request,
                original=settings_row,
                title="Replace the shared secret",
                text="New devices must register with the new secret. Devices that are registered keep "
                "working; to register again they need the new one too.",
                button="Replace it",
                danger=True,
            )
        try:
            with refusals():
                services.fleet_settings_update(settings_row, shared_secret=secrets.token_hex(16))
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            self.log_change(request, settings_row, "Replaced the shared secret.")
            messages.success(request, "The shared secret was replaced.")
        return HttpResponseRedirect(self.link("change", pk))
