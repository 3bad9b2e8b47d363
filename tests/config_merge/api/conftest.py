"""Two organizations and people in them, as most REST tests need."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from rest_framework.test import APIClient

from tenancy.models import Organization, Role
from tests import factories


@dataclass
class Api:
    """A REST client below `/api/v1/controller/`; every call returns DRF's test response."""

    client: APIClient
    base: str = "/api/v1/controller/"
    default: dict[str, Any] = field(default_factory=lambda: {"format": "json"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(self.base + path, query)

    def post(self, path: str, data: Any = None, **options: Any) -> Any:
        return self.client.post(self.base + path, data, **{**self.default, **options})

    def put(self, path: str, data: Any = None, **options: Any) -> Any:
        return self.client.put(self.base + path, data, **{**self.default, **options})

    def patch(self, path: str, data: Any = None, **options: Any) -> Any:
        return self.client.patch(self.base + path, data, **{**self.default, **options})

    def delete(self, path: str) -> Any:
        return self.client.delete(self.base + path)


def api_as(user: Any, base: str = "/api/v1/controller/") -> Api:
    client = APIClient(raise_request_exception=True)
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {factories.token_for(user)}")
    return Api(client, base)


@pytest.fixture
def org(db: None) -> Organization:
    return factories.organization("org-a")


@pytest.fixture
def other(db: None) -> Organization:
    return factories.organization("org-b")


@pytest.fixture
def operator(org: Organization) -> Api:
    return api_as(factories.user("operator", role=Role.OPERATOR, organization=org))


@pytest.fixture
def viewer(org: Organization) -> Api:
    return api_as(factories.user("viewer", role=Role.VIEWER, organization=org))


@pytest.fixture
def root(db: None) -> Api:
    return api_as(factories.superuser("root"))


@pytest.fixture
def anonymous(db: None) -> Api:
    return api_as(None)
