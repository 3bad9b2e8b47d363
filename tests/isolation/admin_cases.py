"""How the walk through the admin builds its requests: generically, from what is registered.

A registered model needs one entry in OBJECTS (its object of a tenant); a route whose arguments the walk
cannot fill is a failure.
"""

import re
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from boot.models_images import Image
from tests import factories
from tests.isolation.routes import Route, routes
from tests.isolation.world import NUMBERED, Tenant, World

OBJECTS: dict[str, Callable[[Tenant], Model]] = {
    "tenancy.organization": lambda tenant: tenant.organization,
    "tenancy.user": lambda tenant: tenant.member,
    "tenancy.membership": lambda tenant: tenant.membership,
    "tenancy.apitoken": lambda tenant: tenant.token,
    "tenancy.apikey": lambda tenant: tenant.api_key,
    "tenancy.notification": lambda tenant: tenant.notification,
    "tenancy.webhook": lambda tenant: tenant.webhook,
    "tenancy.auditevent": lambda tenant: tenant.event,
    "devices.fleetsettings": lambda tenant: tenant.fleet,
    "devices.device": lambda tenant: tenant.device,
    "devices.devicegroup": lambda tenant: tenant.group,
    "boot.bootconfig": lambda tenant: tenant.boot_config,
    "boot.deletedbootconfig": lambda tenant: tenant.deleted_boot,
    "boot.image": lambda tenant: tenant.image,
    "boot.imageupload": lambda tenant: tenant.upload,
    "boot.imagelimits": lambda tenant: tenant.image_limits,
    "boot.quota": lambda tenant: tenant.quota,
    "tracking.trackeddevice": lambda tenant: tenant.tracked,
    "config_merge.template": lambda tenant: tenant.template,
    "config_merge.configtask": lambda tenant: tenant.task,
    "config_merge.site": lambda tenant: tenant.site,
    "config_merge.job": lambda tenant: tenant.job,
    "config_merge.deleteddevice": lambda tenant: tenant.deleted,
    "config_merge.config": lambda tenant: factories.config_of(tenant.device),
    "config_merge.configrevision": lambda tenant: factories.config_of(tenant.device).revisions.get(number=1),
}
OBJECT_ARGUMENTS = {"object_id", "pk", "id"}
# Arguments that name no object by themselves.
FIXED: dict[str, Any] = {"number": 1, "step": "suspend", "url": "nothing/at/all"}
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


def admin_routes() -> list[Route]:
    """Return the routes of the admin."""
    return [route for route in routes() if route.pattern.startswith("/admin/")]


def model_of(route: Route) -> str | None:
    """Return the label of the model a route is about, None for a page of the site itself."""
    match = re.match(r"/admin/(\w+)/(\w+)/", route.pattern)
    if match is None:
        return None
    try:
        # The helpers of editors stand where the peer has them.
        return apps.get_model("devices" if match[1] == "config" else match[1], match[2])._meta.label_lower
    except LookupError:
        return None


def registered_labels() -> list[str]:
    """Return the labels of all models in the admin."""
    return [model._meta.label_lower for model in admin.site._registry]


def _filled(route: Route, values: dict[str, Any]) -> str:
    path = _ARGUMENT.sub(lambda match: str(values[match[1]]), route.pattern)
    return path.replace("^", "").replace("$", "")


def paths(route: Route, world: World) -> list[dict[str, str]]:
    """Return the paths of a route by kind of object ("page" when there is none).

    Raises LookupError when an argument cannot be filled.
    """
    arguments = set(route.arguments)
    if not arguments:
        return [{"page": route.pattern}]
    if arguments == {"app_label"}:
        labels = sorted({label.split(".")[0] for label in registered_labels()})
        return [{"page": f"/admin/{label}/"} for label in labels]
    if arguments == {"url"}:
        return [{"page": "/admin/nothing/at/all"}]
    if arguments == {"organization_id"}:
        return [_by_kind(route, world, "tenancy.organization", "organization_id")]
    if arguments == {"content_type_id", "object_id"}:
        return [_by_kind(route, world, label, "object_id") for label in registered_labels()]
    label, named = model_of(route), arguments & OBJECT_ARGUMENTS
    if label not in OBJECTS or len(named) != 1 or arguments - named - set(FIXED):
        raise LookupError(f"No case can be built for the admin route {route.pattern}")
    return [_by_kind(route, world, label, named.pop())]


def _by_kind(route: Route, world: World, label: str, argument: str) -> dict[str, str]:
    of = OBJECTS[label]
    content_type = ContentType.objects.get_for_model(apps.get_model(label)).pk
    own = of(world.own).pk
    unknown = NUMBERED if isinstance(own, int) and own > NUMBERED else world.unknown
    ids = {"own": own, "foreign": of(world.foreign).pk, "unknown": unknown}
    if label == "config_merge.template":
        ids["shared"] = world.shared.pk
    if label == "boot.image":
        ids["shared"] = Image.objects.get(key=None).pk
    return {
        kind: _filled(route, {**FIXED, "content_type_id": content_type, argument: pk})
        for kind, pk in ids.items()
    }
