"""Admin page of configuration tasks: what is on its way, what arrived, and what did not."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from config_merge.admin.badges import state_badge
from config_merge.delivery import again, queue
from config_merge.delivery.states import OPEN
from config_merge.models import ConfigTask
from config_merge.queries import sites_visible_to
from core.ages import ago
from core.clock import now
from core.redaction import redacted_text
from devices.models import Device
from tenancy.admin_base import Refused, ScopedAdmin, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter, ScopedChoiceFilter

OPEN_ONES = "open"


@dataclass(frozen=True, slots=True)
class Step:
    """One word of a device about a task."""

    at: datetime
    step: str
    message: str


def steps_of(task: ConfigTask) -> list[Step]:
    """Return what a device told of a task, without what looks like a secret."""
    return [
        Step(datetime.fromisoformat(at), str(step), redacted_text(str(message)))
        for at, step, message in task.log
    ]


class StateFilter(DropdownFilter):
    """By state; those that have not ended come first."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all states."""
        return [(OPEN_ONES, "Not ended"), *ConfigTask.State.choices]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches; nothing matches an unknown value."""
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(state__in=OPEN if value == OPEN_ONES else [value])


class OwnerFilter(OrganizationFilter):
    """By the organization of the device."""

    field_name = "device__organization"


class SiteFilter(ScopedChoiceFilter):
    """By the site of the device when the task was written."""

    title = "site"
    parameter_name = "site"
    field_name = "site_id"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the sites one may see."""
        return sites_visible_to(request.user).select_related(None).only("pk", "name").order_by("name", "pk")


def done(request: HttpRequest, run: Callable[[], Any], *, said: str) -> None:
    """Do something for a device by its service, and say what became of it."""
    try:
        with refusals():
            run()
    except Refused as refused:
        messages.error(request, reason_of(refused))
    else:
        messages.success(request, said)


@admin.register(ConfigTask)
class ConfigTaskAdmin(ScopedAdmin):
    """What is on its way to devices; written by what changes them, and by "push again"."""

    organization_path = "device__organization"
    list_display = (
        "shown_device",
        "revision_link",
        "shown_state",
        "kind",
        "tries",
        "when",
        "ended",
        "shown_error",
    )
    list_display_links = ("shown_device",)
    list_select_related = ("device",)
    list_deferred = ("log", "device__key", "device__notes")
    list_filter = (StateFilter, OwnerFilter, SiteFilter)
    search_fields = ("device__name",)
    search_help_text = "A part of the device's name"
    ordering = ("-created", "id")
    fields = (
        "device_link", "revision_link", "shown_state", "kind", "attempt", "created", "due_at", "sent_at",
        "started_at", "finished_at", "deadline", "checksum", "shown_error",
    )  # fmt: skip
    readonly_fields = fields
    change_form_outer_before_template = "admin/config_merge/task_head.html"

    class Media:
        js = ("config_merge/presence.js",)
        css = {"all": ("config_merge/device.css",)}

    def organization_id_of(self, obj: Any) -> UUID | None:
        """It is the device's."""
        identifier: UUID = obj.device.organization_id
        return identifier

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Changes write them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are looked at; what can be done has buttons of its own."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They go by themselves, after 90 days."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Add what can be done."""
        views = (("cancel", self.cancel_view), ("push-again", self.push_view))
        own = [
            path(
                f"<uuid:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"config_merge_configtask_{name.replace('-', '_')}",
            )
            for name, view in views
        ]
        return [*own, *super().get_urls()]

    @display(description="Device", ordering="device__name")
    def shown_device(self, obj: Any) -> str:
        """Its name."""
        return format_html('<span class="mu-cut" title="{0}">{0}</span>', str(obj.device))

    @display(description="Device")
    def device_link(self, obj: Any) -> str:
        """A link to it."""
        link = reverse("admin:devices_device_change", args=[obj.device_id])
        return format_html('<a class="mu-link" href="{}">{}</a>', link, obj.device.name)

    @display(description="Revision", ordering="number")
    def revision_link(self, obj: Any) -> str:
        """A link to what is sent."""
        link = reverse("admin:devices_device_revision", args=[obj.device_id, obj.number])
        return format_html('<a class="mu-link" href="{}">{}</a>', link, obj.number)

    @display(description="State", ordering="state")
    def shown_state(self, obj: Any) -> str:
        """A coloured badge that stays current."""
        return state_badge(obj)

    @display(description="Attempts", ordering="attempt")
    def tries(self, obj: Any) -> int:
        """How often it was sent."""
        count: int = obj.attempt
        return count

    @display(description="Written", ordering="created")
    def when(self, obj: Any) -> str:
        """How long ago."""
        return _age(obj.created)

    @display(description="Ended", ordering="finished_at")
    def ended(self, obj: Any) -> str:
        """How long ago."""
        return _age(obj.finished_at)

    @display(description="Error")
    def shown_error(self, obj: Any) -> str:
        """What the device, or we, said."""
        text = redacted_text(obj.error)
        return format_html('<span class="mu-cut" title="{}">{}</span>', text, text[:80] or "-")

    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Take a task back."""
        return self._act(request, pk, run=queue.cancel, said="The push was taken back.")

    def push_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Give the device what it should have once more."""
        return self._act(
            request,
            pk,
            run=lambda task: again.push_again(task.device, actor_id=request.user.pk),
            said="The configuration is pushed again.",
        )

    def _act(
        self, request: HttpRequest, pk: UUID, *, run: Callable[[ConfigTask], Any], said: str
    ) -> HttpResponse:
        task = self.get_object(request, str(pk))
        if task is None:
            return self.missing(request, pk)
        self.require(request, "change", task)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        done(request, lambda: run(task), said=said)
        return HttpResponseRedirect(self.link("change", pk))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the device's own words, and the buttons."""
        original = context.get("original")
        if original is not None:
            context["steps"] = steps_of(original)
            context["may_act"] = self.may(request, "change", original)
            context["may_cancel"] = original.state in (ConfigTask.State.PENDING, ConfigTask.State.SENT)
            device: Device = original.device
            context["delivery_link"] = reverse("admin:devices_device_delivery", args=[device.pk])
        return super().render_change_form(request, context, *args, **kwargs)


def _age(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    stamp = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html('<time class="mu-nowrap" title="{}">{}</time>', stamp, ago(moment, at=now()))
