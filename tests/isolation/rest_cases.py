"""What the walker may send to each REST route, and which policy the spec puts on it.

A route without a case fails the walk. A new route adds one entry here: its model, its object, a valid body
for each method. Which status follows is never written here: `walker.expected` derives it from the policy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.core.files.base import ContentFile
from django.db.models import Model
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from boot.models_images import Image
from config_merge.models import SiteDevice
from tests import factories
from tests.isolation.world import Tenant, World

Body = Callable[[World, Tenant], Any]
JSON = "application/json"


def _nothing(_world: World, _tenant: Tenant) -> Any:
    return {}


@dataclass(frozen=True)
class Call:
    """One method: what it answers when allowed, a valid body, a query."""

    ok: int = 200
    body: Body = _nothing
    query: str = ""
    media: str = JSON


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
    # The object is the caller's own where they have one: members see no more of each other's.
    mine: bool = False
    reveals: bool = False
    # What the path names beside `pk`.
    extra: Callable[[Tenant], dict[str, Any]] = lambda _tenant: {}
    # What its POST needs the right to do.
    posts: str = "add"
    # The other arguments of its path.
    arguments: dict[str, Any] = field(default_factory=dict)
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


def import_body(_world: World, tenant: Tenant, **fields: Any) -> list[dict[str, Any]]:
    """Return a valid table of one new device."""
    row = {"name": "new-device", "mac_address": "02:FF:FF:FF:FF:01"}
    return [{**row, "organization_id": str(tenant.organization.pk), **fields}]


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


def batch_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new job."""
    return {"action": "deactivate", "devices": [str(tenant.device.pk)], **fields}


def organization_body(_world: World, _tenant: Tenant) -> dict[str, Any]:
    """Return a valid new organization."""
    return {"name": "new", "slug": "new"}


def webhook_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new webhook."""
    return {
        "organization": str(tenant.organization.pk),
        "url": "https://hooks.example.org/new",
        "events": ["device.registered"],
        **fields,
    }


def api_key_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new API key."""
    return {"organization": str(tenant.organization.pk), "name": "new", **fields}


def _webhook(tenant: Tenant) -> Model:
    return tenant.webhook


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


def _site(tenant: Tenant) -> Model:
    return tenant.site


def _placed(tenant: Tenant) -> Model:
    return tenant.placed


def _task(tenant: Tenant) -> Model:
    return tenant.task


def site_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new site."""
    return {"name": "new-site", "organization": str(tenant.organization.pk), **fields}


def _other_variables(_world: World, _tenant: Tenant) -> dict[str, Any]:
    return {"context": {"floor": "2"}}


def _site_change(_world: World, tenant: Tenant) -> dict[str, Any]:
    return {"version": str(tenant.site.version), "changes": {"ntp/server": {"value": "new"}}}


def _device_change(_world: World, tenant: Tenant) -> dict[str, Any]:
    version = str(SiteDevice.objects.get(device=tenant.placed).version)
    return {"version": version, "changes": {"ntp/server": {"value": "new", "origin": "site-device"}}}


def placement_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid move into another site."""
    return {"site": str(tenant.spare_site.pk), **fields}


def _shared(world: World) -> Model:
    return world.shared


def _job(tenant: Tenant) -> Model:
    return tenant.job


JOB = "config_merge.job"


def _colleague(tenant: Tenant) -> Model:
    return tenant.colleague


def person_body(_world: World, tenant: Tenant) -> dict[str, Any]:
    """Return a valid new person."""
    return {"username": "new", "organization_users": {"organization": str(tenant.organization.pk)}}


def _invited_to(_world: World, pk: str) -> dict[str, Any]:
    return {"username": "new", "organization_users": [{"organization": pk, "is_admin": True}]}


