"""What the device form asks while one edits: templates that fit, the system's variables, and a preview.

Invariant: nothing is written, and every answer starts from what the user may see; ids of other organizations are
answered like unknown ones.
"""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path

from config_merge import inputs
from config_merge.admin.explain import LAYER_TITLES, plain
from config_merge.admin.forms import CONFIG_PARTS
from config_merge.admin.hidden import hidden_diff, inputs_of
from config_merge.admin.revision_pages import RevisionPages
from config_merge.admin.shown import SHOWN_BYTES, diff_lines
from config_merge.admin.widgets import template_facts
from config_merge.carrying import secret_names_of
from config_merge.engine import EngineError, render, validate
from config_merge.engine.variables import variables_in_force
from config_merge.hiding import Secrecy, secret_variables, texts_at, value_hidden
from config_merge.models import Backend, Config, Template
from config_merge.queries import templates_visible_to
from config_merge.services import assignment, configs
from config_merge.services.device_previews import device_preview
from core.errors import MusterError
from core.redaction import is_secret_name, secrets_in
from devices.models import Device, DeviceGroup, FleetSettings
from devices.queries import groups_visible_to
from tenancy.admin_base import Refused, refusals
from tenancy.models import Organization
from tenancy.queries import organizations_visible_to

MOST_TEMPLATES = 1000


def _row(rows: Any, key: str | None) -> Any:
    """Return a row by its key as a browser sent it; None for what is no key, or not among `rows`."""
    try:
        return rows.filter(pk=UUID(key)).first() if key else None
    except ValueError:
        return None


