"""Two organizations full of everything, people of every role in one, and the words that must never leak.

Everything of the second organization carries the word "bravo": a leak shows, whatever field it comes by.
"""

import contextlib
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.apps import apps
from django.core.files.base import ContentFile
from django.db import connection, models, transaction

from boot.documents import encoded
from boot.images import services as images
from boot.images import uploads
from boot.images.queries import Space
from boot.models import BootConfig, BootVersion, DeletedBootConfig, Quota
from boot.models_images import Image, ImageLimits, ImageUpload
from boot.services import boot_config_delete, boot_config_set
from config_merge.exchange.models import DeletedDevice
from config_merge.models import ConfigTask, Job, Site, Template
from config_merge.services import configs, jobs, places, sites
from core.clock import now
from core.models import Heartbeat
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy import audit, services, webhook_services
from tenancy.models import (
    ApiKey,
    ApiToken,
    AuditEvent,
    Membership,
    Notification,
    Organization,
    Role,
    User,
    Webhook,
    WebhookDelivery,
)
from tenancy.sign_in.models import SignInSession
from tests import factories
from tracking.models import TrackedDevice
from tracking.services import track

ANONYMOUS, OUTSIDER, SUPERUSER = "anonymous", "outsider", "superuser"
ROLES = (ANONYMOUS, OUTSIDER, Role.VIEWER, Role.OPERATOR, Role.MANAGER, Role.OWNER, SUPERUSER)
MEMBERS = tuple(role for role in ROLES if role not in (ANONYMOUS, OUTSIDER, SUPERUSER))
FOREIGN = "bravo"
# Ids that are numbers begin here; it is the one that nobody has.
NUMBERED = 900_000_000
APPS = ("tenancy", "devices", "config_merge", "core", "tracking", "boot")
# Noted while a request is authenticated, whatever it asks for.
UNCOUNTED = {"last_used", "last_used_at", "last_login", "last_seen_at"}
UNCOUNTED_OF = {SignInSession: {"expires_at", "stamp", "address"}}


@dataclass(frozen=True)
class Tenant:
    """One organization with one of everything; `retired` is a deactivated device."""

    organization: Organization
    fleet: FleetSettings
    template: Template
    spare_template: Template
    group: DeviceGroup
    device: Device
    retired: Device
    notification: Notification
    member: User
    membership: Membership
    token: ApiToken
    token_secret: str
    api_key: ApiKey
    api_key_text: str
    spare_key: ApiKey
    webhook: Webhook
    delivery: WebhookDelivery
    job: Job
    colleague: User
    event: AuditEvent
    session: SignInSession
    deleted: DeletedDevice
    site: Site
    spare_site: Site
    placed: Device
    task: ConfigTask
    boot_config: BootConfig
    deleted_boot: DeletedBootConfig
    tracked: TrackedDevice
    image: Image
    upload: ImageUpload
    quota: Quota
    image_limits: ImageLimits

    def objects(self) -> list[models.Model]:
        """Return every row of the tenant that has an id of its own."""
        device_parts = [factories.config_of(self.device), *factories.config_of(self.device).revisions.all()]
        return [
            self.organization, self.template, self.spare_template, self.group, self.device, self.retired,
            self.notification, self.member, self.membership, self.token, self.api_key, self.webhook, self.delivery,
            self.job, self.colleague, self.event, self.session, self.deleted, self.site, self.spare_site, self.placed,
            self.placed.place, self.task, self.boot_config, self.tracked, self.image, self.upload, self.quota,
            *device_parts,
        ]  # fmt: skip


@dataclass(frozen=True)
class World:
    """What a walk through the routes needs: own, foreign and shared objects, an unknown id, and callers."""

    own: Tenant
    foreign: Tenant
    shared: Template
    unknown: UUID
    people: dict[str, User]
    secrets: dict[str, str]
    words: tuple[str, ...]
    rows: Any

    def leaked(self, text: str) -> list[str]:
        """Return what of the foreign organization stands in `text`."""
        lowered = text.lower()
        return [word for word in self.words if word in lowered]


