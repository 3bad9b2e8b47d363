"""Admin page of devices that were deleted: read, and brought back."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from config_merge.exchange.models import DeletedDevice
from config_merge.exchange.queries import deleted_devices_visible_to
from config_merge.models import Status
from config_merge.services.recovery import device_restore
from tenancy.admin_base import Refused, ScopedAdmin, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter


@admin.register(DeletedDevice)
class DeletedDeviceAdmin(ScopedAdmin):
    """Devices of the last thirty days that can be restored."""

    list_display = ("name", "mac_address", "organization", "last_status", "deleted", "deleted_by")
    list_select_related = ("organization",)
    list_deferred = ("snapshot",)
    list_filter = (OrganizationFilter,)
    search_fields = ("name", "mac_address")
    ordering = ("-created", "id")
    fields = ("name", "mac_address", "device_id", "organization", "last_status", "deleted", "deleted_by")
    readonly_fields = fields
    change_form_outer_before_template = "admin/config_merge/deleted_head.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return what can still be restored."""
        return deleted_devices_visible_to(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They come from deletions."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are restored, not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They go by themselves."""
        return False

    @display(description="Last status", ordering="status")
    def last_status(self, obj: Any) -> str:
        """In words."""
        return Status(obj.status).label if obj.status in Status.values else "no configuration"

    @display(description="Deleted", ordering="created")
    def deleted(self, obj: Any) -> Any:
        """When it was deleted."""
        return obj.created

    def get_urls(self) -> list[URLPattern]:
        """Add the restoration."""
        view = self.admin_site.admin_view(self.restore_view)
        return [
            path("<uuid:pk>/restore/", view, name="config_merge_deleteddevice_restore"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Offer to restore it."""
        original = context.get("original")
        if original is not None and self.may(request, "add", original):
            context["restore_link"] = self.link("restore", original.pk)
        return super().render_change_form(request, context, *args, **kwargs)

    def restore_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Bring the device back after a question."""
        kept = self.get_object(request, str(pk))
        if kept is None:
            return self.missing(request, pk)
        self.require(request, "add", kept)
        if request.method in ("GET", "HEAD"):
            return self.confirm(
                request,
                original=kept,
                title=f"Restore {kept.name}?",
                text="It comes back with its id, its key, its own configuration and those of its templates that "
                "still exist. Its revisions are gone, so it is configured anew.",
                button="Restore",
            )
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "POST"])
        try:
            with refusals():
                restored = device_restore(kept, actor_id=request.user.pk)
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("change", pk))
        messages.success(request, f"{kept.name} was restored.")
        for text in restored.skipped:
            messages.warning(request, text)
        return HttpResponseRedirect(reverse("admin:devices_device_change", args=[restored.device.pk]))
