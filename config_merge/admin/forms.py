"""The forms of devices, groups and templates: model fields and the parts their services take beside them."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from config_merge.admin.editor import schema_aware
from config_merge.admin.hidden import inputs_of, secret_variable_names
from config_merge.admin.widgets import TemplatesSelect, VariablesEditor
from config_merge.carrying import carries_secrets, secret_names_of
from config_merge.models import Backend, Config, Template
from config_merge.queries import templates_visible_to
from config_merge.services.assignment import usable_by
from core.admin import OrderedChoiceField
from core.redaction import secrets_in
from core.secret_fields import RedactedJsonField
from devices.models import Device, DeviceGroup
from tenancy.admin_secrets import SecretForm
from tenancy.api.secrets import NO_KEY, STAYS
from tenancy.queries import may_reveal

CONFIG_PARTS = {
    "backend": "config_backend",
    "templates": "config_templates",
    "config": "config_config",
    "context": "config_context",
}


class TemplatesField(OrderedChoiceField):
    """Templates in merge order, labelled with what one needs to choose."""

    widget = TemplatesSelect

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


class StayingForm(SecretForm):
    """A form whose object stays where it is, if it holds secrets that its user may not see."""

    def carries_secrets(self) -> bool:
        """Tell whether the stored object holds secrets."""
        return True

    def clean(self) -> Any:
        """Refuse to take secrets to another organization, where they might be seen."""
        cleaned: Any = super().clean()
        known = not self.instance._state.adding
        if known and "organization" in self.changed_data and "organization" in self.cleaned_data:
            blind = not may_reveal(self.request.user, self.instance.organization_id)
            if blind and self.carries_secrets():
                self.add_error("organization", STAYS)
        return cleaned


class DeviceForm(StayingForm):
    """A device and its configuration."""

    config_backend = forms.ChoiceField(
        label="Backend", choices=Backend.choices, required=False, widget=UnfoldAdminSelectWidget()
    )
    config_templates = TemplatesField(
        label="Templates", queryset=Template.objects.none(), required=False,
        help_text="Merged from top to bottom. Required templates that are missing are put back in front.",
    )  # fmt: skip
    config_config = RedactedJsonField(
        label="Configuration",
        help_text="NetJSON of this device alone. It is merged after the templates, so it wins.",
    )
    config_context = RedactedJsonField(
        label="Variables", widget=VariablesEditor(),
        help_text="Values for {{ variables }} of this device; they win over all others.",
    )  # fmt: skip
    # A browser that has put the automatic templates of a new device into the list says so: then it is the whole list.
    config_templates_complete = forms.BooleanField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = Device
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = not self.instance._state.adding
        config = Config.objects.filter(device_id=self.instance.pk).first() if known else None
        if "config_templates" not in self.fields:
            return
        schema_aware(self.fields["config_config"], backend="id_config_backend")
        field: Any = self.fields["config_templates"]
        field.queryset = offered_templates(
            self.request.user, self.instance.organization_id if known else None
        )
        self.initial["config_backend"] = config.backend if config else Backend.OPENWRT
        self._hold(config)
        rows = config.config_templates.order_by("position", "pk") if config else []
        self.initial["config_templates"] = [str(row.template_id) for row in rows]
        if config is None:
            field.help_text = "Default and required templates and those of the group are added by themselves."

    def clean(self) -> Any:
        """Refuse a chosen key to who may not see secrets: with it the whole configuration can be downloaded."""
        cleaned: Any = super().clean()
        target = self.cleaned_data.get("organization")
        owner = (
            self.instance.organization_id if not self.instance._state.adding else getattr(target, "pk", None)
        )
        if (
            "key" in self.changed_data
            and self.cleaned_data.get("key")
            and not may_reveal(self.request.user, owner)
        ):
            self.add_error("key", NO_KEY)
        return cleaned

    def _hold(self, config: Config | None) -> None:
        """Show configuration and variables with marks; a variable that ends up in a password is one too."""
        item = inputs_of(config)
        carriers = secret_variable_names(item) if item is not None else set()
        parts: tuple[tuple[str, dict[str, Any], set[str]], ...] = (
            ("config_config", config.config if config else {}, set()),
            ("config_context", config.context if config else {}, carriers),
        )
        for name, stored, names in parts:
            field: Any = self.fields[name]
            self.initial[name] = field.holds(stored, secret_names=names)
            self.offer_reveal(name)
        widget: Any = self.fields["config_context"].widget
        widget.system_url = reverse("admin:devices_device_system_variables")
        widget.device_id = self.instance.pk if config or not self.instance._state.adding else None

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

    def exact_templates(self) -> list[Template] | None:
        """Return the templates of a new device when the list is the whole list, None otherwise."""
        if not self.cleaned_data.get("config_templates_complete"):
            return None
        chosen: list[Template] = self.cleaned_data.get("config_templates", [])
        return chosen


class GroupForm(StayingForm):
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

    def carries_secrets(self) -> bool:
        """Tell whether the stored group holds secrets."""
        names = secret_names_of([self.instance.organization_id])
        return bool(secrets_in([self.instance.context, self.instance.meta_data], names=names))


class TemplateForm(StayingForm):
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
        if "config" in self.fields:
            schema_aware(
                self.fields["config"], backend="id_backend", checked="id_backend id_config id_default_values"
            )
        if "tags" in self.fields and not self.instance._state.adding:
            self.initial["tags"] = " ".join(self.instance.tag_rows.values_list("name", flat=True))

    def carries_secrets(self) -> bool:
        """Tell whether the stored template holds secrets."""
        return carries_secrets(self.instance)
