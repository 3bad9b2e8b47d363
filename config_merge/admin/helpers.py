"""The addresses that editors of configurations ask behind the scenes, as the peer has them (OpenWISP spec, 1C).

Invariant: an object of another organization is answered like an unknown one; whoever may not reveal secrets gets
marks, and whoever was shown some is written down. They are for signed-in staff; `config/schema.json` for everyone who
has signed in, by session or by token.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils.http import http_date, parse_http_date_safe
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from config_merge import inputs
from config_merge.admin.preview import preview, secrets_of, text_of
from config_merge.admin.shown import unpacked
from config_merge.api.archives import archive_response
from config_merge.carrying import secret_names_of
from config_merge.models import Backend, Config, GroupTemplate
from config_merge.queries import configs_visible_to, templates_visible_to
from config_merge.schemas import editor_schema
from config_merge.services import assignment
from core.clock import now
from core.redaction import variables_of_secrets
from devices.models import Device, FleetSettings
from devices.queries import groups_visible_to
from tenancy.api.authentication import BearerTokenAuthentication
from tenancy.disclosure import disclosure_of
from tenancy.policy import allows
from tenancy.queries import organizations_visible_to, roles_of

STARTED = int(now().timestamp())
PLAIN = "text/plain; charset=utf-8"


def staff(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return the view for signed-in staff; others are sent to the sign-in page. Answers are not kept."""

    def answer(request: HttpRequest, **arguments: Any) -> HttpResponse:
        response = view(request, **arguments)
        disclosure_of(request).write()
        response["Cache-Control"] = "no-store"
        return response

    return admin.site.admin_view(answer)


def _failed(text: str, *, status: int) -> JsonResponse:
    return JsonResponse({"error": text}, status=status)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _may(user: Any, organization_id: UUID | None, action: str) -> bool:
    return user.is_superuser or (
        organization_id is not None and allows(roles_of(user).get(organization_id), action, Device)
    )


# --- schema ---------------------------------------------------------------------------------------------------


def _is_known(request: HttpRequest) -> bool:
    """Tell whether a session or a bearer token says who asks."""
    if request.user.is_authenticated:
        return True
    try:
        return BearerTokenAuthentication().authenticate(Request(request)) is not None
    except AuthenticationFailed:
        return False


def schema_view(request: HttpRequest) -> HttpResponse:
    """Return the JSON schema of every back end by its name; the same until the process ends."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET"])
    if not _is_known(request):
        return _failed("Sign in first.", status=403)
    known = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
    response: HttpResponse
    if known is not None and known >= STARTED:
        response = HttpResponse(status=304)
    else:
        response = JsonResponse({backend: editor_schema(backend) for backend in Backend.values})
    response["Last-Modified"] = http_date(STARTED)
    response["Cache-Control"] = "private, no-cache"
    response["Vary"] = "Authorization, Cookie"
    return response


# --- one device -----------------------------------------------------------------------------------------------


def _config_of(request: HttpRequest, pk: str) -> Config | None:
    """Return the configuration of a device the user may look at, by the device's id or by its own."""
    identifier = _uuid(pk)
    if identifier is None:
        return None
    configs = configs_visible_to(request.user).select_related("device__organization", "revision")
    config = configs.filter(device_id=identifier).first() or configs.filter(pk=identifier).first()
    allowed = config is not None and _may(request.user, config.device.organization_id, "view")
    return config if allowed else None


@staff
def download_view(request: HttpRequest, pk: str) -> HttpResponse:
    """Hand out the archive of a device; as text with marks where the user may not reveal its secrets."""
    config = _config_of(request, pk)
    if config is None or config.revision is None:
        return _failed("Not found.", status=404)
    device = config.device
    disclosure = disclosure_of(request)
    if disclosure.may(device.organization_id):
        disclosure.note(device, organization_id=device.organization_id)
        return archive_response(bytes(config.revision.artefact), name=device.name)
    (item,) = inputs.load([config])
    secrets = secrets_of(item, device, names=secret_names_of([device.organization_id]))
    shown = text_of(unpacked(config.revision), secrets=secrets)
    return HttpResponse(shown, content_type=PLAIN)


@staff
def context_view(request: HttpRequest, pk: str) -> HttpResponse:
    """Return the variables a device has by itself, beside its own and its templates' default values."""
    config = _config_of(request, pk)
    if config is None:
        return _failed("Not found.", status=404)
    device = config.device
    fleet = FleetSettings.objects.filter(pk=device.organization_id).first()
    layers = inputs.variable_layers(
        device=device,
        templates=(),
        organization=fleet.context if fleet else {},
        group=device.group,
        context={},
    )
    values: dict[str, Any] = {}
    for layer in layers:
        values |= layer.values
    place = device.organization_id
    names = secret_names_of([place]) | variables_of_secrets(config.config)
    return JsonResponse(disclosure_of(request).tree(values, of=device, organization_id=place, names=names))


