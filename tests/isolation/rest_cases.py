"""What the walker may send to each REST route, and which policy the spec puts on it.

A route without a case fails the walk. A new route adds one entry here: its model, its object, a valid body
for each method. Which status follows is never written here: `walker.expected` derives it from the policy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from tests.isolation.world import Tenant, World

Body = Callable[[World, Tenant], Any]


def _nothing(_world: World, _tenant: Tenant) -> Any:
    return {}


@dataclass(frozen=True)
class Call:
    """One method: what it answers when allowed, a valid body, a query."""

    ok: int = 200
    body: Body = _nothing
    query: str = ""


@dataclass(frozen=True)
class Reference:
    """A place where a caller names another object: in the body of `method` or in the query of a GET."""

    method: str
    name: str
    of: Callable[[Tenant], Model]
    body: Callable[[World, str], Any] | None = None


@dataclass(frozen=True)
class Case:
    """A route: the model whose policy holds, the object in its path (None for lists), its methods."""

    model: str
    calls: dict[str, Call]
    of: Callable[[Tenant], Model] | None = None
    shared: Callable[[World], Model] | None = None
    personal: bool = False
    references: tuple[Reference, ...] = field(default=())


def device_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new device."""
    return {
        "name": "new-device",
        "organization": str(tenant.organization.pk),
        "mac_address": "02:FF:FF:FF:FF:01",
        "config": {"templates": [], "context": {}, "config": {}, "backend": "netjsonconfig.OpenWrt"},
        **fields,
    }


def template_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new template."""
    config = {"interfaces": [{"name": "eth8", "type": "ethernet"}]}
    return {
        "name": "new-template",
        "organization": str(tenant.organization.pk),
        "backend": "netjsonconfig.OpenWrt",
        "config": config,
        **fields,
    }


def group_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new group."""
    return {"name": "new-group", "organization": str(tenant.organization.pk), "templates": [], **fields}


def organization_body(_world: World, _tenant: Tenant) -> dict[str, Any]:
    """Return a valid new organization."""
    return {"name": "new", "slug": "new"}


def _notes(_world: World, _tenant: Tenant) -> dict[str, Any]:
    return {"notes": "changed"}


def _organization_filters() -> tuple[Reference, ...]:
    return (Reference("GET", "organization", lambda tenant: tenant.organization),)


def _related(
    method: str, body: Callable[..., Any], **places: Callable[[Tenant], Model]
) -> tuple[Reference, ...]:
    """Return references by top-level keys of a body."""
    return tuple(
        Reference(method, name, of, lambda world, pk, name=name: body(world, world.own, **{name: pk}))
        for name, of in places.items()
    )


def _in_config(world: World, pk: str) -> dict[str, Any]:
    config = {"templates": [pk], "context": {}, "config": {}, "backend": "netjsonconfig.OpenWrt"}
    return device_body(world, world.own, config=config)


def _patched(_world: World, _tenant: Tenant, **fields: Any) -> dict[str, Any]:
    return fields


def _organization(tenant: Tenant) -> Model:
    return tenant.organization


def _device(tenant: Tenant) -> Model:
    return tenant.device


def _template(tenant: Tenant) -> Model:
    return tenant.template


def _group(tenant: Tenant) -> Model:
    return tenant.group


def _shared(world: World) -> Model:
    return world.shared


DEVICE, TEMPLATE, GROUP = "devices.device", "config_merge.template", "devices.devicegroup"
READ = {"GET": Call()}

CASES: dict[str, Case] = {
    "device_list": Case(
        DEVICE,
        {"GET": Call(), "POST": Call(201, device_body)},
        references=(
            *_organization_filters(),
            Reference("GET", "group", _group),
            Reference("GET", "config__templates", _template),
            *_related("POST", device_body, organization=_organization, group=_group),
            Reference("POST", "config", _template, _in_config),
        ),
    ),
    "device_detail": Case(
        DEVICE,
        {
            "GET": Call(),
            "PUT": Call(200, device_body),
            "PATCH": Call(200, _notes),
            "DELETE": Call(204, query="?force=true"),
        },
        of=_device,
        references=(
            *_related("PATCH", _patched, organization=_organization, group=_group),
            Reference("PATCH", "config", _template, lambda _world, pk: {"config": {"templates": [pk]}}),
        ),
    ),
    "device_activate": Case(DEVICE, {"POST": Call()}, of=lambda tenant: tenant.retired),
    "device_deactivate": Case(DEVICE, {"POST": Call()}, of=_device),
    "device_configuration": Case(DEVICE, READ, of=_device),
    "device_effective": Case(DEVICE, READ, of=_device),
    "device_revisions": Case(DEVICE, READ, of=_device),
    "template_list": Case(
        TEMPLATE,
        {"GET": Call(), "POST": Call(201, template_body)},
        references=(*_organization_filters(), *_related("POST", template_body, organization=_organization)),
    ),
    "template_detail": Case(
        TEMPLATE,
        {
            "GET": Call(),
            "PUT": Call(200, template_body),
            "PATCH": Call(200, _notes),
            "DELETE": Call(204),
        },
        of=lambda tenant: tenant.spare_template,
        shared=_shared,
        references=_related("PATCH", _patched, organization=_organization),
    ),
    "template_configuration": Case(TEMPLATE, READ, of=_template, shared=_shared),
    "group_list": Case(
        GROUP,
        {"GET": Call(), "POST": Call(201, group_body)},
        references=(
            *_organization_filters(),
            *_related("POST", group_body, organization=_organization),
            Reference(
                "POST", "templates", _template, lambda world, pk: group_body(world, world.own, templates=[pk])
            ),
        ),
    ),
    "group_detail": Case(
        GROUP,
        {
            "GET": Call(),
            "PUT": Call(200, group_body),
            "PATCH": Call(200, lambda _world, _tenant: {"description": "changed"}),
            "DELETE": Call(204),
        },
        of=_group,
        references=(
            *_related("PATCH", _patched, organization=_organization),
            Reference("PATCH", "templates", _template, lambda _world, pk: {"templates": [pk]}),
        ),
    ),
    "users_organization_list": Case(
        "tenancy.organization", {"GET": Call(), "POST": Call(201, organization_body)}
    ),
    "users_organization_detail": Case(
        "tenancy.organization",
        {
            "GET": Call(),
            "PUT": Call(200, organization_body),
            "PATCH": Call(200, lambda _world, _tenant: {"description": "changed"}),
        },
        of=_organization,
    ),
    "users_notification_list": Case("tenancy.notification", READ, references=_organization_filters()),
    "users_notification_detail": Case(
        "tenancy.notification",
        {"GET": Call(), "PATCH": Call(200, lambda _world, _tenant: {"is_read": True})},
        of=lambda tenant: tenant.notification,
    ),
    "users_api_token_list": Case(
        "tenancy.apitoken",
        {"GET": Call(), "POST": Call(201, lambda _world, _tenant: {"name": "new"})},
        personal=True,
    ),
    "users_api_token_detail": Case(
        "tenancy.apitoken",
        {"GET": Call(), "PATCH": Call(200, lambda _world, _tenant: {"name": "new"}), "DELETE": Call(204)},
        of=lambda tenant: tenant.token,
        personal=True,
    ),
}
