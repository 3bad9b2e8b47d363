"""Devices out to a table and in from one: the pages of the device list that do it.

Invariant: what is imported is the file that was checked, which the server has kept; the browser only says yes.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from config_merge.api.exchange import export_response
from config_merge.exchange import files, imports
from config_merge.exchange.columns import COLUMNS, FORMATS, PLACES
from config_merge.exchange.export import chosen
from config_merge.exchange.models import DeviceImport
from core.errors import Conflict
from devices.models import Device
from tenancy.admin_base import ScopedAdmin, several

ROWS_PER_PAGE = 100
SHOWN_CELL = 600
TONES = {"new": "success", "update": "info", "same": "none", "error": "danger"}
OWN_PARAMETERS = ("file_format", "columns")
WORDS = {"__all__": "row", "name": "name"}


class UploadForm(forms.Form):
    """The table to import."""

    file = forms.FileField(widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.xlsx,.json"}))

    def clean_file(self) -> Any:
        """Refuse what is too large before it is read. Raises ValidationError."""
        uploaded = self.cleaned_data["file"]
        if uploaded.size > files.MAX_BYTES:
            limit = files.MAX_BYTES // 1024 // 1024
            raise ValidationError(f"The file is larger than {limit} MB; import it in parts.")
        return uploaded


def shown(text: str) -> str:
    """Return a cell for the page; a very long one is cut."""
    return text if len(text) <= SHOWN_CELL else f"{text[:SHOWN_CELL]}…"


def shown_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the report for the page."""
    return {
        **row,
        "tone": TONES[row["action"]],
        "diff": [{**cell, "old": shown(cell["old"]), "new": shown(cell["new"])} for cell in row["diff"]],
        "errors": [(WORDS.get(column, column), " ".join(texts)) for column, texts in row["errors"].items()],
    }


class DeviceExchange(ScopedAdmin):
    """Adds import, export and the way to the deleted devices to the device list."""

    list_before_template = "admin/config_merge/exchange_head.html"

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's."""
        pages = (
            ("export/", "export", self.export_view),
            ("import/", "import", self.import_view),
            ("import/<uuid:pk>/", "import_report", self.report_view),
            ("import/<uuid:pk>/progress/", "import_progress", self.import_progress_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"devices_device_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> Any:
        """Offer the export of selected rows to everyone who sees them."""
        actions = super().get_actions(request)
        actions["export_selected"] = self.get_action("export_selected")
        return actions

    @action(description="Export as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponseBase:
        """Download the selected devices with all columns."""
        return export_response(_found(queryset), request=request, kind="csv", columns=COLUMNS)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for format and columns, then download what the list shows with its filters and search."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        kind = request.GET.get("file_format", "")
        asked = request.GET.getlist("columns")
        query = request.GET.copy()
        for name in OWN_PARAMETERS:
            query.pop(name, None)
        listed: Any = request.GET
        request.GET = query  # type: ignore[assignment]
        try:
            devices = self.get_changelist_instance(request).queryset
        finally:
            request.GET = listed
        if kind in FORMATS:
            return export_response(_found(devices), request=request, kind=kind, columns=chosen(asked))
        carried = [(name, value) for name in query for value in query.getlist(name) if name not in ("p", "o")]
        return self.page(
            request,
            "admin/config_merge/export.html",
            title="Export devices",
            total=devices.count(),
            carried=carried,
            formats=FORMATS.items(),
            columns=[(name, name not in PLACES) for name in COLUMNS],
            back=self.link("changelist"),
        )

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take a table and find out what it would do."""
        if not self.may(request, "add"):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "POST"])
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            uploaded = form.cleaned_data["file"]
            try:
                row = imports.import_begin(user=request.user, name=uploaded.name, content=uploaded.read())
            except ValidationError as error:
                form.add_error("file", error.messages)
            else:
                return HttpResponseRedirect(self.link("import_report", row.pk))
        return self.page(
            request,
            "admin/config_merge/import.html",
            title="Import devices",
            form=form,
            refusals=form.errors.get("file", []) if request.method == "POST" else [],
            recent=imports.imports_of(request.user).defer("content", "report")[:5],
            columns=[name for name in COLUMNS if name not in PLACES],
            max_rows=files.MAX_ROWS,
            max_megabytes=files.MAX_BYTES // 1024 // 1024,
            back=self.link("changelist"),
        )

    def _handed_in(self, request: HttpRequest, pk: UUID) -> DeviceImport | None:
        if not self.may(request, "add"):
            raise PermissionDenied
        return imports.imports_of(request.user).defer("content").filter(pk=pk).first()

    def report_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what a table would do, row by row; a POST imports it or drops it."""
        row = self._handed_in(request, pk)
        if row is None:
            messages.warning(request, "There is no such import; uploaded files are kept for an hour.")
            return HttpResponseRedirect(self.link("import"))
        if request.method == "POST":
            return self._decide(request, row)
        wanted = request.GET.get("action", "")
        rows = row.report.get("rows", [])
        picked = [entry for entry in rows if not wanted or entry["action"] == wanted]
        page = Paginator(picked, ROWS_PER_PAGE).get_page(request.GET.get("page"))
        totals = row.report.get("totals", {})
        return self.page(
            request,
            "admin/config_merge/import_report.html",
            title="Import devices",
            upload=row,
            progress=imports.progress_of(row),
            refused=row.report.get("refused", ""),
            ignored=row.report.get("ignored_columns", []),
            totals=[(name, TONES[name], totals.get(name, 0), name == wanted) for name in TONES],
            wanted=wanted if wanted in TONES else "",
            entries=[shown_row(entry) for entry in page],
            pages=page,
            importable=imports.is_importable(row),
            errors=totals.get("error", 0),
            unchecked=row.report.get("unchecked", 0),
            changes=several("device", totals.get("new", 0) + totals.get("update", 0)),
            back=self.link("changelist"),
            again=self.link("import"),
            progress_link=self.link("import_progress", row.pk),
        )

    def _decide(self, request: HttpRequest, row: DeviceImport) -> HttpResponse:
        if "drop" in request.POST:
            imports.import_drop(row)
            messages.success(request, "The uploaded file was dropped; nothing was imported.")
            return HttpResponseRedirect(self.link("import"))
        try:
            row = imports.import_confirm(row)
        except Conflict as error:
            messages.error(request, str(error))
        else:
            if row.state == DeviceImport.State.APPLIED:
                messages.success(request, "The devices were imported.")
            elif row.state == DeviceImport.State.CHECKED:
                changed = "Something changed since the check: nothing was imported."
                messages.error(request, row.report.get("refused") or changed)
        return HttpResponseRedirect(self.link("import_report", row.pk))

    def import_progress_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say how far the work is, as JSON for the page's script."""
        row = self._handed_in(request, pk)
        body = imports.progress_of(row) if row else {"error": "There is no such import."}
        response = JsonResponse(body, status=200 if row else 404)
        response["Cache-Control"] = "no-store"
        return response


def _found(devices: models.QuerySet[Any]) -> models.QuerySet[Device]:
    """Return the same devices without what the list added to its query."""
    return Device.objects.filter(pk__in=devices.order_by().values("pk")).order_by("-created", "id")
