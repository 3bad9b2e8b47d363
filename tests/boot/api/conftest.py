"""An organization, a key, and REST clients below `/api/v1/boot/` in every role."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

BASE = "/api/v1/boot/"


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Each test keeps its files in a directory of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def org(db: Any) -> Organization:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def made(org: Organization) -> tuple[ApiKey, str]:
    return factories.api_key(factories.user("mona", role=Role.MANAGER, organization=org), org, name="pis")


@pytest.fixture
def key(made: tuple[ApiKey, str]) -> ApiKey:
    return made[0]


def member(org: Organization, role: str, **fields: Any) -> Api:
    return api_as(factories.user(role=role, organization=org, **fields), BASE)


@pytest.fixture
def operator(org: Organization) -> Api:
    return member(org, Role.OPERATOR)


@pytest.fixture
def viewer(org: Organization) -> Api:
    return member(org, Role.VIEWER)


@pytest.fixture
def root(db: Any) -> Api:
    return api_as(factories.superuser(), BASE)