def tenant(name: str, *, role: str = Role.OWNER) -> Tenant:
    """Create an organization whose every word begins with `name`."""
    org = factories.organization(name, name=name, description=name, email=f"{name}@example.org")
    fleet = factories.fleet_of(org, shared_secret=f"{name}-shared-secret", context={f"{name}_org": name})
    values = {f"{name}_value": name}
    template = factories.template(
        org,
        name=f"{name}-template",
        notes=name,
        tags=[name],
        default_values=values,
        config=factories.interface("eth0"),
    )
    spare = factories.template(org, name=f"{name}-spare", config=factories.interface("eth1"))
    group = factories.group(
        org, name=f"{name}-group", description=name, context={f"{name}_group": name}, meta_data={name: name}
    )
    settings = {
        "templates": [template],
        "context": {f"{name}_device": name},
        "config": factories.interface(f"{name[:4]}0"),
    }
    fields = {"notes": name, "model": name, "os": name, "system": name}
    device = factories.device(
        org, name=f"{name}-ap", key=f"{name}-key-1", group=group, config=settings, **fields
    )
    retired = factories.device(org, name=f"{name}-old", key=f"{name}-key-2", config=settings, **fields)
    retired = configs.device_deactivate(retired)
    member = factories.user(f"{name}-member", role=role, organization=org, is_staff=True)
    token, secret = services.token_issue(user=member, name=f"{name}-token")
    api_key, text = factories.api_key(member, org, name=f"{name}-key")
    webhook = factories.webhook(org, url=f"https://{name}.example.org/hook", description=f"{name} hook")
    colleague = factories.user(f"{name}-colleague", role=Role.VIEWER, organization=org, first_name=name)
    services.token_issue(user=colleague, name=f"{name}-laptop")
    audit.record("test.done", org, organization_id=org.pk, changes={"name": ("", name)}, name=name)
    return Tenant(
        organization=org,
        fleet=fleet,
        template=template,
        spare_template=spare,
        group=group,
        device=device,
        retired=retired,
        notification=factories.notification(org, message=f"{name} says hello"),
        member=member,
        membership=Membership.objects.get(user=member),
        token=token,
        token_secret=secret,
        api_key=api_key,
        api_key_text=text,
        spare_key=factories.api_key(member, org, name=f"{name}-spare-key")[0],
        webhook=webhook,
        delivery=webhook_services.webhook_test(webhook),
        job=jobs.job_create(
            kind=Job.Kind.DEACTIVATE,
            devices=Device.objects.filter(pk=device.pk),
            organization_id=org.pk,
            creator=member,
            reason=name,
        ),
        colleague=colleague,
        event=AuditEvent.objects.get(organization=org, action="test.done"),
        session=factories.session(member),
        deleted=_deleted(org, name=name),
        site=(site := _site(org, name=name)),
        spare_site=sites.site_create(organization=org, name=f"{name}-spare-site"),
        placed=(placed := _placed(site, name=name)),
        task=ConfigTask.objects.filter(device=placed).latest("created"),
        boot_config=boot_config_set(
            api_key_id=api_key.pk,
            device=f"{name}-pi",
            document={
                "bootcode": encoded(f"echo {name}\n".encode()),
                "rootfs": {"url": f"http://{name}.example.org/rootfs"},
                "config": {name: name},
            },
        ),
        deleted_boot=_deleted_boot(api_key, name=name),
        tracked=_tracked(api_key, name=name),
        image=_images(api_key, name=name),
        upload=uploads.upload_begin(Space(org, api_key), path=f"{name}-coming", size=0),
        quota=_quota(org),
        image_limits=ImageLimits.objects.create(organization=org, largest=1 << 20, total=1 << 30),
    )


def _deleted_boot(key: ApiKey, *, name: str) -> DeletedBootConfig:
    """Write and delete a boot configuration; returns its deletion, whose number cannot be taken for another one."""
    given = {"api_key_id": key.pk, "device": "deleted-pi"}
    document = {"config": {f"{name}-gone": name}}
    boot_config_set(**given, document=document)
    boot_config_delete(**given)
    row = BootVersion.objects.filter(api_key=key, body="")
    row.update(id=NUMBERED + row.get().pk)
    return DeletedBootConfig.objects.get(api_key=key, body="")


def _quota(org: Organization) -> Quota:
    return Quota.objects.create(organization=org, operation="boot_get", amount=77)


def _tracked(key: ApiKey, *, name: str) -> TrackedDevice:
    """Let a machine say where it belongs."""
    track(
        api_key_id=key.pk,
        organization_id=key.organization_id,
        device=factories.mac().lower(),
        info=name,
        at=now(),
    )
    return TrackedDevice.objects.get(api_key=key)