class FormPages(RevisionPages):
    """Adds what the device form asks."""

    def get_urls(self) -> list[URLPattern]:
        """Put ours before Django's, whose last pattern matches everything."""
        pages = (
            ("relevant-templates/", "relevant_templates", self.relevant_templates_view),
            ("system-variables/", "system_variables", self.system_variables_view),
            ("preview/", "preview_new", self.preview_view),
            ("<uuid:pk>/preview/", "preview", self.preview_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"devices_device_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def sources(self, request: HttpRequest) -> Any:
        """Return the function that links a source to its page."""
        raise LookupError("the pages of a device link their sources")

    def _organization(self, request: HttpRequest) -> Organization | None:
        user: Any = request.user
        found: Organization | None = _row(organizations_visible_to(user), request.GET.get("organization"))
        return found if found is not None and self.may(request, "view") else None

    def _group(self, request: HttpRequest, organization: Organization) -> DeviceGroup | None:
        groups = groups_visible_to(request.user).filter(organization=organization)
        found: DeviceGroup | None = _row(groups, request.GET.get("group"))
        return found

    def relevant_templates_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the templates a device of an organization and backend can have, and those it gets by itself."""
        organization = self._organization(request)
        if organization is None:
            return JsonResponse({"error": "Not found."}, status=404)
        backend = request.GET.get("backend") or Backend.OPENWRT.value
        if backend not in Backend.values:
            return JsonResponse({"error": "Unknown backend."}, status=400)
        rows = (
            templates_visible_to(request.user)
            .filter(assignment.usable_by(organization.pk), backend=backend)
            .order_by("name", "pk")
            .defer("config", "default_values", "notes")[:MOST_TEMPLATES]
        )
        group = self._group(request, organization)
        automatic = assignment.automatic_templates(organization_id=organization.pk, backend=backend)
        first = list(automatic.values_list("pk", flat=True))
        joined = assignment.group_template_ids(group.pk if group else None, backend=backend)
        return JsonResponse(
            {
                "templates": [{"id": str(row.pk), **template_facts(row)} for row in rows],
                "automatic": [str(pk) for pk in assignment.unique([*first, *joined])],
            }
        )

    def system_variables_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the variables a device has before its own, as the form stands, secrets as marks."""
        organization = self._organization(request)
        if organization is None:
            return JsonResponse({"error": "Not found."}, status=404)
        stored: Device | None = _row(self.get_queryset(request), request.GET.get("device"))
        device = stored or Device(key="")
        device.organization = organization
        for name in ("name", "mac_address"):
            if name in request.GET:
                setattr(device, name, request.GET[name][:64])
        templates = self._templates(request, organization)
        fleet = FleetSettings.objects.filter(pk=organization.pk).first()
        layers = inputs.variable_layers(
            device=device,
            templates=templates,
            organization=fleet.context if fleet else {},
            group=self._group(request, organization),
            context={},
        )
        item = inputs_of(Config.objects.filter(device_id=stored.pk).first()) if stored else None
        parts: list[Any] = [template.config for template in templates]
        parts += [layer.config for layer in item.layers] if item is not None else []
        carriers = {name for tree in parts for name in secret_variables(tree)}
        carriers |= secret_names_of([organization.pk])
        return JsonResponse({"variables": self._described(request, layers, carriers)})

    def _templates(self, request: HttpRequest, organization: Organization) -> list[Template]:
        keys = []
        for text in request.GET.getlist("templates")[:MOST_TEMPLATES]:
            try:
                keys.append(UUID(text))
            except ValueError:
                continue
        usable = templates_visible_to(request.user).filter(assignment.usable_by(organization.pk), pk__in=keys)
        rows = usable.in_bulk()
        return [rows[key] for key in dict.fromkeys(keys) if key in rows]

    def _described(self, request: HttpRequest, layers: Any, carriers: set[str]) -> list[dict[str, Any]]:
        secrets = {str(value) for layer in layers for value in secrets_in(layer.values)}
        secrets |= {text for layer in layers[1:] for text in texts_at(layer.values, carriers)}
        link = self.sources(request)
        try:
            variables = variables_in_force(layers)
        except EngineError:
            return []

        def told(source: Any, value: Any, secret: bool) -> dict[str, str]:
            return {
                "layer": source.layer,
                "title": LAYER_TITLES.get(source.layer, source.layer),
                "name": source.name,
                "link": link(source),
                "value": plain(value_hidden(value, secrets, secret=secret)),
            }

        answer = []
        for name, item in sorted(variables.items()):
            secret = name in carriers or is_secret_name(name)
            overruled = [told(source, value, secret) for source, value in reversed(item.shadowed)]
            answer.append({"variable": name, **told(item.source, item.value, secret), "shadowed": overruled})
        return answer

    def preview_view(self, request: HttpRequest, pk: UUID | None = None) -> HttpResponse:
        """Tell what saving the posted form would do to the device; writes nothing."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        device: Device | None = None
        if pk is not None:
            device = self.get_object(request, str(pk))
            if device is None:
                return self.missing(request, pk)
        allowed = (
            self.has_add_permission(request)
            if device is None
            else self.has_change_permission(request, device)
        )
        if not allowed:
            raise PermissionDenied
        form_class: Any = self.get_form(request, device, change=device is not None)
        form = form_class(request.POST, request.FILES, instance=device)
        context: dict[str, Any] = {}
        if form.is_valid():
            try:
                with refusals():
                    context = self._previewed(pk, form)
            except Refused as refused:
                context = {"errors": [("", refused.error.messages)]}
            except MusterError as error:
                context = {"errors": [("", [str(error)])]}
        else:
            context = {"errors": [(_label(form, name), texts) for name, texts in form.errors.items()]}
        status = 400 if context.get("errors") else 200
        return HttpResponse(render_to_string("admin/config_merge/_preview.html", context), status=status)

    def _previewed(self, pk: UUID | None, form: Any) -> dict[str, Any]:
        if pk is None:
            return _new_device(form)
        stored = Device.objects.get(pk=pk)
        config = form.config_values()
        preview = device_preview(stored, {**form.values(), **({"config": config} if config else {})})
        return {
            "preview": preview,
            "groups": [diff_lines(group.hidden[:SHOWN_BYTES]) for group in preview.groups],
        }


def _label(form: Any, name: str) -> str:
    return "" if name not in form.fields else str(form.fields[name].label or name)


def _new_device(form: Any) -> dict[str, Any]:
    """Return the preview of a device that does not exist yet. Raises ValidationError as creating it would."""
    device, wanted = Device(**form.values()), form.config_values()
    config = Config(
        device=device,
        backend=wanted.get("backend", Backend.OPENWRT),
        config=wanted.get("config") or {},
        context=wanted.get("context") or {},
    )
    chosen = list(wanted.get("templates") or ())
    configs.check_templates(device, chosen)
    exact = form.exact_templates()
    ids = [template.pk for template in (chosen if exact is None else exact)]
    if exact is None:
        ids = assignment.starting_ids(device, backend=config.backend, chosen=ids)
    else:
        ids = assignment.with_required(device, backend=config.backend, template_ids=ids)
    rows = Template.objects.in_bulk(ids)
    fleet = FleetSettings.objects.filter(pk=device.organization_id).first()
    item = inputs.build(
        config=config,
        device=device,
        templates=[rows[key] for key in ids if key in rows],
        organization=fleet.context if fleet else {},
        group=device.group,
    )
    secrecy = Secrecy()
    try:
        tree = item.effective().tree
        validate(backend=item.backend, tree=tree)
        files = render(backend=item.backend, tree=tree, os=item.os).files
    except EngineError as error:
        named = CONFIG_PARTS["config"]
        raise ValidationError({named: [secrecy.words(item, str(error))]}) from error
    text = hidden_diff((), files, secrecy.secrets(item))
    return {"new": True, "groups": [diff_lines(text[:SHOWN_BYTES])]}
