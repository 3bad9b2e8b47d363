"""The grown installation: several processes on PostgreSQL and Redis, by environment alone."""

import base64
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from psycopg import sql

from deploy.rehearsal import RehearsalError, rehearse, stop
from tests.controller.processes import get, plain_environment

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an installation with a database of its own, dropped afterwards."""
    url = settings.MUSTER.database_url
    assert url is not None, "run through `make test-services`"
    name = f"rehearsal_{secrets.token_hex(4)}"
    administration = {"host": url.host, "port": url.port, "user": url.user, "password": url.password}
    with psycopg.connect(**administration, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        password = f":{url.password}" if url.password else ""
        yield plain_environment(
            MUSTER_DATA_DIR=str(tmp_path / "data"),
            MUSTER_DATABASE_URL=f"postgres://{url.user}{password}@{url.host}:{url.port or 5432}/{name}",
            MUSTER_REDIS_URL=settings.MUSTER.redis_url,
            MUSTER_SECRET_KEY=secrets.token_urlsafe(48),
            MUSTER_ENCRYPTION_KEYS=base64.urlsafe_b64encode(os.urandom(32)).decode(),
        )
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_web_worker_and_beat_run_apart_and_stop_by_their_process_ids(
    environ: dict[str, str], tmp_path: Path, server: str
) -> None:
    with rehearse(environ, logs=tmp_path / "logs", server=server) as rehearsal:
        assert len(rehearsal.urls) == 2
        for url in rehearsal.urls:
            body = json.loads(get(f"{url}/readyz")[2])
            assert body["checks"]["database"]["detail"] == "postgresql"
            assert body["checks"]["broker"]["detail"] == "redis"
            assert body["checks"]["scheduler"]["ok"]
            assert get(f"{url}/api/v1/docs/")[0] == 200
            assert get(f"{url}/controller/nothing/")[1]["x-openwisp-controller"] == "true"
        codes = stop(rehearsal.processes)
        said = {role: (tmp_path / "logs" / f"{role}.log").read_text() for role in codes}
    # uvicorn and granian end by the signal they were sent, as a supervisor expects, or with 0.
    assert set(codes.values()) <= {0, -15}, said
    assert not [role for role, text in said.items() if "Traceback" in text], said


def test_a_broker_that_goes_away_is_named_by_readyz(environ: dict[str, str], tmp_path: Path) -> None:
    environ["MUSTER_REDIS_URL"] = "redis://127.0.0.1:1/0"
    with (
        pytest.raises(RehearsalError, match=r"broker|ended with"),
        rehearse(environ, logs=tmp_path / "logs", webs=1, seconds=20),
    ):
        pytest.fail("it cannot have become ready")


def test_an_installation_without_its_urls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="MUSTER_DATABASE_URL is missing"), rehearse({}, logs=tmp_path):
        pytest.fail("it cannot have started")


@pytest.mark.django_db
def test_this_very_test_run_is_on_postgresql_and_redis() -> None:
    from django.core.cache import cache
    from django.db import connection

    assert connection.vendor == "postgresql"
    cache.set("rehearsal", "here", 5)
    with redis.Redis.from_url(settings.MUSTER.redis_url) as client:
        assert list(client.scan_iter("muster:*rehearsal"))
