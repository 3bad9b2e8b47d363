"""A fleet in the database, made with a few bulk statements however large it is.

What it leaves behind is what devices and people would have left: typical templates assigned, small variables of each
device's own, configurations not yet computed. Needs the settings (see benchmarks/scratch.py).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from benchmarks import access_point
from config_merge.models import Config, ConfigTemplate, Managed, Site, SiteDevice, Template
from config_merge.services.sites import site_create
from config_merge.services.templates import template_create
from core.crypto import digest
from devices.models import Device
from devices.queries import shared_secret_of
from devices.services import consistent_key
from tenancy.models import Organization
from tenancy.services import organization_create

BATCH = 500


@dataclass(frozen=True, slots=True)
class Member:
    """What a simulated agent knows of itself."""

    id: UUID
    name: str
    key: str
    address: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """An organization with its templates (in merge order) and devices."""

    organization: Organization
    templates: tuple[Template, ...]
    members: tuple[Member, ...]


def address_of(number: int) -> str:
    """The private address of the n-th device of a run.

    >>> address_of(1), address_of(256)
    ('10.0.0.1', '10.0.1.0')
    """
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def mac_of(number: int) -> str:
    """The MAC address of the n-th device of a run."""
    return ":".join(f"{byte:02X}" for byte in (0x020000000000 + number).to_bytes(6, "big"))


def seed(slug: str, *, devices: int, first: int = 1) -> Fleet:
    """Make an organization with typical templates and `devices` devices, numbered from `first`."""
    organization = organization_create(slug=slug)
    made = tuple(
        template_create(
            organization=organization, name=name, config=config, default_values=values, default=True
        )
        for name, config, values in access_point.templates()
    )
    secret = shared_secret_of(slug)
    rows = [_device(organization, number, secret) for number in range(first, first + devices)]
    Device.objects.bulk_create(rows, batch_size=BATCH)
    _configure(rows, made)
    members = tuple(Member(row.pk, row.name, row.key, row.last_ip or "") for row in rows)
    return Fleet(organization, made, members)


def seed_site(
    organization: Organization, name: str, *, devices: int, first: int
) -> tuple[Site, tuple[Member, ...]]:
    """Make a site with `devices` devices that it manages, numbered from `first`."""
    site = site_create(organization=organization, name=name)
    secret = shared_secret_of(organization.slug)
    rows = [_device(organization, number, secret) for number in range(first, first + devices)]
    Device.objects.bulk_create(rows, batch_size=BATCH)
    Config.objects.bulk_create(
        [Config(device=row, managed_by=Managed.SITE) for row in rows], batch_size=BATCH
    )
    SiteDevice.objects.bulk_create(
        [SiteDevice(device=row, site=site, serial=row.name) for row in rows], batch_size=BATCH
    )
    return site, tuple(Member(row.pk, row.name, row.key, row.last_ip or "") for row in rows)


def _device(organization: Organization, number: int, secret: str) -> Device:
    mac = mac_of(number)
    key = consistent_key(identity=mac, shared_secret=secret)
    return Device(
        organization=organization,
        name=f"ap-{number:06d}",
        mac_address=mac,
        key=key,
        key_digest=digest(key),
        model="TP-Link Archer C7 v5",
        os=access_point.OS,
        system="Qualcomm Atheros QCA956X ver 1 rev 0",
        last_ip=address_of(number),
    )


def _configure(devices: Sequence[Device], templates: Sequence[Template]) -> None:
    configs = [
        Config(
            device=device,
            context={
                "lan_ip": f"192.168.{number % 250}.1",
                "wifi_key": hashlib.md5(device.key.encode()).hexdigest(),
            },
        )
        for number, device in enumerate(devices)
    ]
    Config.objects.bulk_create(configs, batch_size=BATCH)
    ConfigTemplate.objects.bulk_create(
        [
            ConfigTemplate(config=config, template=template, position=position)
            for config in configs
            for position, template in enumerate(templates)
        ],
        batch_size=BATCH,
    )
