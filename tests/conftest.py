"""What every test starts from."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from core.db import is_postgresql
from tenancy import webhooks

_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End the sessions of threads that outlive their test, which would keep the test database from being dropped."""
    yield
    with django_db_blocker.unblock():
        if is_postgresql():
            with connection.cursor() as cursor:
                cursor.execute(_OTHERS)


@pytest.fixture(autouse=True)
def _nobody_listens() -> None:
    """No test pays for another's second: what is remembered of webhooks is that there are none, until one is made."""
    webhooks.subscriptions.hold({}, seconds=float("inf"))
