"""Admin pages of tracks: what devices have said, as a timeline, and the way into the inventory."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from boot import services
from boot.admin.base import BootAdmin, key_shown
from boot.admin.configs import KeyFilter
from boot.admin.words import device_shown, moment
from boot.queries import device_of, devices_of, effective
from core.ages import ago
from core.clock import now
from devices.models import Device
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.policy import allows
from tenancy.queries import roles_of
from tracking.models import TrackedDevice
from tracking.queries import timeline_of, tracked_devices_visible_to

# What the boot API itself writes into a track: the colour of its dot, and what it says to people.
EVENTS = {
    "BOOT GET": ("info", "Fetched its configuration"),
    "BOOT POST": ("success", "Was given a configuration"),
    "BOOT DELETE": ("warning", "Its configuration was deleted"),
}


def said(text: str) -> str:
    """Return an entry as people read it."""
    return EVENTS[text][1] if text in EVENTS else text


@admin.register(TrackedDevice)
class TrackedDeviceAdmin(BootAdmin):
    """Devices that were heard of."""

    list_display = (
        "shown_device",
        "shown_key",
        "organization",
        "shown_inventory",
        "last_heard",
        "shown_last",
    )
    empty_title = "No device was heard of yet"
    empty_text = (
        "A machine appears here when it asks for its boot configuration for the first time, or says something of "
        "itself (POST /track/<its id>)."
    )
    list_filter = (OrganizationFilter, KeyFilter)
    list_select_related = ("organization", "api_key")
    search_fields = ("device",)
    change_form_outer_before_template = "admin/boot/track_head.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of the user's organizations."""
        return tracked_devices_visible_to(request.user)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The head says it all."""
        return ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Devices come by themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was said is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """It is forgotten after three months."""
        return False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Look up the inventory once for the whole page."""
        found = super().get_changelist_instance(request)
        rows = list(found.result_list)
        inventory = devices_of(rows)
        for row in rows:
            row.inventory = inventory.get(row.pk)
        found.result_list = rows
        return found

    @display(description="Device", ordering="device")
    def shown_device(self, obj: Any) -> Any:
        """What it calls itself."""
        return device_shown(obj.device)

    @display(description="API key", ordering="api_key__name")
    def shown_key(self, obj: Any) -> str:
        """Its name; its id is in the tip."""
        return key_shown(obj.api_key)

    @display(description="Last heard of", ordering="last_at")
    def last_heard(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.last_at)

    @display(description="Inventory")
    def shown_inventory(self, obj: Any) -> str:
        """The device that it is."""
        device: Device | None = getattr(obj, "inventory", None)
        if device is None:
            return format_html('<span class="mu-badge mu-badge--none">{}</span>', "not yet")
        return format_html('<a class="mu-link mu-nowrap" href="{}">{}</a>', device_link(device), device.name)

    @display(description="Last said")
    def shown_last(self, obj: Any) -> str:
        """Its newest entry."""
        text: str = obj.e9
        return said(text) if len(text) <= 60 else f"{text[:60]}…"

    def get_urls(self) -> list[URLPattern]:
        """Add the way into the inventory."""
        view = self.admin_site.admin_view(self.adopt_view)
        return [path("<uuid:pk>/adopt/", view, name="tracking_trackeddevice_adopt"), *super().get_urls()]

    def may_adopt(self, request: HttpRequest, row: TrackedDevice) -> bool:
        """Who may create devices of the organization may adopt."""
        user: Any = request.user
        return user.is_superuser or allows(roles_of(user).get(row.organization_id), "add", Device)

    def adopt_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Make a tracked device one of the inventory."""
        row: Any = self.get_object(request, str(pk))
        if row is None:
            return self.missing(request, pk)
        self.require(request, "view", row)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        by: Any = request.user
        if not self.may_adopt(request, row):
            return HttpResponse("Forbidden", status=403)
        try:
            with refusals():
                device = services.tracked_adopt(row, by=by, mac_address=request.POST.get("mac_address", ""))
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("change", pk))
        messages.success(request, f"{row.device} is the device {device.name} of the inventory.")
        return HttpResponseRedirect(device_link(device))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the timeline."""
        row = context.get("original")
        if row is not None:
            device = device_of(row)
            found = effective(api_key_id=row.api_key_id, device=row.device)
            present = now()
            context |= {
                "row": row,
                "last_ago": ago(row.last_at, at=present),
                "timeline": [
                    (at, ago(at, at=present), said(text), EVENTS.get(text, ("", ""))[0], text)
                    for at, text in reversed(timeline_of(row))
                ],
                "inventory": device,
                "inventory_link": device_link(device) if device else "",
                "adopt_link": self.link("adopt", row.pk) if self.may_adopt(request, row) else "",
                "config": found.config if found else None,
                "config_link": reverse("admin:boot_bootconfig_change", args=[found.config.pk])
                if found
                else "",
                "is_own": found.is_own if found else False,
            }
        return super().render_change_form(request, context, *args, **kwargs)


def device_link(device: Device) -> str:
    """Return the page of a device of the inventory."""
    return reverse("admin:devices_device_change", args=[device.pk])
