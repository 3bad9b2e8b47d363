"""The pages of one device beside its form: effective configuration, rendered files, revisions, switches.

Invariant: every page starts from `get_object`, so a device of another organization is answered like an
unknown one.
"""

import tarfile
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from config_merge import inputs
from config_merge.admin.badges import seen_badge, status_badge
from config_merge.admin.explain import explain
from config_merge.engine import EngineError, File, Source, diff_files
from config_merge.models import Config, ConfigRevision, Template
from config_merge.queries import files_in, revisions_of
from config_merge.services import configs
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy.admin_base import Refused, ScopedAdmin, reason_of, refusals

SHOWN_BYTES = 256 * 1024
REVISIONS_PER_PAGE = 25
TABS = (
    ("change", "Device"),
    ("effective", "Effective configuration"),
    ("files", "Rendered files"),
    ("revisions", "Revisions"),
)
PAGE_OF_LAYER: dict[str, type[Any]] = {
    "template": Template,
    "device": Device,
    "identity": Device,
    "group": DeviceGroup,
    "organization": FleetSettings,
}
NOT_TEXT = "This file is not text."


def shown_file(file: File) -> dict[str, Any]:
    """Return what the page shows of a rendered file; a very long one is cut."""
    try:
        text = file.contents[:SHOWN_BYTES].decode(
            "utf-8", "strict" if len(file.contents) <= SHOWN_BYTES else "ignore"
        )
    except UnicodeDecodeError:
        text = ""
    is_text = "\x00" not in text and (bool(text) or not file.contents)
    return {
        "path": file.path,
        "mode": file.mode,
        "size": len(file.contents),
        "text": text if is_text else NOT_TEXT,
        "is_text": is_text,
        "is_cut": len(file.contents) > SHOWN_BYTES,
    }


def diff_lines(text: str) -> list[tuple[str, str]]:
    """Return the lines of a unified diff with what kind of line each is, for its colour.

    >>> diff_lines("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n")[2:]
    [('place', '@@ -1 +1 @@'), ('gone', '-a'), ('new', '+b')]
    """
    kinds = (
        ("--- ", "file"),
        ("+++ ", "file"),
        ("@@", "place"),
        ("+", "new"),
        ("-", "gone"),
        ("mode of ", "file"),
    )
    return [
        (next((kind for start, kind in kinds if line.startswith(start)), "same"), line)
        for line in text.split("\n")[:-1]
    ]


def unpacked(revision: ConfigRevision) -> tuple[File, ...]:
    """Return the files of a revision; an archive that cannot be read has none."""
    try:
        return files_in(bytes(revision.artefact))
    except (tarfile.TarError, OSError):
        return ()


class DevicePages(ScopedAdmin):
    """Adds the pages to the device's admin."""

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("<uuid:pk>/effective/", "effective", self.effective_view),
            ("<uuid:pk>/files/", "files", self.files_view),
            ("<uuid:pk>/download/", "download", self.download_view),
            ("<uuid:pk>/revisions/", "revisions", self.revisions_view),
            ("<uuid:pk>/revisions/<int:number>/", "revision", self.revision_view),
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
            "status_badge": status_badge(config),
            "seen_badge": seen_badge(device.last_seen),
            "may_edit": self.may(request, "change", device),
            "may_delete": self.may(request, "delete", device),
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

    def found(self, request: HttpRequest, pk: UUID) -> Device | None:
        """Return the device if this user may see it."""
        device: Device | None = self.get_object(request, str(pk))
        if device is not None:
            self.require(request, "view", device)
        return device

    def effective_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Explain every value the device gets."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="effective")
        config = context["device_config"]
        if config is not None:
            try:
                context["explained"] = explain(inputs.load([config])[0].effective(), self.sources(request))
            except EngineError as error:
                context["engine_error"] = str(error)
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
            context["files"] = [shown_file(file) for file in unpacked(config.revision)]
        title = "Rendered files"
        return self.page(request, "admin/config_merge/files.html", original=device, title=title, **context)

    def download_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Hand out the archive as the device gets it."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        config = Config.objects.select_related("revision").filter(device=device).first()
        if config is None or config.revision is None:
            messages.error(request, "There is no archive yet.")
            return HttpResponseRedirect(self.link("files", pk))
        response = HttpResponse(bytes(config.revision.artefact), content_type="application/gzip")
        response["Content-Disposition"] = f'attachment; filename="{device.name.replace(":", "-")}.tar.gz"'
        response["Cache-Control"] = "no-store"
        return response

    def revisions_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """List what the device was told to be."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="revisions")
        pages = Paginator(revisions_of(device).order_by("-number"), REVISIONS_PER_PAGE)
        context["revisions"] = pages.get_page(request.GET.get("page"))
        return self.page(
            request, "admin/config_merge/revisions.html", original=device, title="Revisions", **context
        )

    def revision_view(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        """Show one revision and what it changed."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        history = ConfigRevision.objects.filter(config__device=device)
        # Numbers beyond what the column holds are looked for as text would be: not at all.
        revision = history.filter(number=number).select_related("actor").first() if number < 2**31 else None
        if revision is None:
            messages.error(request, f"There is no revision {number} of this device.")
            return HttpResponseRedirect(self.link("revisions", pk))
        previous = history.filter(number__lt=number).order_by("-number").first()
        files = unpacked(revision)
        changes = diff_files(unpacked(previous) if previous else (), files)
        context = {
            **self.head(request, device, tab="revisions"),
            "revision": revision,
            "previous": previous,
            "following": history.filter(number__gt=number)
            .order_by("number")
            .values_list("number", flat=True)
            .first(),
            "files": [shown_file(file) for file in files],
            "diff": diff_lines(changes[:SHOWN_BYTES]),
            "diff_is_cut": len(changes) > SHOWN_BYTES,
        }
        title = f"Revision {number}"
        return self.page(request, "admin/config_merge/revision.html", original=device, title=title, **context)

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
