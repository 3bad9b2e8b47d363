"""Two organizations, and REST clients below `/api/v1/users/`."""

from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from tenancy.models import Organization, User
from tests import factories

USERS = "/api/v1/users/"


def client_of(user: User | None, **token: Any) -> APIClient:
    """Return a REST client with a fresh bearer token."""
    client = APIClient()
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {factories.token_for(user, **token)}")
    return client


@pytest.fixture(autouse=True)
def _no_attempts_counted() -> None:
    cache.clear()


@pytest.fixture
def org(db: None) -> Organization:
    return factories.organization("org-a")


@pytest.fixture
def other(db: None) -> Organization:
    return factories.organization("org-b")
