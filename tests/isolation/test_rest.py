"""Every REST route, as everyone, to everything: the tenant wall holds."""

import pytest

from tests.isolation.rest_cases import CASES
from tests.isolation.walker import violations
from tests.isolation.world import World

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", CASES)
def test_the_wall_holds(world: World, name: str) -> None:
    assert violations(world, CASES[name], name) == []