def _images(key: ApiKey, *, name: str) -> Image:
    """Store an image, and the two of a build."""
    space = Space(key.organization, key)
    for part in ("initramfs.tgz", "rootfs.sqsh"):
        path = f"autobuild/{name}/2026_01_01_000000/{part}"
        images.image_store(space, path, ContentFile(f"{name} {part}".encode()))
    return images.image_store(space, f"{name}-image", ContentFile(name.encode()))


def _site(org: Organization, *, name: str) -> Site:
    """Create a site that says something at every level."""
    defaults = {"ssid": {"ssid": name}, "ntp/pool": name}
    site = sites.site_create(
        organization=org, name=f"{name}-site", defaults=defaults, context={f"{name}_site": name}
    )
    changes = {"ntp/server": {"value": f"ntp.{name}"}, "radio/r5/channel": {"value": "36"}}
    sites.site_settings_change(site, changes, version=None)
    return site


def _placed(site: Site, *, name: str) -> Device:
    """Add a device with a setting of its own to a site."""
    place = places.place_create(
        site, serial=f"{name}-serial", mac_address=factories.mac(), name=f"{name}-node"
    )
    own = {"radio/r5/channel": {"value": "40", "origin": "site-device"}}
    places.place_settings_change(place, own, version=None)
    return place.device


def _deleted(org: Organization, *, name: str) -> DeletedDevice:
    """Delete a device and return what is kept of it."""
    gone = factories.device(org, name=f"{name}-gone", key=f"{name}-key-3", notes=name)
    configs.device_delete(gone, force=True)
    return DeletedDevice.objects.get(organization=org)


def build() -> World:
    """Create the world."""
    own, foreign = tenant("alpha"), tenant(FOREIGN)
    images.image_store(Space(None, None), "common-image", ContentFile(b"common"))
    shared = factories.template(name="common-template", config=factories.interface("eth5"))
    people = {OUTSIDER: factories.user("outsider", is_staff=True), SUPERUSER: factories.superuser("root")}
    for role in MEMBERS:
        people[role] = factories.user(
            f"alpha-{role}", role=role, organization=own.organization, is_staff=True
        )
        factories.api_key(people[role], own.organization)
    ids = [obj.pk for obj in foreign.objects()]
    words = {
        FOREIGN,
        foreign.device.mac_address.lower(),
        foreign.retired.mac_address.lower(),
        foreign.placed.mac_address.lower(),
        str(foreign.site.number),
        str(foreign.placed.place.number),
        foreign.token_secret,
        foreign.api_key.key_id.lower(),
        foreign.api_key_text.lower(),
    }
    words |= {str(pk) for pk in ids} | {pk.hex for pk in ids}
    secrets = {role: factories.token_for(person) for role, person in people.items()}
    for person in people.values():
        factories.session(person)
    return World(own, foreign, shared, uuid4(), people, secrets, tuple(sorted(words)), snapshot())


def snapshot() -> list[tuple[str, list[Any]]]:
    """Return every row of every table of the product, but for the marks that authentication leaves."""
    found = []
    for model in apps.get_models(include_auto_created=True):
        if model._meta.app_label in APPS and model is not Heartbeat:
            uncounted = UNCOUNTED | UNCOUNTED_OF.get(model, set())
            columns = [
                field.column for field in model._meta.concrete_fields if field.attname not in uncounted
            ]
            quoted = ", ".join(f'"{column}"' for column in columns)
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT {quoted} FROM "{model._meta.db_table}" ORDER BY "{model._meta.pk.column}"'
                )
                found.append((model._meta.label, [_comparable(row) for row in cursor.fetchall()]))
    return found


def _comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)


READS = ("SELECT ", "SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")


class Watch:
    """Sees a block's statements, as a wrapper of Django's: without one that may write, no row is different."""

    def __init__(self) -> None:
        self._wrote = False

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Run a statement and note what it is."""
        self._wrote = self._wrote or not str(sql).startswith(READS)
        return execute(sql, params, many, context)

    def changed(self, rows: list[tuple[str, list[Any]]]) -> bool:
        """Tell whether the rows are others than `rows`, which is what they were before the block."""
        return self._wrote and snapshot() != rows


@contextlib.contextmanager
def undone() -> Iterator[Watch]:
    """Undo what the block writes; yields what tells whether that was anything."""
    watch = Watch()
    with transaction.atomic():
        with connection.execute_wrapper(watch):
            yield watch
        transaction.set_rollback(True)


def text_of(response: Any) -> str:
    """Return what a response says, archives unpacked, redirects with their target."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace") + response.headers.get("Location", "")
