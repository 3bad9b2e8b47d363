"""The device list and the device form."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from config_merge.admin.badges import seen_badge, status_badge
from config_merge.admin.device_pages import DevicePages
from config_merge.admin.forms import CONFIG_PARTS, DeviceForm, offered_templates
from config_merge.models import Backend, Config, Status
from config_merge.services import configs
from core.admin import json_text, secret_text
from core.crypto import digest
from devices.models import Device
from devices.queries import groups_visible_to
from tenancy.admin_base import OrganizationFilter, Refused, ScopedChoiceFilter, reason_of, refusals, several

NO_CONFIG = "none"


class StatusFilter(DropdownFilter):
    """By the status of the configuration."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all statuses, and the lack of one."""
        return [*Status.choices, (NO_CONFIG, "No configuration")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches; nothing matches an unknown value."""
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(config__isnull=True) if value == NO_CONFIG else queryset.filter(config__status=value)


class BackendFilter(DropdownFilter):
    """By the renderer."""

    title = "backend"
    parameter_name = "backend"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all backends."""
        return list(Backend.choices)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches."""
        return queryset.filter(config__backend=self.value()) if self.value() else queryset


class GroupFilter(ScopedChoiceFilter):
    """By device group."""

    title = "group"
    parameter_name = "group"
    field_name = "group"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the groups one may see."""
        return groups_visible_to(request.user).only("pk", "name").select_related(None).order_by("name", "pk")


class TemplateFilter(ScopedChoiceFilter):
    """By template."""

    title = "template"
    parameter_name = "template"
    field_name = "config__templates"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the templates one may see."""
        return offered_templates(request.user).select_related(None)


@admin.register(Device)
class DeviceAdmin(DevicePages):
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
    actions = ("deactivate_selected", "activate_selected", "delete_retired")
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

    # --- what people see of a device they may not edit ------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, the key is shown masked."""
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**options, "fields": tuple("shown_key" if name == "key" else name for name in options["fields"])})
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

    # --- list -------------------------------------------------------------------------------------------------------

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

    # --- writes -----------------------------------------------------------------------------------------------------

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

    def get_actions(self, request: HttpRequest) -> Any:
        """Our own deletion says what it leaves alone."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_any_permission(self, request: HttpRequest) -> bool:
        """Whether the user may delete devices somewhere."""
        return self.may(request, "delete")

    @action(description="Deactivate", permissions=["change"])
    def deactivate_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Take the selected devices out of service."""
        text = "They are handed an empty configuration, and then nothing until they are activated again."
        return self._bulk(request, queryset, verb="deactivate", done="deactivated", text=text, run=self._deactivate)

    @action(description="Activate", permissions=["change"])
    def activate_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Put the selected devices back into service."""
        text = "They get their default, required and group templates, and their own settings."
        return self._bulk(request, queryset, verb="activate", done="activated", text=text, run=self._activate)

    @action(description="Delete (deactivated ones only)", permissions=["delete_any"])
    def delete_retired(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Delete the selected devices that were deactivated."""
        text = "Devices that are not deactivated stay. Configurations and revisions of the others are deleted too."
        return self._bulk(request, queryset, verb="delete", done="deleted", text=text, run=self._delete)

    def _deactivate(self, request: HttpRequest, device: Device) -> None:
        configs.device_deactivate(device, actor_id=request.user.pk)
        self.log_change(request, device, "Deactivated.")

    def _activate(self, request: HttpRequest, device: Device) -> None:
        configs.device_activate(device, actor_id=request.user.pk)
        self.log_change(request, device, "Activated.")

    def _delete(self, request: HttpRequest, device: Device) -> None:
        pk = device.pk
        configs.device_delete(device)
        device.pk = pk
        self.log_deletions(request, [device])

    def _bulk(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *,
        verb: str, done: str, text: str, run: Callable[[HttpRequest, Device], None],
    ) -> HttpResponse | None:  # fmt: skip
        """Ask first, then do it to each device by itself, and say what was done and what was not."""
        devices = list(queryset.select_related("organization")[: self.bulk_limit + 1])
        if len(devices) > self.bulk_limit:
            messages.error(request, f"Select at most {self.bulk_limit:,} devices at once.")
            return None
        if "confirmed" not in request.POST:
            return self._ask(request, devices, verb=verb, text=text)
        action_name = "delete" if verb == "delete" else "change"
        finished, refused = 0, []
        for device in devices:
            if not self.may(request, action_name, device):
                refused.append(f"{device}: you may not {verb} it.")
                continue
            try:
                with refusals():
                    run(request, device)
                finished += 1
            except Refused as refusal:
                refused.append(f"{device}: {reason_of(refusal)}")
        if finished:
            messages.success(request, f"{several('device', finished)} {done}.")
        if refused:
            more = f" And {len(refused) - 5} more." if len(refused) > 5 else ""
            messages.warning(request, f"{several('device', len(refused))} left alone. {' '.join(refused[:5])}{more}")
        return None

    def _ask(self, request: HttpRequest, devices: list[Device], *, verb: str, text: str) -> TemplateResponse:
        hidden = [("action", request.POST["action"]), ("confirmed", "1"), ("index", request.POST.get("index", "0"))]
        hidden += [("_selected_action", str(device.pk)) for device in devices]
        context = {
            "title": f"{verb.capitalize()} {several('device', len(devices))}?",
            "items": [device.name for device in devices[:10]],
            "more": max(len(devices) - 10, 0),
            "back": request.get_full_path(),
            "button": verb.capitalize(),
            "danger": verb != "activate",
        }
        return self.page(request, "admin/tenancy/confirm.html", text=text, hidden=hidden, **context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add what the head of the page shows."""
        original = context.get("original")
        if original is not None:
            context.update(self.head(request, original, tab="change"))
            context["show_delete"] = original.is_deactivated
        return super().render_change_form(request, context, *args, **kwargs)

