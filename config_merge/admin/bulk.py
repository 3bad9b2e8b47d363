"""What can be done to many devices at once: ask first, then say what was done and what was not.

Invariant: each device goes through its service by itself, with its own permission, so one refusal stops no other. More
devices than a person waits for, templates, sites, and what shall only be tried are jobs, whose pages say what became of
each.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.decorators import action

from config_merge.admin.bulk_forms import Bulk, GroupChoice, ManagementChoice, SiteChoice, TemplateChoice
from config_merge.admin.device_pages import DevicePages
from config_merge.models import Job
from config_merge.services import configs, jobs
from config_merge.services.job_actions import right_for
from core.acting import acting_as, current
from devices.models import Device
from tenancy.admin_base import Refused, reason_of, refusals, several
from tenancy.queries import organization_ids_where

# One by one, each takes up to 50 ms, and a person waits; a job takes a twentieth of that.
AT_ONCE = 20


class DeviceActions(DevicePages):
    """Adds the actions to the device list."""

    actions = (
        "move_selected", "assign_selected", "unassign_selected", "place_selected", "leave_selected",
        "manage_selected", "deactivate_selected", "activate_selected", "delete_retired",
    )  # fmt: skip

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
        form = GroupChoice(_posted(request), user=request.user)
        if form.is_bound and not form.is_valid():
            messages.error(request, "Choose one of the groups offered.")
            return None
        group = form.cleaned_data["group"] if form.is_bound else None

        def run(request: HttpRequest, device: Device) -> None:
            configs.managed_device_update(device, group=group, actor_id=request.user.pk)
            self.log_change(
                request, device, f"Moved to group {group}." if group else "Taken out of its group."
            )

        return self._bulk(
            request, queryset, kind=Job.Kind.CHANGE_GROUP, verb="move", done="moved", run=run, form=form,
            text="They lose the templates and variables of their old group and get those of the new one.",
            parameters={"group": str(group.pk) if group else None},
        )  # fmt: skip

    @action(description="Assign a template", permissions=["change"])
    def assign_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Give the selected devices a template, after those they have."""
        text = "It is merged after the templates they have. Devices of another back end are left alone."
        return self._template_bulk(request, queryset, kind=Job.Kind.ASSIGN_TEMPLATE, verb="change", text=text)

    @action(description="Unassign a template", permissions=["change"])
    def unassign_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Take a template from the selected devices."""
        text = "The template is taken from those that have it; required ones stay."
        return self._template_bulk(
            request, queryset, kind=Job.Kind.UNASSIGN_TEMPLATE, verb="change", text=text
        )

    def _template_bulk(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *, kind: str, verb: str, text: str
    ) -> HttpResponse | None:
        form = TemplateChoice(_posted(request), user=request.user)
        if form.is_bound and not form.is_valid():
            messages.error(request, "Choose one of the templates offered.")
            return None
        chosen = {"template": str(form.cleaned_data["template"].pk)} if form.is_bound else {}
        return self._bulk(request, queryset, kind=kind, verb=verb, text=text, form=form, parameters=chosen)

    @action(description="Put into a site", permissions=["change"])
    def place_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Put the selected devices into a site, or move them to it."""
        form = SiteChoice(_posted(request), user=request.user)
        text = "Their own settings stay with them. They are managed as before unless said."
        return self._site_bulk(
            request, queryset, kind=Job.Kind.CHANGE_SITE, form=form, verb="move", text=text
        )

    @action(description="Take out of their sites", permissions=["change"])
    def leave_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Take the selected devices out of their sites."""
        return self._bulk(
            request, queryset, kind=Job.Kind.CHANGE_SITE, verb="take out", parameters={"site": None},
            text="Their own settings and serial numbers go, and templates make their configurations.",
        )  # fmt: skip

    @action(description="Change what manages them", permissions=["change"])
    def manage_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Let the configurations of the selected devices come from their sites or from templates."""
        form = ManagementChoice(_posted(request))
        text = "What the other says stays stored. A site manages only devices that are in one."
        return self._site_bulk(
            request, queryset, kind=Job.Kind.CHANGE_MANAGEMENT, form=form, verb="change", text=text
        )

    def _site_bulk(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *,
        kind: str, form: SiteChoice | ManagementChoice, verb: str, text: str,
    ) -> HttpResponse | None:  # fmt: skip
        if form.is_bound and not form.is_valid():
            wrong = [str(error) for name in ("managed_by", "site") for error in form.errors.get(name, ())]
            messages.error(request, " ".join(wrong) or "The reason is too long.")
            return None
        chosen = form.parameters() if form.is_bound else {}
        return self._bulk(request, queryset, kind=kind, verb=verb, text=text, form=form, parameters=chosen)

    @action(description="Deactivate", permissions=["change"])
    def deactivate_selected(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | None:
        """Take the selected devices out of service."""
        return self._bulk(
            request, queryset, kind=Job.Kind.DEACTIVATE, verb="deactivate", done="deactivated",
            text="They are handed an empty configuration, and then nothing until they are activated again.",
            run=self._deactivate,
        )  # fmt: skip

    @action(description="Activate", permissions=["change"])
    def activate_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Put the selected devices back into service."""
        return self._bulk(
            request, queryset, kind=Job.Kind.ACTIVATE, verb="activate", done="activated",
            text="They get their default, required and group templates, and their own settings.",
            run=self._activate,
        )  # fmt: skip

    @action(description="Delete (deactivated ones only)", permissions=["delete_any"])
    def delete_retired(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Delete the selected devices that were deactivated."""
        return self._bulk(
            request, queryset, kind=Job.Kind.DELETE, verb="delete", done="deleted",
            text="Devices that are not deactivated stay. The others go with their configurations and revisions.",
            run=self._delete,
        )  # fmt: skip

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
        kind: str, verb: str, text: str, done: str = "",
        run: Callable[[HttpRequest, Device], Any] | None = None,
        form: Bulk | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> HttpResponse | None:  # fmt: skip
        """Ask first, then do it to each device by itself and say what was done, or leave it to a job."""
        form = form or Bulk(_posted(request))
        # The list's rows lack what it does not show, so they are read again, whole.
        keys = list(queryset.values_list("pk", flat=True)[: self.bulk_limit + 1])
        if "confirmed" not in request.POST:
            return self._ask(request, queryset, keys, verb=verb, text=text, form=form)
        if not form.is_valid():
            messages.error(request, "The reason is too long.")
            return None
        if run is None or len(keys) > min(AT_ONCE, self.bulk_limit) or form.cleaned_data["dry_run"]:
            return self._as_jobs(request, queryset, kind=kind, form=form, parameters=parameters or {})
        reason = form.cleaned_data["reason"]
        with acting_as(replace(current(), reason=reason) if reason else current()):
            self._at_once(request, keys, verb=verb, done=done, run=run)
        return None

    def _at_once(
        self, request: HttpRequest, keys: list[Any], *,
        verb: str, done: str, run: Callable[[HttpRequest, Device], Any],
    ) -> None:  # fmt: skip
        devices = Device.objects.select_related("organization").filter(pk__in=keys).order_by("name", "pk")
        action_name = "delete" if verb == "delete" else "change"
        finished, refused = 0, []
        for device in list(devices):
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

    def _as_jobs(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *,
        kind: str, form: Bulk, parameters: Mapping[str, Any],
    ) -> HttpResponse | None:  # fmt: skip
        """Ask for a job for each organization; a superuser's is one. Devices one may not change are left out."""
        user: Any = request.user
        chosen = Device.objects.filter(pk__in=queryset.order_by().values("pk"))
        if not user.is_superuser:
            allowed = organization_ids_where(user, right_for(kind), Device)
            chosen = chosen.filter(organization_id__in=list(allowed))
        owners = list(chosen.order_by().values_list("organization_id", flat=True).distinct())
        if not owners:
            messages.error(request, "There is no device among them that you may do this to.")
            return None
        parts: list[tuple[UUID | None, models.QuerySet[Device]]]
        parts = [(owner, chosen.filter(organization_id=owner)) for owner in owners]
        if user.is_superuser and len(owners) > 1:
            parts = [(None, chosen)]
        made = [
            jobs.job_create(
                kind=kind,
                devices=devices,
                organization_id=owner,
                creator=user,
                parameters=parameters,
                dry_run=form.cleaned_data["dry_run"],
                reason=form.cleaned_data["reason"],
            )
            for owner, devices in parts
        ]
        if len(made) == 1:
            return redirect("admin:config_merge_job_change", made[0].pk)
        messages.success(request, f"{several('job', len(made))} begun, one for each organization.")
        return redirect("admin:config_merge_job_changelist")

    def _ask(
        self, request: HttpRequest, queryset: models.QuerySet[Any], keys: list[Any], *,
        verb: str, text: str, form: forms.Form,
    ) -> TemplateResponse | None:  # fmt: skip
        many = len(keys) > self.bulk_limit
        if many and request.POST.get("select_across") != "1":
            messages.error(request, f"Select at most {self.bulk_limit} devices at once, or all of the list.")
            return None
        total = queryset.count() if many else len(keys)
        hidden = [
            ("action", request.POST["action"]),
            ("confirmed", "1"),
            ("index", request.POST.get("index", "0")),
        ]
        if many:
            # Whatever the list has when it is confirmed; one name stands for them, as the list itself sends it.
            hidden.append(("select_across", "1"))
            keys = keys[:1]
        if len(keys) > AT_ONCE or many:
            text = f"{text} They are worked off in the background."
        hidden += [("_selected_action", str(pk)) for pk in keys]
        names = queryset.model._default_manager.filter(pk__in=queryset.order_by().values("pk"))
        shown = list(names.order_by("name", "pk").values_list("name", flat=True)[:10])
        context: dict[str, Any] = {
            "fields": form,
            "title": f"{verb.capitalize()} {several('device', total)}?",
            "items": shown,
            "more": max(total - len(shown), 0),
            "back": request.get_full_path(),
            "button": verb.capitalize(),
            "danger": verb in ("take out", "deactivate", "delete"),
        }
        return self.page(request, "admin/tenancy/confirm.html", text=text, hidden=hidden, **context)


def _posted(request: HttpRequest) -> Any:
    """Return what fills a form: nothing before it was shown."""
    return request.POST if "confirmed" in request.POST else None
