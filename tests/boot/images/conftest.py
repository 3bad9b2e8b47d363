"""An empty storage on disk, an organization, and a key of it."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from boot.images.queries import Space
from tenancy.models import ApiKey, Organization, Role
from tests import factories


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    """Each test keeps its files in a directory of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def org(db: Any) -> Organization:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def key(org: Organization) -> ApiKey:
    return factories.api_key(factories.user("olga", role=Role.OPERATOR, organization=org), org)[0]


@pytest.fixture
def space(org: Organization, key: ApiKey) -> Space:
    return Space(org, key)


def stored(media: Path) -> list[str]:
    """Return the names of everything in the storage."""
    return sorted(str(path.relative_to(media)) for path in media.rglob("*") if path.is_file())
