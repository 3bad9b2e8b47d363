"""A running Muster with keys and images of its own, on whatever services these tests run on."""

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from django.conf import settings
from psycopg import sql

from tests.controller.processes import ROOT, Up, plain_environment, running_up
from tests.crash.servers import own_redis

PASSWORD = "a long enough one"


@dataclass
class House:
    """A server, and the variables that its commands need."""

    up: Up
    variables: dict[str, str]

    @property
    def url(self) -> str:
        """Where it is."""
        return self.up.url

    def manage(self, *arguments: str, sent: str | None = None) -> str:
        """Run a management command beside the server; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=plain_environment(**self.variables),
            input=sent, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def new_key(self) -> str:
        """Make a key of a new organization."""
        name = f"fleet-{secrets.token_hex(4)}"
        made = self.manage("provision", "--organization", name, "--user", name, "--api-key", "--json")
        return str(json.loads(made.splitlines()[-1])["api_key"])

    def rest(self) -> httpx.Client:
        """Return the administrator's REST."""
        said = httpx.post(f"{self.url}/api/v1/users/token/", json={"username": "admin", "password": PASSWORD})
        headers = {"Authorization": f"Bearer {said.json()['token']}"}
        return httpx.Client(base_url=f"{self.url}/api/v1/boot", headers=headers, timeout=30)

    def publish(self, content: bytes, path: str, *, key: str = "") -> Any:
        """Upload an image to a key's space, or to everybody's."""
        with self.rest() as client:
            sent = {"path": path}
            if key:
                keys = client.get("/keys/", params={"page_size": 100}).json()["results"]
                sent["key"] = next(one["id"] for one in keys if key.startswith(one["key_id"]))
            made = client.post("/images/", data=sent, files={"file": ("x", content)})
            assert made.status_code == 201, made.text
            return made.json()


@contextlib.contextmanager
def running_house(directory: Path, **variables: str) -> Iterator[House]:
    """Start one: on SQLite, or on a database and a Redis of its own where the tests have such services."""
    given = {"MUSTER_DATA_DIR": str(directory), "MUSTER_ADMIN_PASSWORD": PASSWORD, **variables}
    with contextlib.ExitStack() as stack:
        if settings.MUSTER.redis_url:
            directory.parent.mkdir(parents=True, exist_ok=True)
            redis = stack.enter_context(own_redis(directory.parent, keeps=True))
            given["MUSTER_REDIS_URL"] = f"redis://127.0.0.1:{redis.port}/0"
        if settings.MUSTER.database_url is not None:
            given["MUSTER_DATABASE_URL"] = stack.enter_context(_database())
        if settings.MUSTER.redis_url or settings.MUSTER.database_url is not None:
            given |= {
                "MUSTER_SECRET_KEY": secrets.token_urlsafe(48),
                "MUSTER_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
                "MUSTER_DEMO_KEY": variables.get("MUSTER_DEMO_KEY", "yes"),
            }
        yield House(stack.enter_context(running_up(directory, **given)), given)


@contextlib.contextmanager
def _database() -> Iterator[str]:
    url: Any = settings.MUSTER.database_url
    name, password = f"house_{secrets.token_hex(4)}", f":{url.password}" if url.password else ""
    at = f"postgres://{url.user}{password}@{url.host}:{url.port or 5432}"
    with psycopg.connect(f"{at}/postgres", autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{at}/{name}"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
