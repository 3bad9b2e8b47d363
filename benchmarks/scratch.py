"""A Muster of its own for one benchmark: temporary data directory, fresh database, Django set up on both.

Invariant: nothing outside the temporary directory and the database made here is written; both are gone afterwards.
Settings are read once per process, so a process runs one benchmark.
"""

import base64
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from django.conf import settings
from django.core.management import call_command

from benchmarks.options import Options


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where it is, and the environment with which a child process sees the same Muster."""

    directory: Path
    environment: dict[str, str]


@contextlib.contextmanager
def scratch(options: Options) -> Iterator[Scratch]:
    """Yield a migrated, empty Muster."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        chosen = {
            "MUSTER_DATA_DIR": str(directory),
            "MUSTER_SECRET_KEY": secrets.token_urlsafe(48),
            "MUSTER_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            # Load comes from one address; each simulated device states its own, as it would behind a proxy.
            "MUSTER_TRUSTED_PROXIES": "127.0.0.1",
            "MUSTER_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "controller.settings",
        }
        if options.redis_url:
            chosen["MUSTER_REDIS_URL"] = options.redis_url
        if options.database_url:
            chosen["MUSTER_DATABASE_URL"] = stack.enter_context(_postgresql(options.database_url))
        for name in [name for name in os.environ if name.startswith("MUSTER_")]:
            del os.environ[name]
        os.environ |= chosen
        django.setup()
        if options.sqlite:
            shutil.copy(options.sqlite, settings.DATABASES["default"]["NAME"])
        call_command("migrate", interactive=False, verbosity=0)
        stack.callback(_let_go)
        yield Scratch(directory, dict(os.environ))


@contextlib.contextmanager
def _postgresql(url: str) -> Iterator[str]:
    """A database of its own on the server of `url`."""
    name = f"muster_bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _let_go() -> None:
    from django.db import connection  # the settings exist only now

    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()
