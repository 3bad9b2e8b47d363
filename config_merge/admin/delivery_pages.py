"""A device's delivery: what was and is on its way, whether it has what it confirmed, pushing again, accepting edits.

Invariant: as on the other pages of a device, everything starts from `get_object`; what a device says goes to the page
without secrets.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path

from config_merge.admin.badges import drift_badge, state_badge
from config_merge.admin.effect import shown_groups
from config_merge.admin.form_pages import FormPages
from config_merge.admin.task import done, steps_of
from config_merge.delivery import adopt, again, queue
from config_merge.live_devices import current
from config_merge.models import Config, ConfigTask
from config_merge.queries import tasks_of
from config_merge.services import job_previews
from core.errors import Conflict
from core.redaction import redacted_text
from devices.models import Device
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.disclosure import disclosure_of

SHOWN_TASKS = 10
CANCELLABLE = (ConfigTask.State.PENDING, ConfigTask.State.SENT)


class DeliveryPages(FormPages):
    """Adds them to the device's admin."""

    def get_urls(self) -> list[URLPattern]:
        """Put ours before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, Callable[..., HttpResponse]], ...] = (
            ("delivery", self.delivery_view),
            ("delivery-panel", self.delivery_panel_view),
            ("push-again", self.push_view),
            ("cancel-push", self.cancel_push_view),
            ("drift", self.drift_view),
        )
        own = [
            path(
                f"<uuid:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"devices_device_{name.replace('-', '_')}",
            )
            for name, view in pages
        ]
        return [*own, *super().get_urls()]

    def delivery_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what is on its way."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="delivery") | self._delivery(request, device)
        context["mark"] = current([device.pk], []).devices[device.pk].texts["mark"]
        return self.page(
            request, "admin/config_merge/delivery.html", original=device, title="Delivery", **context
        )

    def delivery_panel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Answer with the page's panel as it is now."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        config = Config.objects.defer("config", "context").filter(device=device).first()
        context = {
            "original": device,
            "device_config": config,
            "may_edit": self.may(request, "change", device),
            **self._delivery(request, device, config),
        }
        response = HttpResponse(
            render_to_string("admin/config_merge/_delivery.html", context, request=request)
        )
        response["Cache-Control"] = "no-store"
        return response

    def _delivery(self, request: HttpRequest, device: Device, config: Config | None = None) -> dict[str, Any]:
        config = config or Config.objects.defer("config", "context").filter(device=device).first()
        rows = list(tasks_of(device)[: SHOWN_TASKS + 1])
        for task in rows:
            task.shown_error = redacted_text(task.error)  # type: ignore[attr-defined]
        return {
            "drift_badge": drift_badge(config) if config is not None else "",
            "tasks": [
                (task, state_badge(task), steps_of(task), task.state in CANCELLABLE)
                for task in rows[:SHOWN_TASKS]
            ],
            "more": len(rows) > SHOWN_TASKS,
        }

    def push_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Give the device what it should have once more."""
        return self._posted(
            request,
            pk,
            run=lambda device: again.push_again(device, actor_id=request.user.pk),
            said="The configuration is pushed again.",
        )

    def cancel_push_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Take one of the device's tasks back."""

        def cancel(device: Device) -> None:
            wanted = request.POST.get("task", "")
            task = next(
                (each for each in tasks_of(device).filter(state__in=CANCELLABLE) if str(each.pk) == wanted),
                None,
            )
            if task is None:
                raise Conflict("The device has begun already, or the task has ended.")
            queue.cancel(task)

        return self._posted(request, pk, run=cancel, said="The push was taken back.")

    def _posted(
        self, request: HttpRequest, pk: UUID, *, run: Callable[[Device], Any], said: str
    ) -> HttpResponse:
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        done(request, lambda: run(device), said=said)
        return HttpResponseRedirect(self.link("delivery", pk))

    def drift_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Ask the device what it has, show what accepting that would do, and accept what was seen."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "POST"])
        context = self.head(request, device, tab="delivery")
        if request.method == "POST":
            seen = request.POST.get("seen")
            try:
                with refusals():
                    found = adopt.ask(device)
                    if seen is not None:
                        adopt.accept(device, found, seen=seen, actor_id=request.user.pk)
                        return self._accepted(request, device)
                    context |= self._proposal(request, device, adopt.propose(device, found))
            except Refused as refused:
                context["problem"] = reason_of(refused)
            context["asked"] = True
        response = self.page(
            request, "admin/config_merge/drift.html", original=device, title="Drift", **context
        )
        response["Cache-Control"] = "no-store"
        return response

    def _accepted(self, request: HttpRequest, device: Device) -> HttpResponse:
        self.log_change(request, device, "Accepted what was edited on the device.")
        done(request, lambda: None, said="What was edited on the device is its own setting now.")
        return HttpResponseRedirect(self.link("delivery", device.pk))

    def _proposal(self, request: HttpRequest, device: Device, proposal: adopt.Proposal) -> dict[str, Any]:
        """Return what a proposal shows; secrets as marks for who may not see them."""
        disclosure = disclosure_of(request)
        shown = job_previews.shown(job_previews.as_json(proposal.preview), disclosure)
        job_previews.looks_noted(disclosure, shown.owners, of=device, organization_id=device.organization_id)
        disclosure.write()
        texts = [group["diff"] for group in shown.body["groups"]]
        return {
            "preview": proposal.preview,
            "groups": shown_groups(shown),
            "failures": shown.body["failures"],
            "left_out": proposal.adopted.left_out,
            "actual": proposal.actual,
            "hidden": texts != [group.diff for group in proposal.preview.groups],
        }
