"""What every test starts from."""

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from core import outage, rates
from core.db import is_postgresql
from tenancy import webhooks

_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


STANDALONE = (
    "agent",
    "benchmarks",
    "boot/images/test_over_http.py",
    "boot/test_crash.py",
    "config_merge/engine",
    "controller/test_env.py",
    "controller/test_floors.py",
    "controller/test_imports.py",
    "controller/test_keyfile.py",
    "controller/test_make_venv.py",
    "controller/test_requirements.py",
    "controller/test_up.py",
    "core/test_net.py",
    "core/test_redaction.py",
    "core/test_secret_text.py",
    "crash",
    "docs",
)

# Where one failure in a hundred runs is a defect all the same: parallel writers, kills, other people's objects. The
# others may be tried once more where they are run with `--reruns` (a busy machine is late), and then they are listed.
ONCE = (
    "boot/test_crash.py",
    "boot/test_hammer.py",
    "boot/test_transfer_at_once.py",
    "config_merge/pub_v1/test_at_once.py",
    "config_merge/pub_v1/test_processes.py",
    "config_merge/test_concurrency.py",
    "crash",
    "isolation",
    "tenancy/test_api_keys_at_once.py",
    "tenancy/test_together.py",
)


def _are_in(item: pytest.Item, places: tuple[str, ...]) -> bool:
    found = (Path(__file__).parent / place for place in places)
    return any(place == item.path or place in item.path.parents for place in found)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what would say the same on every database: it starts its own server, or computes without one; order."""
    for item in items:
        if _are_in(item, STANDALONE) and item.get_closest_marker("services") is None:
            item.add_marker(pytest.mark.standalone)
        if _are_in(item, ONCE):
            item.add_marker(pytest.mark.flaky(reruns=0))
    # What takes long begins early: begun last, it would leave the other workers without work.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


# What migrations fill and no test changes. Everything else is emptied after a test whose transactions were real.
FILLED = {"django_migrations", "django_content_type", "auth_permission"}


@cache
def _tables() -> list[str]:
    return sorted(set(connection.introspection.django_table_names(only_existing=True)) - FILLED)


@cache
def _first_rows() -> dict[str, tuple[list[str], list[Any]]]:
    """Return what migrations put into the other tables: columns and rows by table. First called before any test."""
    found = {}
    with connection.cursor() as cursor:
        for table in _tables():
            cursor.execute(f'SELECT * FROM "{table}"')
            if rows := cursor.fetchall():
                found[table] = ([column[0] for column in cursor.description], rows)
    return found


def _empty(_case: Any) -> None:
    """Delete the rows of the tables that have any, and put back what migrations made: most tests write to a few.

    Django's `flush` empties all of them, and then has everything put back that follows a migration.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if is_postgresql():
            # Without triggers: what they keep is emptied too.
            cursor.execute("SET LOCAL session_replication_role = replica")
        filled = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM \"{table}\")" for table in _tables())
        cursor.execute(" UNION ALL ".join(filled))
        for (table,) in cursor.fetchall():
            cursor.execute(f'DELETE FROM "{table}"')
        for table, (columns, rows) in _first_rows().items():
            names = ", ".join(f'"{column}"' for column in columns)
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows)


def pytest_collection_finish() -> None:
    """Take modules and thousands of collected tests out of what is searched for garbage all the time."""
    gc.collect()
    gc.freeze()


def _is_superuser(blocker: Any) -> bool:
    with blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """End the sessions of threads that outlive their test, which would keep the test database from being dropped."""
    with django_db_blocker.unblock():
        _first_rows()
    with pytest.MonkeyPatch.context() as patch:
        if not is_postgresql() or _is_superuser(django_db_blocker):
            patch.setattr(TransactionTestCase, "_fixture_teardown", _empty)
        yield
    with django_db_blocker.unblock():
        if is_postgresql():
            with connection.cursor() as cursor:
                cursor.execute(_OTHERS)


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_found_once() -> Iterator[None]:
    """Each test client loads all middleware, and 250 static files would be looked for on the disk each time."""
    found: dict[str, Any] = {}
    look = WhiteNoiseMiddleware.add_files_from_finders

    def remembered(middleware: Any) -> None:
        if not found:
            look(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", remembered)
        yield


@pytest.fixture(autouse=True)
def _nobody_listens() -> None:
    """No test pays for another's second: what is remembered of webhooks is that there are none, until one is made."""
    webhooks.subscriptions.hold({}, seconds=float("inf"))


@pytest.fixture(autouse=True)
def _nobody_called() -> None:
    """All tests come from one address, whose calls of the last minute are those of other tests; so is an outage."""
    rates.forget_here()
    outage.redis.answered()