# --- what a form may offer ------------------------------------------------------------------------------------


@staff
def relevant_templates_view(request: HttpRequest, organization_id: str) -> HttpResponse:
    """Return the templates a device of an organization may have, by id, and which of them it gets by itself.

    404 for an organization that is not there, not active or not the user's; 403 where the user may not write.
    """
    pk = _uuid(organization_id)
    ids = {name: request.GET.get(name, "").strip() for name in ("config_id", "group_id")}
    if pk is None or any(text and _uuid(text) is None for text in ids.values()):
        return _failed("An id is not a UUID.", status=400)
    organization = organizations_visible_to(request.user).filter(pk=pk, is_active=True).first()
    if organization is None:
        return _failed("There is no such organization.", status=404)
    if not _may(request.user, pk, "change"):
        return _failed("You may not change devices of this organization.", status=403)
    templates = templates_visible_to(request.user).filter(assignment.usable_by(pk)).select_related(None)
    backend = request.GET.get("backend", "")
    if backend:
        templates = templates.filter(backend=backend)
    chosen, grouped = _chosen(request, ids)
    rows = list(
        templates.order_by("-required", "-default", "name", "pk").only(
            "name", "default", "required", "backend"
        )
    )
    order = {template_id: place for place, template_id in enumerate(chosen)}
    rows.sort(key=lambda row: order.get(row.pk, len(order)))
    body = {
        str(row.pk): {
            "name": row.name,
            "backend": row.get_backend_display(),
            "default": row.default or row.pk in grouped,
            "required": row.required,
            "selected": row.pk in order if chosen else row.default or row.required or row.pk in grouped,
        }
        for row in rows
    }
    return JsonResponse(body)


def _chosen(request: HttpRequest, ids: dict[str, str]) -> tuple[list[UUID], set[UUID]]:
    """Return the templates of the configuration and of the group that were named, as far as they are the user's."""
    chosen: list[UUID] = []
    grouped: set[UUID] = set()
    if ids["config_id"]:
        config = _config_of(request, ids["config_id"])
        chosen = assignment.current_ids(config.pk) if config else []
    if ids["group_id"]:
        group = groups_visible_to(request.user).filter(pk=ids["group_id"]).first()
        grouped = (
            set(GroupTemplate.objects.filter(group=group).values_list("template_id", flat=True))
            if group
            else set()
        )
    return chosen, grouped


@staff
def default_values_view(request: HttpRequest) -> HttpResponse:
    """Return the default values of templates, with what group and organization say instead of them."""
    keys = [text for text in request.GET.get("pks", "").split(",") if text.strip()]
    named = {name: request.GET.get(name, "").strip() for name in ("group", "organization")}
    ids = [_uuid(text.strip()) for text in keys]
    if None in ids or any(text and _uuid(text) is None for text in named.values()):
        return _failed("An id is not a UUID.", status=400)
    found = templates_visible_to(request.user).filter(pk__in=ids).in_bulk()
    layers: list[tuple[UUID | None, Model, dict[str, Any]]] = [
        (found[pk].organization_id, found[pk], found[pk].default_values)
        for pk in ids
        if pk in found and pk is not None
    ]
    if named["organization"]:
        fleets = FleetSettings.objects.filter(pk__in=organizations_visible_to(request.user).values("pk"))
        fleet = fleets.filter(pk=named["organization"]).first()
        layers += [(fleet.pk, fleet, fleet.context)] if fleet else []
    if named["group"]:
        group = groups_visible_to(request.user).filter(pk=named["group"]).first()
        layers += [(group.organization_id, group, group.context)] if group else []
    names = secret_names_of({organization_id for organization_id, _, _ in layers})
    disclosure = disclosure_of(request)
    values: dict[str, Any] = {}
    for organization_id, row, layer in layers:
        values |= disclosure.tree(layer, of=row, organization_id=organization_id, names=names)
    return JsonResponse({"default_values": values})


# --- preview --------------------------------------------------------------------------------------------------


@staff
def preview_view(request: HttpRequest) -> HttpResponse:
    """Render a form that was not saved, as text; 400 with what is wrong with it."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        posted = {name: str(value) for name, value in request.POST.items()}
        text = preview(posted, disclosure=disclosure_of(request))
    except ValidationError as error:
        by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        lines = [f"{field}: {said}" if field else said for field, texts in by_field.items() for said in texts]
        return HttpResponse("\n".join(lines), status=400, content_type=PLAIN)
    return HttpResponse(text, content_type=PLAIN)
