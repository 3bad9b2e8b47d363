"""Test data made as the product makes it, through the services: no test starts from an impossible row.

Every function fills in what is not said with something unique; pass fields to say more.
"""

import itertools
from typing import Any

from django.test import Client

from config_merge.models import Backend, Config, Template
from config_merge.services import configs, groups, templates
from core.crypto import digest
from devices import services as inventory
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy import api_keys, webhook_services
from tenancy import services as tenancy
from tenancy.models import ApiKey, Membership, Notification, Organization, Role, User, Webhook
from tenancy.sign_in.models import SignInSession
from tenancy.webhook_models import EVENTS

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def _number() -> int:
    return next(_numbers)


def mac(number: int | None = None) -> str:
    """Return a MAC address nobody has yet."""
    value = _number() if number is None else number
    return ":".join(f"{byte:02X}" for byte in (0x02_00_00_00_00_00 + value).to_bytes(6, "big"))


def interface(name: str = "eth0", **fields: Any) -> dict[str, Any]:
    """Return a valid NetJSON configuration with one interface."""
    return {"interfaces": [{"name": name, "type": "ethernet", **fields}]}


def organization(slug: str = "", **fields: Any) -> Organization:
    """Create an organization; fields of its fleet settings (`device_limit`, …) may be among `fields`."""
    own = {field.name for field in Organization._meta.fields}
    fleet = {name: fields.pop(name) for name in list(fields) if name not in own}
    created = tenancy.organization_create(slug=slug or f"org-{_number()}", **fields)
    if fleet:
        fleet_of(created, **fleet)
    return created


def fleet_of(of: Organization, **changes: Any) -> FleetSettings:
    """Return an organization's fleet settings, changed as asked."""
    settings = FleetSettings.objects.get(pk=of.pk)
    return inventory.fleet_settings_update(settings, **changes) if changes else settings


def user(
    username: str = "", *, role: str | None = None, organization: Organization | None = None, **fields: Any
) -> User:
    """Create a user; with a role, a member of `organization` (a new one when not said)."""
    name = username or f"user-{_number()}"
    fields.setdefault("email", f"{name}@example.org")
    created = tenancy.user_create(username=name, password=fields.pop("password", PASSWORD), **fields)
    if role is not None:
        tenancy.membership_set(
            user=created, organization=organization or globals()["organization"](), role=role
        )
    return created


def superuser(username: str = "") -> User:
    """Create a superuser."""
    return user(username, is_staff=True, is_superuser=True)


def operator(of: Organization) -> User:
    """Create an operator of an organization."""
    return user(role=Role.OPERATOR, organization=of)


def session(user: User) -> SignInSession:
    """Sign a user in with a new browser and return their session."""
    browser = Client()
    browser.force_login(user)
    key = browser.session.session_key
    assert key is not None
    session = SignInSession.objects.get(digest=digest(key))
    session.address, session.user_agent = "192.0.2.7", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
    session.save(update_fields=["address", "user_agent"])
    return session


def without_reveal(of: User) -> User:
    """Withdraw a person's right to see secrets, everywhere; returns them."""
    Membership.objects.filter(user=of).update(can_reveal=False)
    return of


def token_for(user: User, **fields: Any) -> str:
    """Issue an API token and return its secret."""
    return tenancy.token_issue(user=user, name=fields.pop("name", "test"), **fields)[1]


def api_key(user: User, organization: Organization, **fields: Any) -> tuple[ApiKey, str]:
    """Make an API key; returns it and its text."""
    fields = {"name": "test", "by": user, **fields}
    return api_keys.api_key_create(user=user, organization=organization, **fields)


def bearer(user: User) -> dict[str, str]:
    """Return the headers of a request by `user`, for Django's and DRF's test clients."""
    return {"HTTP_AUTHORIZATION": f"Bearer {token_for(user)}"}


def template(organization: Organization | None = None, **fields: Any) -> Template:
    """Create a template; shared when no organization is given."""
    fields.setdefault("name", f"template-{_number()}")
    fields.setdefault("config", interface())
    fields.setdefault("backend", Backend.OPENWRT)
    return templates.template_create(organization=organization, **fields)


def group(organization: Organization | None = None, **fields: Any) -> DeviceGroup:
    """Create a device group; `templates` is a list of templates."""
    fields.setdefault("name", f"group-{_number()}")
    return groups.managed_group_create(organization=organization or globals()["organization"](), **fields)


def device(
    organization: Organization | None = None, *, config: dict[str, Any] | None = None, **fields: Any
) -> Device:
    """Create a device; `config` holds the keywords of `config_create` (`{}` for none)."""
    number = _number()
    fields.setdefault("name", f"device-{number}")
    fields.setdefault("mac_address", mac(number))
    fields["organization"] = organization or globals()["organization"]()
    return configs.managed_device_create(config=config, **fields)


def configured(organization: Organization | None = None, **fields: Any) -> Device:
    """Create a device with a small configuration of its own."""
    fields.setdefault("config", {"config": interface()})
    return device(organization, **fields)


def config_of(device: Device) -> Config:
    """Return a device's configuration as the database has it."""
    return Config.objects.get(device=device)


def notification(organization: Organization, **fields: Any) -> Notification:
    """Write a notification and return it."""
    fields = {"kind": "test", "message": f"message {_number()}", **fields}
    tenancy.notify(organization_id=organization.pk, **fields)
    return Notification.objects.filter(organization=organization).latest("created")


def webhook(organization: Organization, **fields: Any) -> Webhook:
    """Create a webhook of an organization for every event."""
    fields = {"url": "https://hooks.example.org/x", "events": list(EVENTS), **fields}
    return webhook_services.webhook_create(organization=organization, **fields)[0]