def membership_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return what would be a membership, were it not of a member: strangers can be named by superusers only."""
    return {
        "user": str(tenant.colleague.pk),
        "organization": str(tenant.organization.pk),
        "role": "viewer",
        **fields,
    }


def _as_viewer(_world: World, _tenant: Tenant) -> dict[str, Any]:
    return {"role": "viewer"}


def _address(_world: World, _tenant: Tenant) -> dict[str, Any]:
    return {"email": "new@example.org"}


DEVICE, TEMPLATE, GROUP = "devices.device", "config_merge.template", "devices.devicegroup"
SITE, PLACE = "config_merge.site", "config_merge.sitedevice"
TASK, CONFIG = "config_merge.configtask", "config_merge.config"
USER, MEMBERSHIP = "tenancy.user", "tenancy.membership"
READ = {"GET": Call()}
BOOT, IMAGE, UPLOAD = "boot.bootconfig", "boot.image", "boot.imageupload"
BYTES = "application/octet-stream"


def boot_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new boot configuration."""
    return {"key": str(tenant.api_key.pk), "device": "new-device", "config": {"a": 1}, **fields}


def image_body(_world: World, tenant: Tenant, **fields: Any) -> bytes:
    """Return a valid new image, as a form."""
    form = {
        "key": str(tenant.api_key.pk),
        "path": "new-image",
        "file": ContentFile(b"new", name="x"),
        **fields,
    }
    return encode_multipart(BOUNDARY, form)


def upload_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return a valid new upload."""
    return {"key": str(tenant.api_key.pk), "path": "new-image", "size": 3, **fields}


def info_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return the build that has two images."""
    build = {"recipe": tenant.organization.slug, "build_id": "2026_01_01_000000"}
    return {"key": str(tenant.api_key.pk), **build, **fields}


