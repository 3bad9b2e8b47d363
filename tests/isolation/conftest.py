"""The world the walks go through."""

import pytest

from tests.isolation.world import World, build


@pytest.fixture
def world(db: None) -> World:
    return build()
