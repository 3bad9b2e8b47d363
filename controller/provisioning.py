"""The first administrator, the demo organization, and what `manage.py provision` prints.

It only strings services of lower floors together; everything it does is idempotent.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from boot.models import DEFAULT
from boot.services import boot_config_set
from config_merge.models import Managed, Site, Template
from config_merge.services.places import place_create, placement_change
from config_merge.services.placing import Newcomer, devices_join, places_create
from config_merge.services.sites import site_create
from config_merge.services.templates import template_create
from core.crypto import digest
from core.db import let_others_write
from devices.models import Device
from devices.queries import shared_secret_of
from tenancy import services
from tenancy.api_keys import api_key_create, api_key_import
from tenancy.models import ApiKey, Organization, Role, User

DEMO_SLUG = "demo"
DEMO_TEMPLATE = "Site defaults"
# The key of the boot API's own documentation.
DEMO_KEY = "deadbeef"
# Devices of one transaction: on SQLite nobody else writes while it lasts, a fifth of a second or so.
PORTION = 100


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first start made; `password` is known to nobody else, and `generated` says we chose it."""

    username: str
    password: str
    generated: bool
    organization: str
    shared_secret: str


@transaction.atomic
def first_run(password: str | None) -> FirstRun | None:
    """Make the first administrator and the demo organization when there is no user yet, else return None."""
    if User.objects.exists():
        return None
    chosen = password or secrets.token_urlsafe(12)
    admin = services.user_create(username="admin", password=chosen, is_staff=True, is_superuser=True)
    organization = Organization.objects.filter(slug=DEMO_SLUG).first()
    if organization is None:
        organization = services.organization_create(slug=DEMO_SLUG, name="Demo")
    services.membership_set(user=admin, organization=organization, role=Role.OWNER)
    _demo_template(organization)
    if settings.MUSTER.demo_key_wanted:
        _demo_key(admin, organization)
    return FirstRun(
        username=admin.username,
        password=chosen,
        generated=not password,
        organization=organization.slug,
        shared_secret=shared_secret_of(organization.slug),
    )


def _demo_template(organization: Organization) -> None:
    """Give the demo organization one default template, so that the first device has something to apply."""
    if Template.objects.filter(organization=organization).exists():
        return
    template_create(
        organization=organization,
        name=DEMO_TEMPLATE,
        default=True,
        notes="Every device of the demo organization gets this. Edit it and watch the devices follow.",
        default_values={"timezone": "UTC"},
        config={"general": {"timezone": "{{ timezone }}"}},
    )


def _demo_key(admin: User, organization: Organization) -> None:
    """Make the boot API's demo key, which only reads and tracks, and what any device gets with it."""
    if ApiKey.objects.filter(digest=digest(DEMO_KEY)).exists():
        return
    key = api_key_import(
        by=admin, user=admin, organization=organization, name="demo", text=DEMO_KEY, read_only=True
    )
    boot_config_set(api_key_id=key.pk, device=DEFAULT, document={})


@transaction.atomic
def provision(
    *,
    slug: str,
    name: str,
    username: str,
    password: str,
    role: str,
    api_key: bool = False,
    site: str = "",
) -> dict[str, Any]:
    """Make sure organization and user exist; returns the JSON object scripts rely on. Raises ValidationError.

    With `api_key`, the user gets one more key to the organization; `site` names a site that shall exist.
    """
    if api_key and not username:
        raise ValidationError("An API key needs a user.")
    organization, user, token = services.provision(
        slug=slug, name=name, username=username, password=password, role=role
    )
    printed: dict[str, Any] = {
        "organization": {
            "id": str(organization.pk),
            "slug": organization.slug,
            "name": organization.name,
            "shared_secret": shared_secret_of(organization.slug),
        }
    }
    if user is not None:
        printed["user"] = {"id": str(user.pk), "username": user.username, "token": token}
        if api_key:
            _, text = api_key_create(by=user, user=user, organization=organization, name="provision")
            printed["api_key"] = text
    if site:
        row = _site(organization, site)
        printed["site"] = {"id": str(row.number), "name": row.name}
    return printed


def devices_place(slug: str, *, site: str, macs: Sequence[str]) -> int:
    """Put devices into a site by their MAC addresses, known or not; returns how many were not there already.

    `PORTION` devices are one transaction. Raises Organization.DoesNotExist, ValidationError, Forbidden.
    """
    organization = Organization.objects.get(slug=slug)
    row = _site(organization, site)
    known = {
        device.mac_address: device
        for device in Device.objects.filter(organization=organization, mac_address__in=macs)
    }
    there = set(
        row.places.filter(device__config__managed_by=Managed.SITE).values_list(
            "device__mac_address", flat=True
        )
    )
    absent = [mac for mac in macs if mac not in there]
    _in_portions([known[mac] for mac in absent if mac in known], lambda some: _joined(row, some))
    newcomers = [Newcomer(mac.replace(":", ""), mac) for mac in absent if mac not in known]
    _in_portions(newcomers, lambda some: _added(row, some))
    return len(absent)


def _in_portions(rows: Sequence[Row], write: Callable[[Sequence[Row]], None]) -> None:
    """Write rows in portions, each in a transaction of its own, with a gap for others who write after it."""
    for start in range(0, len(rows), PORTION):
        with transaction.atomic():
            began = perf_counter()
            write(rows[start : start + PORTION])
        let_others_write(after=perf_counter() - began)


def _joined(site: Site, devices: Sequence[Device]) -> None:
    done = devices_join([device.pk for device in devices], site, managed_by=Managed.SITE)
    for device in devices:
        if device.pk not in done:
            placement_change(device, site=site, managed_by=Managed.SITE)


def _added(site: Site, newcomers: Sequence[Newcomer]) -> None:
    done = places_create(site, newcomers)
    for each in newcomers:
        if each not in done:
            place_create(site, serial=each.serial, mac_address=each.mac_address)


def _site(organization: Organization, name: str) -> Site:
    found = Site.objects.filter(organization=organization, name=name).first()
    return found or site_create(organization=organization, name=name)
