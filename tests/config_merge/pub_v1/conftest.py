"""A cloud with a site, and keys to it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from config_merge.models import Site, SiteDevice
from config_merge.services import places, sites
from core import rates
from tenancy.models import Organization, Role
from tests import factories


@pytest.fixture(autouse=True)
def _fresh_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is refused for what another one asked."""
    limiter = MovingWindowRateLimiter(MemoryStorage())
    monkeypatch.setattr(rates, "_limiter", lambda: limiter)


@dataclass
class Cloud:
    """A client of the dialect with a key."""

    organization: Organization
    key: str
    client: Client

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        given = {"HTTP_X_API_KEY": self.key, **headers}
        return self.client.generic(method, f"/pub/v1/{path}", sent, content_type="application/json", **given)

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def change(self, path: str, changes: Any, **members: Any) -> Any:
        """Read the timestamp, and change settings from it."""
        now = self.get(f"{path}/config-changes").json()["timestamp"]
        return self.ask("POST", f"{path}/config-changes", {"timestamp": now, "changes": changes, **members})


def cloud_of(organization: Organization, role: str = Role.OWNER) -> Cloud:
    user = factories.user(role=role, organization=organization)
    return Cloud(organization, factories.api_key(user, organization)[1], Client())


@pytest.fixture
def organization(db: None) -> Organization:
    return factories.organization("cloud-a")


@pytest.fixture
def cloud(organization: Organization) -> Cloud:
    return cloud_of(organization)


@pytest.fixture
def site(organization: Organization) -> Site:
    return sites.site_create(organization=organization, name="Vilnius")


@pytest.fixture
def place(site: Site) -> SiteDevice:
    return places.place_create(site, serial="0000022", mac_address="00:00:00:00:00:16", name="mock-device-9")
