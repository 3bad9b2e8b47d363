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

from core.admin import json_text, secret_text
from core.secret_fields import hidden_object
from devices import services
from devices.models import FleetSettings
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_secrets import SecretsAdmin


@admin.register(FleetSettings)
class FleetSettingsAdmin(SecretsAdmin):
    """How an organization's devices register, and the variables they share."""

    secret_fields = ("shared_secret",)
    redacted_fields = ("context",)
    list_display = ("organization", "registration_enabled", "limit", "device_count")
    list_select_related = ("organization",)
    list_deferred = ("shared_secret", "context")
    list_display_links = ("organization",)
    search_fields = ("organization__name", "organization__slug")
    ordering = ("organization__name",)
    readonly_fields = ("organization",)
    change_form_outer_before_template = "admin/devices/fleet_head.html"

    class Media:
        js = ("core/secrets.js",)

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

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, secrets are dots and marks."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown = {"shared_secret": "shown_secret", "context": "shown_context"}
        return [
            (title, {**options, "fields": tuple(shown.get(name, name) for name in options["fields"])})
            for title, options in fieldsets
        ]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Say with the row where its secrets are revealed, for the fields that cannot know who reads them."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.reveal_url = self.reveal_url(request, row)
        return row

    @display(description="Shared secret")
    def shown_secret(self, obj: Any) -> str:
        """Masked."""
        reveal_url = getattr(obj, "reveal_url", "")
        return secret_text(obj.shared_secret, reveal_url=reveal_url, part="shared_secret")

    @display(description="Variables")
    def shown_context(self, obj: Any) -> str:
        """As text, with marks."""
        return json_text(hidden_object(obj.context, self.secret_names(obj, "context")))

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
        """Change through the service."""
        return services.fleet_settings_update(obj, **form.values())

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
