"""The device list and the device form."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.decorators import display

from config_merge.admin.badges import config_badge, seen_badge
from config_merge.admin.bulk import DeviceActions
from config_merge.admin.exchange import DeviceExchange
from config_merge.admin.filters import BackendFilter, GroupFilter, StatusFilter, TemplateFilter
from config_merge.admin.forms import CONFIG_PARTS, DeviceForm
from config_merge.admin.hidden import inputs_of, secret_variable_names
from config_merge.admin.listing import counted, searched
from config_merge.models import Config
from config_merge.services import configs
from core.admin import json_text, secret_text
from core.secret_fields import hidden_object
from devices.models import Device
from devices.queries import with_presence
from tenancy.admin_filters import OrganizationFilter


@admin.register(Device)
class DeviceAdmin(DeviceExchange, DeviceActions):
    """Devices with their configurations."""

    form = DeviceForm
    list_display = ("name", "shown_status", "mac_address", "model", "organization", "group", "seen")
    list_select_related = ("organization", "group", "config")
    list_deferred = (
        "key", "notes", "config__config", "config__context", "group__context", "group__meta_data",
        "organization__description",
    )  # fmt: skip
    list_filter = (StatusFilter, BackendFilter, OrganizationFilter, GroupFilter, TemplateFilter)
    search_fields = ("name", "mac_address", "model", "os", "system", "last_ip", "management_ip")
    search_help_text = "Name, MAC or IP address, model, operating system, SoC, or a whole key"
    ordering = ("-created", "id")
    readonly_fields = ("last_ip",)
    change_form_outer_before_template = "admin/config_merge/device_head.html"

    secret_fields = ("key",)

    class Media:
        js = ("core/secrets.js", "config_merge/device-form.js", "config_merge/presence.js")
        css = {"all": ("config_merge/device.css",)}

    fieldsets = (
        (None, {"fields": ("name", "mac_address", "organization", "group", "key")}),
        (
            "Configuration",
            {
                "fields": (
                    "config_backend",
                    "config_templates",
                    "config_context",
                    "config_config",
                    "config_templates_complete",
                )
            },
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
                    "fields": tuple(
                        "shown_key" if name == "key" else name
                        for name in options["fields"]
                        if name != "config_templates_complete"
                    ),
                },
            )
            for title, options in fieldsets
        ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Read with the devices whether they are online."""
        return with_presence(super().get_queryset(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A deactivated device is looked at, not edited."""
        return self.may(request, "change", obj) and not (obj is not None and obj.is_deactivated)

    @display(description="Key")
    def shown_key(self, obj: Any) -> str:
        """Masked."""
        return secret_text(obj.key, reveal_url=getattr(obj, "reveal_url", ""))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Say with the device where its secrets are revealed, for the fields that cannot know who reads them."""
        device: Any = super().get_object(request, object_id, from_field)
        if device is not None:
            device.reveal_url = self.reveal_url(request, device)
        return device

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
        """As text, with marks."""
        config = self.config_of(obj)
        return json_text(hidden_object(config.config) if config else {})

    @display(description="Variables")
    def config_context(self, obj: Any) -> str:
        """As text, with marks."""
        config = self.config_of(obj)
        item = inputs_of(config)
        names = secret_variable_names(item) if item is not None else set()
        return json_text(hidden_object(config.context, names) if config else {})

    @display(description="Status", ordering="config__status")
    def shown_status(self, obj: Any) -> str:
        """A coloured badge."""
        return config_badge(obj, self.config_of(obj))

    @display(description="Last seen", ordering="last_seen")
    def seen(self, obj: Any) -> str:
        """How long ago, with a dot."""
        return seen_badge(obj)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Search as the REST list does: every word somewhere, or a whole key."""
        return searched(queryset, search_term), False

    def get_paginator(
        self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any
    ) -> "Paginator[Any]":
        """Take the number of devices from the counters where these know it."""
        paginator: Paginator[Any] = super().get_paginator(request, queryset, *args, **kwargs)
        count = counted(request)
        if count is not None:
            paginator.count = count
        return paginator

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Device:
        """Create or change device and configuration through their service."""
        try:
            if change:
                return configs.managed_device_update(
                    obj, config=form.config_values() or None, actor_id=request.user.pk, **form.values()
                )
            return self._create(request, form)
        except configs.ConfigInvalid as invalid:
            raise ValidationError(
                {CONFIG_PARTS.get(name, name): texts for name, texts in invalid.error.message_dict.items()}
            ) from invalid

    @transaction.atomic
    def _create(self, request: HttpRequest, form: Any) -> Device:
        """Create; a list of templates that is complete also says which automatic ones are not wanted, and the order."""
        wanted, exact = form.config_values(), form.exact_templates()
        device = configs.managed_device_create(config=wanted, actor_id=request.user.pk, **form.values())
        config = configs.config_of(device)
        if exact is not None and config is not None:
            with configs.config_errors():
                configs.config_update(config, templates=exact, actor_id=request.user.pk)
        return device

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
        context["device_form"] = original is None or self.has_change_permission(request, original)
        return super().render_change_form(request, context, *args, **kwargs)
