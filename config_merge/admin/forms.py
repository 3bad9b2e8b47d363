"""The forms of devices, groups and templates: model fields and the parts their services take beside them."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from config_merge.models import Backend, Config, Template
from config_merge.queries import templates_visible_to
from config_merge.services.assignment import usable_by
from core.admin import JsonObjectField, OrderedChoiceField, SecretInput
from devices.models import Device, DeviceGroup
from tenancy.admin_base import ServiceForm

CONFIG_PARTS = {
    "backend": "config_backend",
    "templates": "config_templates",
    "config": "config_config",
    "context": "config_context",
}


class TemplatesField(OrderedChoiceField):
    """Templates in merge order, labelled with what one needs to choose."""

    def label_from_instance(self, obj: Any) -> str:
        """Return name, scope and kind."""
        notes = [] if obj.organization_id else ["shared"]
        notes += ["required"] if obj.required else ["default"] if obj.default else []
        notes += [] if obj.backend == Backend.OPENWRT else [obj.get_backend_display()]
        return f"{obj.name} ({', '.join(notes)})" if notes else obj.name


def offered_templates(user: Any, organization_id: Any = None) -> QuerySet[Template]:
    """Return the templates to choose from, for one organization when it is known; without their contents."""
    templates = templates_visible_to(user).order_by("name", "pk").defer("config", "default_values", "notes")
    return templates.filter(usable_by(organization_id)) if organization_id else templates


class DeviceForm(ServiceForm):
    """A device and its configuration."""

    config_backend = forms.ChoiceField(
        label="Backend", choices=Backend.choices, required=False, widget=UnfoldAdminSelectWidget()
    )
    config_templates = TemplatesField(
        label="Templates", queryset=Template.objects.none(), required=False,
        help_text="Merged from top to bottom. Required templates that are missing are put back in front.",
    )  # fmt: skip
    config_config = JsonObjectField(
        label="Configuration",
        help_text="NetJSON of this device alone. It is merged after the templates, so it wins.",
    )
    config_context = JsonObjectField(
        label="Variables", help_text="Values for {{ variables }} of this device; they win over all others."
    )

    class Meta:
        model = Device
        fields = "__all__"
        widgets = {"key": SecretInput()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = not self.instance._state.adding
        config = Config.objects.filter(device_id=self.instance.pk).first() if known else None
        if "config_templates" not in self.fields:
            return
        field: Any = self.fields["config_templates"]
        field.queryset = offered_templates(
            self.request.user, self.instance.organization_id if known else None
        )
        self.initial["config_backend"] = config.backend if config else Backend.OPENWRT
        self.initial["config_config"] = config.config if config else {}
        self.initial["config_context"] = config.context if config else {}
        rows = config.config_templates.order_by("position", "pk") if config else []
        self.initial["config_templates"] = [str(row.template_id) for row in rows]
        if config is None:
            field.help_text = "Default and required templates and those of the group are added by themselves."

    def config_values(self) -> dict[str, Any]:
        """Return the parts of the configuration that were edited, as its service takes them.

        A device that moves to another organization gets that one's templates, so the old choice is left out.
        """
        wanted = {
            part: self.cleaned_data[name]
            for part, name in CONFIG_PARTS.items()
            if name in self.changed_data and name in self.cleaned_data
        }
        if not wanted.get("backend", True):
            del wanted["backend"]
        if not self.instance._state.adding and "organization" in self.changed_data:
            wanted.pop("templates", None)
        return wanted


class GroupForm(ServiceForm):
    """A device group and its templates."""

    templates = TemplatesField(
        queryset=Template.objects.none(), required=False,
        help_text="Every member gets them in this order. Default and required ones are assigned anyway.",
    )  # fmt: skip

    class Meta:
        model = DeviceGroup
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "templates" not in self.fields:
            return
        known = not self.instance._state.adding
        field: Any = self.fields["templates"]
        offered = offered_templates(self.request.user, self.instance.organization_id if known else None)
        field.queryset = offered.filter(default=False, required=False)
        rows = self.instance.group_templates.order_by("position", "pk") if known else []
        self.initial["templates"] = [str(row.template_id) for row in rows]


class TemplateForm(ServiceForm):
    """A template and its tags."""

    tags = forms.CharField(
        required=False, max_length=1024, widget=UnfoldAdminTextInputWidget(),
        help_text="Words, separated by blanks. A device that names one when it registers gets the template.",
    )  # fmt: skip

    class Meta:
        model = Template
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tags" in self.fields and not self.instance._state.adding:
            self.initial["tags"] = " ".join(self.instance.tag_rows.values_list("name", flat=True))
