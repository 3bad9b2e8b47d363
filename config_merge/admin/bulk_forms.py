"""What is asked before something is done to many devices.

Invariant: `parameters` are those of a job (`services.jobs`); ask for them once the form is valid.
"""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from config_merge.models import Job, Managed, Site, Template
from config_merge.queries import sites_visible_to, templates_visible_to
from devices.models import DeviceGroup
from devices.queries import groups_visible_to


class Bulk(forms.Form):
    """Whether it is only tried, and why it is done."""

    reason = forms.CharField(
        required=False,
        max_length=Job._meta.get_field("reason").max_length,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stands in the audit trail.",
    )
    dry_run = forms.BooleanField(
        required=False,
        label="Only say what would happen",
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)


class SiteChoice(Bulk):
    """The site to put devices into, and what manages them then."""

    site = forms.ModelChoiceField(
        queryset=Site.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget()
    )
    managed_by = forms.ChoiceField(
        choices=[("", "What manages them now"), *Managed.choices],
        required=False,
        label="Managed by",
        widget=UnfoldAdminSelectWidget(),
    )
    field_order = ("site", "managed_by", "reason", "dry_run")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["site"]
        found = sites_visible_to(user).defer("settings", "defaults", "context")
        field.queryset = found.order_by("organization__name", "name")
        field.label_from_instance = lambda site: f"{site.name} ({site.organization})"

    def parameters(self) -> dict[str, Any]:
        """Return what a job is given."""
        return {
            "site": str(self.cleaned_data["site"].pk),
            "managed_by": self.cleaned_data["managed_by"] or None,
        }


class ManagementChoice(Bulk):
    """What is to manage devices."""

    managed_by = forms.ChoiceField(
        choices=Managed.choices, label="Managed by", widget=UnfoldAdminSelectWidget()
    )
    field_order = ("managed_by", "reason", "dry_run")

    def parameters(self) -> dict[str, Any]:
        """Return what a job is given."""
        return {"managed_by": self.cleaned_data["managed_by"]}


class GroupChoice(Bulk):
    """The group to move devices to; none takes them out of theirs."""

    group = forms.ModelChoiceField(
        queryset=DeviceGroup.objects.none(),
        required=False,
        empty_label="No group",
        widget=UnfoldAdminSelectWidget(),
    )
    field_order = ("group", "reason", "dry_run")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["group"]
        field.queryset = groups_visible_to(user).order_by("organization__name", "name")
        field.label_from_instance = lambda group: f"{group.name} ({group.organization})"


class TemplateChoice(Bulk):
    """The template to assign or to take away."""

    template = forms.ModelChoiceField(
        queryset=Template.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget()
    )
    field_order = ("template", "reason", "dry_run")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["template"]
        found = templates_visible_to(user).select_related("organization").defer("config", "default_values")
        field.queryset = found.order_by("name", "pk")
        field.label_from_instance = lambda template: f"{template.name} ({template.organization or 'shared'})"
