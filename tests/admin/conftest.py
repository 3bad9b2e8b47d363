"""Two organizations, and signed-in staff of the first in every role."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenancy.models import Organization
from tests import factories

Page = Callable[..., str]


@pytest.fixture
def org(db: None) -> Organization:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def other(db: None) -> Organization:
    return factories.organization("org-b", name="Beta")


@pytest.fixture
def staff(org: Organization) -> Callable[[str | None], Client]:
    """Return a client signed in as a member of Alpha in a role, or as a superuser."""

    def signed_in(role: str | None) -> Client:
        user = factories.user(role=role, organization=org, is_staff=True) if role else factories.superuser()
        client = Client()
        client.force_login(user)
        client.user = user  # type: ignore[attr-defined]
        return client

    return signed_in


@pytest.fixture
def operator(staff: Any) -> Client:
    return staff("operator")


@pytest.fixture
def root(staff: Any) -> Client:
    return staff(None)


def page(name: str, *args: Any) -> str:
    """Return the path of an admin page, e.g. `page("devices_device_change", pk)`."""
    return reverse(f"admin:{name}", args=args)


def device_form(device: Any = None, **changes: Any) -> dict[str, Any]:
    """Return what a browser posts from the device form."""
    posted: dict[str, Any] = {
        "name": "", "mac_address": "", "organization": "", "group": "", "key": "", "model": "", "os": "",
        "system": "", "hardware_id": "", "management_ip": "", "notes": "", "config_templates": [],
        "config_config": "{}", "config_context": "{}", "config_backend": "netjsonconfig.OpenWrt",
    }  # fmt: skip
    if device is not None:
        posted |= {
            "name": device.name,
            "mac_address": device.mac_address,
            "organization": str(device.organization_id),
            "group": str(device.group_id or ""),
            "key": device.key,
            "model": device.model,
            "os": device.os,
        }
    return {**posted, **changes}
