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
from django.db import connection, models, transaction

from config_merge.exchange.models import DeletedDevice
from config_merge.models import Job, Template
from config_merge.services import configs, jobs
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

ANONYMOUS, OUTSIDER, SUPERUSER = "anonymous", "outsider", "superuser"
ROLES = (ANONYMOUS, OUTSIDER, Role.VIEWER, Role.OPERATOR, Role.MANAGER, Role.OWNER, SUPERUSER)
MEMBERS = tuple(role for role in ROLES if role not in (ANONYMOUS, OUTSIDER, SUPERUSER))
FOREIGN = "bravo"
APPS = ("tenancy", "devices", "config_merge", "core")
# Noted while a request is authenticated, whatever it asks for.
UNCOUNTED = {"last_used_at", "last_login"}


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
    webhook: Webhook
    delivery: WebhookDelivery
    job: Job
    colleague: User
    event: AuditEvent
    session: SignInSession
    deleted: DeletedDevice

    def objects(self) -> list[models.Model]:
        """Return every row of the tenant that has an id of its own."""
        device_parts = [factories.config_of(self.device), *factories.config_of(self.device).revisions.all()]
        return [
            self.organization, self.template, self.spare_template, self.group, self.device, self.retired,
            self.notification, self.member, self.membership, self.token, self.api_key, self.webhook, self.delivery,
            self.job, self.colleague, self.event, self.session, self.deleted, *device_parts,
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
    )


def _deleted(org: Organization, *, name: str) -> DeletedDevice:
    """Delete a device and return what is kept of it."""
    gone = factories.device(org, name=f"{name}-gone", key=f"{name}-key-3", notes=name)
    configs.device_delete(gone, force=True)
    return DeletedDevice.objects.get(organization=org)


def build() -> World:
    """Create the world."""
    own, foreign = tenant("alpha"), tenant(FOREIGN)
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
            columns = [
                field.column for field in model._meta.concrete_fields if field.attname not in UNCOUNTED
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


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """Undo what the block writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def text_of(response: Any) -> str:
    """Return what a response says, archives unpacked, redirects with their target."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace") + response.headers.get("Location", "")
