"""Admin pages of boot configurations that were deleted: found, looked at, brought back."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from boot import editing, services
from boot.admin.base import BootAdmin, key_shown
from boot.admin.configs import BootConfigAdmin, KeyFilter, shown_to
from boot.admin.words import device_shown, moment
from boot.models import BootConfig, DeletedBootConfig
from boot.queries import deleted_configs_visible_to, versions_of
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.disclosure import disclosure_of


@admin.register(DeletedBootConfig)
class DeletedBootConfigAdmin(BootAdmin):
    """What machines booted until it was deleted."""

    list_display = ("shown_device", "shown_key", "organization", "deleted", "actor_name")
    list_filter = (OrganizationFilter, KeyFilter)
    list_select_related = ("organization", "api_key")
    search_fields = ("device", "api_key__name", "api_key__key_id")
    ordering = ("-at", "-number", "id")
    change_form_outer_before_template = "admin/boot/deleted_head.html"
    empty_title = "Nothing was deleted"
    empty_text = "What is deleted stays here with its last twenty versions, and can be brought back."

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return what can be brought back."""
        return deleted_configs_visible_to(request.user)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Those of configurations."""
        pages: Any = self.admin_site._registry[BootConfig]
        return list(BootConfigAdmin.ways(pages, request))

    def nav(self, request: HttpRequest, here: str) -> list[tuple[str, str, bool]]:
        """The list of these is another page of configurations."""
        return super().nav(request, "deleted")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The head says it all."""
        return ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They come from deletions."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are brought back, not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Their versions stay."""
        return False

    @display(description="Device", ordering="device")
    def shown_device(self, obj: Any) -> Any:
        """What it calls itself."""
        return device_shown(obj.device)

    @display(description="API key", ordering="api_key__name")
    def shown_key(self, obj: Any) -> str:
        """Its name; its id is in the tip."""
        return key_shown(obj.api_key)

    @display(description="Deleted", ordering="at")
    def deleted(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.at)

    def get_urls(self) -> list[URLPattern]:
        """Add the restoration."""
        view = self.admin_site.admin_view(self.restore_view)
        return [path("<str:pk>/restore/", view, name="boot_deletedbootconfig_restore"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Show what it was, version by version."""
        row = context.get("original")
        if row is not None:
            kept = versions_of(api_key_id=row.api_key_id, device=row.device).exclude(body="")
            context |= {
                "row": row,
                "versions": [
                    (version, editing.readable(shown_to(request, version, version.document)))
                    for version in kept.select_related("api_key")
                ],
                "restore_link": self.link("restore", row.pk) if self.may(request, "add", row) else "",
            }
        disclosure_of(request).write()
        return super().render_change_form(request, context, *args, **kwargs)

    def restore_view(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Bring it back, as it was last or in a version."""
        row: Any = self.get_object(request, pk)
        if row is None:
            return self.missing(request, pk)
        self.require(request, "add", row)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        number = request.POST.get("version", "")
        wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None
        try:
            with refusals():
                back = services.boot_config_restore(
                    api_key_id=row.api_key_id, device=row.device, number=wanted
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("change", pk))
        messages.success(request, f"The configuration of {back.device} is back.")
        return HttpResponseRedirect(reverse("admin:boot_bootconfig_change", args=[back.pk]))
