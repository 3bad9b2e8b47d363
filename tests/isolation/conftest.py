"""The world the walks go through. Building it takes longer than most walks, so each module builds it once.

The tests undo what their requests write; what the module wrote is rolled back when it ends.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from tests.isolation.world import World, build


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic():
        yield build()
        transaction.set_rollback(True)


@pytest.fixture
def url_of() -> Callable[[str], str]:
    """Return the path of a route that takes no argument."""
    return reverse
