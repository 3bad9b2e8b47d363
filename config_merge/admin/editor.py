"""What the JSON editor of templates asks for: the schema of a back end, and what the service would say on saving.

Invariant: asking writes nothing, and the words are those of the service that saves.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import patch_cache_control

from config_merge.engine import EngineError, UnknownBackend
from config_merge.models import Template
from config_merge.schemas import editor_schema
from config_merge.services import templates
from core.admin import JsonObjectField
from tenancy.admin_base import ScopedAdmin

SCHEMA_SECONDS = 600


def schema_aware(field: forms.Field, *, backend: str, checked: str = "") -> None:
    """Make a JSON field's editor validate against the schema of the back end chosen in the field with id `backend`.

    `checked` names (by id, separated by blanks) the fields of a template that the server is to be asked about.
    """
    address = reverse("admin:config_merge_template_schema") + "?backend={}"
    field.widget.attrs |= {"data-schema": address, "data-schema-by": backend}
    if checked:
        check = reverse("admin:config_merge_template_check")
        field.widget.attrs |= {"data-check": check, "data-check-fields": checked}


def _content(request: HttpRequest, name: str) -> dict[str, Any]:
    return JsonObjectField().clean(request.POST.get(name, ""))


def content_errors(request: HttpRequest) -> list[dict[str, str]]:
    """Return what the service would say about the posted back end, configuration and default values."""
    errors: list[dict[str, str]] = []
    values: dict[str, dict[str, Any]] = {}
    for name, words in (("config", ""), ("default_values", "Default values: ")):
        try:
            values[name] = _content(request, name)
        except ValidationError as error:
            errors.append({"path": "#", "message": words + " ".join(error.messages)})
    if errors:
        return errors
    draft = Template(backend=request.POST.get("backend", ""), **values)
    try:
        templates.check_content(draft)
    except ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, EngineError):
            return [{"path": cause.path, "message": cause.message}]
        return [{"path": "#", "message": " ".join(error.messages)}]
    return []


class ContentEditor(ScopedAdmin):
    """Adds to the page of templates what its editor asks for."""

    def get_urls(self) -> list[URLPattern]:
        """Add the schema and the check."""
        view = self.admin_site.admin_view
        return [
            path(
                "schema/",
                view(self.schema_view, cacheable=True),
                name="config_merge_template_schema",
            ),
            path("check/", view(self.check_view), name="config_merge_template_check"),
            *super().get_urls(),
        ]

    def schema_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the schema of a back end; it changes only when the product does."""
        try:
            schema = editor_schema(request.GET.get("backend", ""))
        except UnknownBackend as error:
            raise Http404 from error
        response = JsonResponse(schema, json_dumps_params={"separators": (",", ":")})
        response["Cache-Control"] = f"private, max-age={SCHEMA_SECONDS}"
        return response

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Say what saving would say about the content."""
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not (self.may(request, "add") or self.may(request, "change")):
            raise PermissionDenied
        response = JsonResponse(
            {
                "errors": content_errors(request),
                "message": "The server would accept this, with the default values.",
            }
        )
        patch_cache_control(response, no_store=True)
        return response
