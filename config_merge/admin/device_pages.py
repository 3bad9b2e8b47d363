"""The pages of one device beside its form: effective configuration, rendered files, revisions, switches.

Invariant: every page starts from `get_object`, so a device of another organization is answered like an
unknown one.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from config_merge.admin.badges import config_badge, drift_badge, revision_badge, seen_badge
from config_merge.admin.explain import explain
from config_merge.admin.hidden import (
    hidden_effective,
    inputs_of,
    known_secrets,
    secret_variable_names,
    secrets_in_files,
)
from config_merge.admin.place_pages import PlacePages
from config_merge.admin.shown import shown_file, unpacked
from config_merge.engine import EngineError, Source
from config_merge.hiding import Secrecy, files_hidden, words_hidden
from config_merge.models import Config, ConfigRevision, Template
from config_merge.services import configs
from core.secret_fields import object_secrets
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_secrets import Secrets, secret_revealed

TABS = (
    ("change", "Device"),
    ("effective", "Effective configuration"),
    ("files", "Rendered files"),
    ("revisions", "Revisions"),
    ("settings", "Site settings"),
    ("delivery", "Delivery"),
)
PAGE_OF_LAYER: dict[str, type[Any]] = {
    "template": Template,
    "device": Device,
    "identity": Device,
    "group": DeviceGroup,
    "organization": FleetSettings,
}


class DevicePages(PlacePages):
    """Adds the pages to the device's admin."""

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("<uuid:pk>/effective/", "effective", self.effective_view),
            ("<uuid:pk>/files/", "files", self.files_view),
            ("<uuid:pk>/download/", "download", self.download_view),
            ("<uuid:pk>/activate/", "activate", self.activate_view),
            ("<uuid:pk>/deactivate/", "deactivate", self.deactivate_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"devices_device_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def head(self, request: HttpRequest, device: Device, *, tab: str) -> dict[str, Any]:
        """Return what the top of every page of a device shows."""
        config = (
            Config.objects.select_related("revision")
            .defer("revision__artefact")
            .filter(device=device)
            .first()
        )
        return {
            "tabs": [(title, self.link(page, device.pk), page == tab) for page, title in TABS],
            "device_config": config,
            "status_badge": config_badge(device, config),
            "drift_badge": drift_badge(config) if config is not None else "",
            "revision_badge": revision_badge(config) if config is not None else "",
            "seen_badge": seen_badge(device),
            "may_edit": self.may(request, "change", device),
            "may_delete": self.may(request, "delete", device),
            "may_reveal": self.may_reveal(request, device),
            "reveal_link": self.reveal_url(request, device),
            "device_problems": _problems(config),
        }

    def sources(self, request: HttpRequest) -> Callable[[Source], str]:
        """Return the function that links a source to its page, for who may open it."""

        def link(source: Source) -> str:
            model = PAGE_OF_LAYER.get(source.layer)
            page = admin.site._registry.get(model) if model else None
            if page is None or not source.object_id or not page.has_view_permission(request):
                return ""
            return reverse(
                f"admin:{page.opts.app_label}_{page.opts.model_name}_change", args=[source.object_id]
            )

        return link

    def effective_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Explain every value the device gets."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="effective")
        config = context["device_config"]
        item = inputs_of(config)
        if item is not None:
            try:
                hidden = hidden_effective(item, item.effective())
                context["explained"] = explain(hidden, self.sources(request))
                context["reveal_part"] = "effective" if hidden.secrets else ""
            except EngineError as error:
                context["engine_error"] = Secrecy().words(item, str(error))
        title = "Effective configuration"
        return self.page(
            request, "admin/config_merge/effective.html", original=device, title=title, **context
        )

    def files_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what the device downloads."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="files")
        config = context["device_config"]
        if config is not None and config.revision is not None:
            context["revision"] = config.revision
            files = files_hidden(unpacked(config.revision), known_secrets(config, config.revision))
            context["files"] = [shown_file(file) for file in files]
            context["reveal_part"] = "files"
        title = "Rendered files"
        return self.page(request, "admin/config_merge/files.html", original=device, title=title, **context)

    def download_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Hand out the archive as the device gets it."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        if not self.may_reveal(request, device):
            raise PermissionDenied("The archive holds secrets.")
        config = Config.objects.select_related("revision").filter(device=device).first()
        if config is None or config.revision is None:
            messages.error(request, "There is no archive yet.")
            return HttpResponseRedirect(self.link("files", pk))
        secret_revealed(device, organization_id=device.organization_id, part="archive")
        response = HttpResponse(bytes(config.revision.artefact), content_type="application/gzip")
        response["Content-Disposition"] = f'attachment; filename="{device.name.replace(":", "-")}.tar.gz"'
        response["Cache-Control"] = "no-store"
        return response

    def secrets_of_part(self, obj: Any, part: str) -> Secrets | None:
        """Return the secrets of what a page shows, by their marks."""
        if part == "settings" or part.startswith("setting:"):
            return super().secrets_of_part(obj, part)
        name, *numbers = part.split(":")
        if not numbers and name not in ("config_config", "config_context", "effective", "system", "files"):
            return super().secrets_of_part(obj, part)
        config = Config.objects.select_related("revision").filter(device_id=obj.pk).first()
        item = inputs_of(config)
        if config is None or item is None:
            return None
        if numbers:
            return self._secrets_of_revisions(obj, name, numbers)
        match name:
            case "config_config":
                return object_secrets(config.config)
            case "config_context":
                return object_secrets(config.context, secret_variable_names(item))
            case "files":
                return secrets_in_files(unpacked(config.revision), known_secrets(config, config.revision))
        try:
            return hidden_effective(item, item.effective()).secrets
        except EngineError:
            return {}

    def _secrets_of_revisions(self, device: Device, name: str, numbers: list[str]) -> Secrets | None:
        """Return the secrets in the files of a revision and the one before it, or of two that are compared."""
        digits = [int(text) for text in numbers if text.isascii() and text.isdigit() and len(text) < 10]
        if len(digits) != len(numbers) or (name, len(digits)) not in (("revision", 1), ("compare", 2)):
            return None
        history = ConfigRevision.objects.filter(config__device=device)
        rows = history.filter(number__in=digits)
        if name == "revision":
            rows = history.filter(number__lte=digits[0]).order_by("-number")[:2]
        config = Config.objects.filter(device_id=device.pk).first()
        # All of them are looked for in each: the pages show differences.
        secrets = known_secrets(config, *rows)
        found: dict[str, Any] = {}
        for row in rows:
            found |= secrets_in_files(unpacked(row), secrets)
        return found

    def activate_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Put the device back into service after a question."""
        return self._switch(
            request,
            pk,
            run=configs.device_activate,
            done="activated",
            title="Activate the device",
            text="It gets its default, required and group templates again, and its own settings.",
            button="Activate",
        )

    def deactivate_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Take the device out of service after a question."""
        return self._switch(
            request,
            pk,
            run=configs.device_deactivate,
            done="deactivated",
            title="Deactivate the device",
            text="It is handed an empty configuration, and then nothing until it is activated again. "
            "Its own settings and variables stay stored; its templates are unassigned.",
            button="Deactivate",
        )

    def _switch(
        self, request: HttpRequest, pk: UUID, *,
        run: Callable[..., Device], done: str, title: str, text: str, button: str,
    ) -> HttpResponse:  # fmt: skip
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        if request.method in ("GET", "HEAD"):
            return self.confirm(
                request, original=device, title=title, text=text, button=button, danger=done == "deactivated"
            )
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "POST"])
        try:
            with refusals():
                run(device, actor_id=request.user.pk)
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            self.log_change(request, device, f"{done.capitalize()}.")
            messages.success(request, f"{device.name} was {done}.")
        return HttpResponseRedirect(self.link("change", pk))


def _problems(config: Config | None) -> dict[str, str]:
    """Return what went wrong with a configuration, in words that hold no secret."""
    if config is None or not (config.error_reason or config.problem):
        return {}
    secrets = known_secrets(config, config.revision)
    return {
        "error_reason": words_hidden(config.error_reason, secrets),
        "problem": words_hidden(config.problem, secrets),
    }