def transfer_body(_world: World, tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Return where everything of a key goes."""
    return {"to": str(tenant.spare_key.pk), "dry_run": True, **fields}


def _deleted_device(_world: World, _tenant: Tenant) -> dict[str, Any]:
    return {"device": "deleted-pi"}


def _api_key(tenant: Tenant) -> Model:
    return tenant.api_key


def _boot_config(tenant: Tenant) -> Model:
    return tenant.boot_config


def _tracked(tenant: Tenant) -> Model:
    return tenant.tracked


def _image(tenant: Tenant) -> Model:
    return tenant.image


def _upload(tenant: Tenant) -> Model:
    return tenant.upload


def _common_image(_world: World) -> Model:
    return Image.objects.get(key=None)


def _of_keys(method: str = "", body: Callable[..., Any] | None = None) -> tuple[Reference, ...]:
    """Return the references of a list of what belongs to API keys."""
    found = (*_organization_filters(), Reference("GET", "key", _api_key))
    return found + (_related(method, body, key=_api_key) if body else ())


_OF_DEVICE = Call(query="?device=deleted-pi")
BOOT_CASES: dict[str, Case] = {
    "boot_config_list": Case(
        BOOT, {"GET": Call(), "POST": Call(201, boot_body)}, references=_of_keys("POST", boot_body)
    ),
    "boot_config_detail": Case(
        BOOT,
        {
            "GET": Call(),
            "PUT": Call(200, lambda _world, _tenant: {"config": {"b": 2}}),
            "PATCH": Call(200, lambda _world, _tenant: {"config": {"b": 2}}),
            "DELETE": Call(204),
        },
        of=_boot_config,
    ),
    "boot_config_versions": Case(BOOT, READ, of=_boot_config),
    "boot_config_version": Case(BOOT, READ, of=_boot_config, arguments={"n": 1}),
    "boot_config_version_diff": Case(BOOT, READ, of=_boot_config, arguments={"n": 1, "m": 1}),
    "boot_config_version_restore": Case(
        BOOT, {"POST": Call()}, of=_boot_config, arguments={"n": 1}, posts="change"
    ),
    "boot_deleted_list": Case("boot.deletedbootconfig", READ, references=_of_keys()),
    "boot_key_versions": Case(BOOT, {"GET": _OF_DEVICE}, of=_api_key),
    "boot_key_restore": Case(BOOT, {"POST": Call(201, _deleted_device)}, of=_api_key),
    "boot_key_transfer": Case(
        BOOT,
        {"POST": Call(200, transfer_body)},
        of=_api_key,
        references=_related("POST", transfer_body, to=_api_key),
    ),
    # It needs a key in its query.
    "boot_effective": Case(BOOT, {"GET": Call(400)}, references=(Reference("GET", "key", _api_key),)),
    "boot_track_list": Case("tracking.trackeddevice", READ, references=_of_keys()),
    "boot_track_detail": Case("tracking.trackeddevice", READ, of=_tracked),
    "boot_track_adopt": Case(DEVICE, {"POST": Call()}, of=_tracked),
    "boot_key_list": Case("boot.quota", READ, references=_organization_filters()),
    "boot_key_quotas": Case("boot.quota", READ, of=_api_key),
    "boot_organization_quotas": Case("boot.quota", {"GET": Call(), "PATCH": Call()}, of=_organization),
    "boot_organization_image_limits": Case(
        "boot.imagelimits", {"GET": Call(), "PATCH": Call()}, of=_organization
    ),
    "boot_image_list": Case(
        IMAGE,
        {"GET": Call(), "POST": Call(201, image_body, media=MULTIPART_CONTENT)},
        references=_of_keys("POST", image_body),
    ),
    "boot_image_detail": Case(IMAGE, {"GET": Call(), "DELETE": Call(204)}, of=_image, shared=_common_image),
    "boot_image_uses": Case(IMAGE, READ, of=_image, shared=_common_image),
    "boot_image_download": Case(IMAGE, {"GET": Call(302)}, of=_image, shared=_common_image),
    "boot_build_list": Case(IMAGE, READ),
    "boot_build_info": Case(
        IMAGE, {"POST": Call(201, info_body)}, references=_related("POST", info_body, key=_api_key)
    ),
    "boot_upload_list": Case(
        UPLOAD, {"GET": Call(), "POST": Call(201, upload_body)}, references=_of_keys("POST", upload_body)
    ),
    "boot_upload_detail": Case(
        UPLOAD,
        {
            "GET": Call(),
            "PATCH": Call(200, lambda _world, _tenant: b"", query="?offset=0", media=BYTES),
            "DELETE": Call(204),
        },
        of=_upload,
    ),
    "boot_upload_finish": Case(UPLOAD, {"POST": Call()}, of=_upload, posts="change"),
}

CASES: dict[str, Case] = {
    **BOOT_CASES,
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
    "device_configuration": Case(DEVICE, READ, of=_device, reveals=True),
    "device_effective": Case(DEVICE, READ, of=_device),
    "device_revisions": Case(DEVICE, READ, of=_device),
    "device_export": Case(
        DEVICE,
        {"GET": Call()},
        references=(
            *_organization_filters(),
            Reference("GET", "group", _group),
            Reference("GET", "config__templates", _template),
        ),
    ),
    "device_import": Case(
        DEVICE,
        {"POST": Call(200, lambda world, tenant: import_body(world, tenant))},
        references=tuple(
            Reference(
                "POST", name, of, lambda world, pk, name=name: import_body(world, world.own, **{name: pk})
            )
            for name, of in (
                ("organization_id", _organization),
                ("group_id", _group),
                ("config_templates", _template),
                ("id", _device),
            )
        ),
    ),
    "device_deleted_list": Case("config_merge.deleteddevice", READ, references=_organization_filters()),
    "device_deleted_restore": Case(
        "config_merge.deleteddevice", {"POST": Call()}, of=lambda tenant: tenant.deleted
    ),
    "template_clone": Case(
        TEMPLATE,
        {"POST": Call(201)},
        of=_template,
        references=_related("POST", _patched, organization=_organization),
    ),
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
    "device_preview": Case(
        DEVICE,
        {"POST": Call(200, _notes)},
        of=_device,
        references=(
            *_related("POST", _patched, organization=_organization, group=_group),
            Reference("POST", "config", _template, lambda _world, pk: {"config": {"templates": [pk]}}),
        ),
    ),
    "device_revision": Case(DEVICE, READ, of=_device, arguments={"n": 1}),
    "device_revision_diff": Case(DEVICE, READ, of=_device, arguments={"n": 1, "m": 1}),
    "device_revision_restore": Case(DEVICE, {"POST": Call()}, of=_device, arguments={"n": 1}),
    "template_preview": Case(
        TEMPLATE,
        {"POST": Call(200, _notes)},
        of=lambda tenant: tenant.spare_template,
        shared=_shared,
        references=_related("POST", _patched, organization=_organization),
    ),
    "template_new_preview": Case(
        TEMPLATE,
        {"POST": Call(200, template_body)},
        references=_related("POST", template_body, organization=_organization),
    ),
    "group_preview": Case(
        GROUP,
        {"POST": Call(200, lambda _world, _tenant: {"description": "changed"})},
        of=_group,
        references=(
            *_related("POST", _patched, organization=_organization),
            Reference("POST", "templates", _template, lambda _world, pk: {"templates": [pk]}),
        ),
    ),
    "organization_variables_preview": Case(
        "devices.fleetsettings",
        {"POST": Call(200, lambda _world, _tenant: {"context": {"a": "b"}})},
        of=lambda tenant: tenant.fleet,
        posts="change",
    ),
    "site_list": Case(
        SITE,
        {"GET": Call(), "POST": Call(201, site_body)},
        references=(*_organization_filters(), *_related("POST", site_body, organization=_organization)),
    ),
    "site_detail": Case(
        SITE,
        {"GET": Call(), "PATCH": Call(200, _other_variables), "DELETE": Call(204)},
        of=lambda tenant: tenant.spare_site,
    ),
    "site_preview": Case(SITE, {"POST": Call(200, _other_variables)}, of=_site, posts="change"),
    "site_settings": Case(SITE, {"GET": Call(), "PATCH": Call(200, _site_change)}, of=_site),
    "site_settings_preview": Case(SITE, {"POST": Call(200, _site_change)}, of=_site, posts="change"),
    "site_effective": Case(SITE, READ, of=_site),
    "site_overrides": Case(SITE, READ, of=_site),
    "site_devices": Case(SITE, READ, of=_site),
    "device_site": Case(
        PLACE,
        {
            "GET": Call(),
            "PUT": Call(200, placement_body),
            "PATCH": Call(200, lambda _world, _tenant: {"is_blocked": True}),
            "DELETE": Call(204),
        },
        of=_placed,
        references=(
            *_related("PUT", placement_body, site=_site),
            *_related("PATCH", _patched, site=_site),
        ),
    ),
    "device_site_preview": Case(
        PLACE,
        {"POST": Call(200, placement_body)},
        of=_placed,
        posts="change",
        references=_related("POST", _patched, site=_site),
    ),
    "device_site_settings": Case(
        PLACE,
        {
            "GET": Call(),
            "PATCH": Call(200, _device_change),
            "DELETE": Call(200, query="?key=radio/r5/channel"),
        },
        of=_placed,
    ),
    "device_site_effective": Case(PLACE, READ, of=_placed),
    "task_list": Case(
        TASK,
        READ,
        references=(
            *_organization_filters(),
            Reference("GET", "device", _device),
            Reference("GET", "site", _site),
        ),
    ),
    "task_detail": Case(TASK, READ, of=_task),
    "task_cancel": Case(TASK, {"POST": Call()}, of=_task, posts="change"),
    "device_tasks": Case(TASK, READ, of=_placed),
    "device_push": Case(TASK, {"POST": Call(201)}, of=_placed, posts="change"),
    "device_drift": Case(
        CONFIG,
        {"GET": Call(), "POST": Call(409, lambda _world, _tenant: {"actual": ""})},
        of=_placed,
        posts="change",
    ),
    "device_drift_preview": Case(CONFIG, {"POST": Call(409)}, of=_placed, posts="change"),
    "device_presence": Case(DEVICE, READ, of=_placed),
    "batch_list": Case(
        JOB,
        {"GET": Call(), "POST": Call(202, batch_body)},
        references=(
            *_organization_filters(),
            *_related(
                "POST", batch_body, organization=_organization, group=_group, template=_template, site=_site
            ),
            Reference(
                "POST", "devices", _device, lambda world, pk: batch_body(world, world.own, devices=[pk])
            ),
            Reference(
                "POST",
                "filter",
                _group,
                lambda world, pk: {"action": "deactivate", "filter": {"group": pk}},
            ),
        ),
    ),
    "batch_detail": Case(JOB, READ, of=_job),
    "batch_results": Case(JOB, READ, of=_job),
    "batch_cancel": Case(JOB, {"POST": Call()}, of=_job),
    "users_organization_list": Case(
        "tenancy.organization", {"GET": Call(), "POST": Call(201, organization_body)}
    ),
    "users_organization_detail": Case(
        "tenancy.organization",
        {
            "GET": Call(),
            "PUT": Call(200, organization_body),
            "PATCH": Call(200, lambda _world, _tenant: {"description": "changed"}),
            "DELETE": Call(204, query="?force=true"),
        },
        of=_organization,
    ),
    "users_notification_list": Case("tenancy.notification", READ, references=_organization_filters()),
    "users_notification_detail": Case(
        "tenancy.notification",
        {"GET": Call(), "PATCH": Call(200, lambda _world, _tenant: {"is_read": True})},
        of=lambda tenant: tenant.notification,
    ),
    "users_webhook_list": Case(
        "tenancy.webhook",
        {"GET": Call(), "POST": Call(201, webhook_body)},
        references=(*_organization_filters(), *_related("POST", webhook_body, organization=_organization)),
    ),
    "users_webhook_detail": Case(
        "tenancy.webhook",
        {
            "GET": Call(),
            "PUT": Call(200, webhook_body),
            "PATCH": Call(200, lambda _world, _tenant: {"description": "changed"}),
            "DELETE": Call(204),
        },
        of=_webhook,
    ),
    "users_webhook_rotate_secret": Case("tenancy.webhook", {"POST": Call()}, of=_webhook),
    "users_webhook_test": Case("tenancy.webhook", {"POST": Call(201)}, of=_webhook),
    "users_webhook_delivery_list": Case("tenancy.webhookdelivery", READ, of=_webhook),
    "users_webhook_delivery_replay": Case(
        "tenancy.webhookdelivery",
        {"POST": Call(201)},
        of=_webhook,
        extra=lambda tenant: {"delivery": tenant.delivery.pk},
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
    "users_api_key_list": Case(
        "tenancy.apikey",
        {"GET": Call(), "POST": Call(201, api_key_body)},
        references=(
            *_organization_filters(),
            Reference("GET", "user", _colleague),
            *_related("POST", api_key_body, organization=_organization, user=_colleague),
        ),
    ),
    "users_api_key_detail": Case(
        "tenancy.apikey",
        {"GET": Call(), "PATCH": Call(200, lambda _world, _tenant: {"name": "new"}), "DELETE": Call(204)},
        of=lambda tenant: tenant.api_key,
        mine=True,
    ),
    "users_user_list": Case(
        USER,
        {"GET": Call(), "POST": Call(201, person_body)},
        references=(
            *_organization_filters(),
            Reference("POST", "organization_users", _organization, _invited_to),
        ),
    ),
    "users_user_detail": Case(
        USER,
        {
            "GET": Call(),
            "PUT": Call(200, lambda _world, _tenant: {"username": "renamed"}),
            "PATCH": Call(200, lambda _world, _tenant: {"first_name": "changed"}),
            "DELETE": Call(204),
        },
        of=_colleague,
        references=(
            Reference(
                "PATCH",
                "organization_users",
                _organization,
                lambda _world, pk: {"organization_users": {"organization": pk}},
            ),
        ),
    ),
    "users_user_password": Case(
        USER,
        {
            "PUT": Call(
                200,
                lambda _world, _tenant: dict.fromkeys(
                    ("new_password", "confirm_password"), "quite new words"
                ),
            )
        },
        of=_colleague,
    ),
    "users_email_list": Case(USER, {"GET": Call(), "POST": Call(400, _address)}, of=_colleague),
    "users_email_detail": Case(
        USER,
        {"GET": Call(), "PUT": Call(200, _address), "PATCH": Call(200, _address), "DELETE": Call(400)},
        of=_colleague,
        extra=lambda _tenant: {"number": 1},
    ),
    "users_password_change": Case(
        USER,
        {
            "POST": Call(
                200,
                lambda _world, _tenant: {
                    "old_password": factories.PASSWORD,
                    **dict.fromkeys(("new_password1", "new_password2"), "quite new words"),
                },
            )
        },
        personal=True,
    ),
    "users_group_list": Case("tenancy.organization", READ),
    "users_group_detail": Case("tenancy.organization", READ, extra=lambda _tenant: {"number": 1}),
    "users_member_token_list": Case("tenancy.membertoken", READ, of=_colleague),
    "users_member_token_detail": Case(
        "tenancy.membertoken",
        {"DELETE": Call(204)},
        of=_colleague,
        extra=lambda tenant: {"token": tenant.colleague.api_tokens.get().pk},
    ),
    "users_membership_list": Case(
        MEMBERSHIP,
        {"GET": Call(), "POST": Call(400, membership_body)},
        references=(
            *_organization_filters(),
            Reference("GET", "user", _colleague),
            *_related("POST", membership_body, organization=_organization, user=_colleague),
        ),
    ),
    "users_membership_detail": Case(
        MEMBERSHIP,
        {"GET": Call(), "PATCH": Call(200, _as_viewer), "DELETE": Call(204)},
        of=lambda tenant: tenant.colleague.memberships.get(),
    ),
    "users_member_list": Case(
        MEMBERSHIP,
        {"GET": Call(), "POST": Call(400, membership_body)},
        of=_organization,
        references=(
            *_organization_filters(),
            Reference("GET", "user", _colleague),
            Reference("POST", "user", _colleague, lambda _world, pk: {"user": pk, "role": "viewer"}),
        ),
    ),
    "users_member_detail": Case(
        MEMBERSHIP,
        {"GET": Call(), "PATCH": Call(200, _as_viewer), "DELETE": Call(204)},
        of=_organization,
        extra=lambda tenant: {"membership": tenant.colleague.memberships.get().pk},
    ),
    "users_audit_list": Case("tenancy.auditevent", READ, references=_organization_filters()),
    "users_audit_detail": Case("tenancy.auditevent", READ, of=lambda tenant: tenant.event),
    "fleet_settings": Case(
        "devices.fleetsettings",
        {"GET": Call(), "PATCH": Call(200, lambda _world, _tenant: {"device_limit": 9})},
        of=_organization,
    ),
    "fleet_rotate_secret": Case("devices.fleetsecret", {"POST": Call()}, of=_organization),
    "users_session_list": Case("tenancy.signinsession", READ, personal=True),
    "users_session_detail": Case(
        "tenancy.signinsession", {"DELETE": Call(204)}, of=lambda tenant: tenant.session, personal=True
    ),
    "users_session_sign_out_everywhere": Case("tenancy.signinsession", {"POST": Call()}, personal=True),
}
