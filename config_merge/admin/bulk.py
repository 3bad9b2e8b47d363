"""What can be done to many devices at once: ask first, then say what was done and what was not.

Invariant: each device goes through its service by itself, with its own permission, so one refusal stops no
other.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget

from config_merge.admin.device_pages import DevicePages
from config_merge.services import configs
from devices.models import Device, DeviceGroup
from devices.queries import groups_visible_to
from tenancy.admin_base import Refused, reason_of, refusals, several


class GroupChoice(forms.Form):
    """The group to move devices to; none takes them out of theirs."""

    group = forms.ModelChoiceField(
        queryset=DeviceGroup.objects.none(),
        required=False,
        empty_label="No group",
        widget=UnfoldAdminSelectWidget(),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["group"]
        field.queryset = groups_visible_to(user).order_by("organization__name", "name")
        field.label_from_instance = lambda group: f"{group.name} ({group.organization})"


class DeviceActions(DevicePages):
    """Adds the actions to the device list."""

    actions = ("move_selected", "deactivate_selected", "activate_selected", "delete_retired")

    def get_actions(self, request: HttpRequest) -> Any:
        """Our own deletion says what it leaves alone."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_any_permission(self, request: HttpRequest) -> bool:
        """Whether the user may delete devices somewhere."""
        return self.may(request, "delete")

    @action(description="Move to a group", permissions=["change"])
    def move_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Put the selected devices into another group, or into none."""
        form = GroupChoice(request.POST if "confirmed" in request.POST else None, user=request.user)
        if form.is_bound and not form.is_valid():
            messages.error(request, "Choose one of the groups offered.")
            return None

        def run(request: HttpRequest, device: Device) -> None:
            group = form.cleaned_data["group"]
            configs.managed_device_update(device, group=group, actor_id=request.user.pk)
            self.log_change(
                request, device, f"Moved to group {group}." if group else "Taken out of its group."
            )

        text = "They lose the templates and variables of their old group and get those of the new one."
        return self._bulk(request, queryset, verb="move", done="moved", text=text, run=run, fields=form)

    @action(description="Deactivate", permissions=["change"])
    def deactivate_selected(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | None:
        """Take the selected devices out of service."""
        text = "They are handed an empty configuration, and then nothing until they are activated again."
        return self._bulk(
            request, queryset, verb="deactivate", done="deactivated", text=text, run=self._deactivate
        )

    @action(description="Activate", permissions=["change"])
    def activate_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Put the selected devices back into service."""
        text = "They get their default, required and group templates, and their own settings."
        return self._bulk(request, queryset, verb="activate", done="activated", text=text, run=self._activate)

    @action(description="Delete (deactivated ones only)", permissions=["delete_any"])
    def delete_retired(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Delete the selected devices that were deactivated."""
        text = "Devices that are not deactivated stay. The others go with their configurations and revisions."
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
        verb: str, done: str, text: str, run: Callable[[HttpRequest, Device], Any],
        fields: forms.Form | None = None,
    ) -> HttpResponse | None:  # fmt: skip
        """Ask first, then do it to each device by itself, and say what was done and what was not."""
        # The list's rows lack what it does not show, so they are read again, whole.
        keys = list(queryset.values_list("pk", flat=True)[: self.bulk_limit + 1])
        if len(keys) > self.bulk_limit:
            messages.error(request, f"Select at most {self.bulk_limit} devices at once.")
            return None
        devices = list(
            Device.objects.select_related("organization").filter(pk__in=keys).order_by("name", "pk")
        )
        if "confirmed" not in request.POST:
            return self._ask(request, devices, verb=verb, text=text, fields=fields)
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
            messages.warning(
                request, f"{several('device', len(refused))} left alone. {' '.join(refused[:5])}{more}"
            )
        return None

    def _ask(
        self, request: HttpRequest, devices: list[Device], *, verb: str, text: str, fields: forms.Form | None
    ) -> TemplateResponse:
        hidden = [
            ("action", request.POST["action"]),
            ("confirmed", "1"),
            ("index", request.POST.get("index", "0")),
        ]
        hidden += [("_selected_action", str(device.pk)) for device in devices]
        context: dict[str, Any] = {
            "fields": fields or "",
            "title": f"{verb.capitalize()} {several('device', len(devices))}?",
            "items": [device.name for device in devices[:10]],
            "more": max(len(devices) - 10, 0),
            "back": request.get_full_path(),
            "button": verb.capitalize(),
            "danger": verb in ("deactivate", "delete"),
        }
        return self.page(request, "admin/tenancy/confirm.html", text=text, hidden=hidden, **context)
