"""Where tests keep their data: a fresh directory per process, whatever the developer's environment says.

Invariant: this module runs before the settings load, so that no test reads or writes the checkout's `var/`,
the developer's database, or another test process's Redis database.
"""

import atexit
import base64
import os
import secrets
import shutil
import tempfile
from urllib.parse import urlsplit, urlunsplit

import django
import hypothesis
import redis
from django.conf import settings

KEPT = {"MUSTER_DATABASE_URL", "MUSTER_REDIS_URL"}


def _redis_of_this_process(url: str) -> str:
    """Each xdist worker gets the Redis database after the one before: clearing a cache empties it all."""
    parts = urlsplit(url)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    number = int(parts.path.lstrip("/") or 0) + (int(worker.removeprefix("gw")) if worker else 0)
    return urlunsplit(parts._replace(path=f"/{number}"))


def _prepare() -> None:
    for name in [name for name in os.environ if name.startswith("MUSTER_") and name not in KEPT]:
        del os.environ[name]
    directory = tempfile.mkdtemp(prefix="muster-tests-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.environ["MUSTER_DATA_DIR"] = directory
    # What is made once per run and copied by all its processes: workers inherit the name.
    if "PYTEST_MUSTER_SHARED" not in os.environ:
        os.environ["PYTEST_MUSTER_SHARED"] = shared = tempfile.mkdtemp(prefix="muster-tests-shared-")
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    os.environ["MUSTER_LOG_FORMAT"] = "console"
    if os.environ.get("MUSTER_DATABASE_URL") or os.environ.get("MUSTER_REDIS_URL"):
        os.environ["MUSTER_SECRET_KEY"] = secrets.token_urlsafe(48)
        os.environ["MUSTER_ENCRYPTION_KEYS"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    # A worker inherits the environment of the process that started it, whose own database is not the
    # worker's.
    given = os.environ.setdefault("PYTEST_MUSTER_REDIS", os.environ.get("MUSTER_REDIS_URL", ""))
    if given:
        os.environ["MUSTER_REDIS_URL"] = url = _redis_of_this_process(given)
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
    # The production hasher is slow on purpose, and tests sign in thousands of times.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


_prepare()
# The same examples every time, so that a run says something about the change and not about luck;
# `make test ARGS=--hypothesis-profile=default` looks for new ones, `deep` for longer.
hypothesis.settings.register_profile("steady", derandomize=True)
hypothesis.settings.register_profile("deep", max_examples=1000)
hypothesis.settings.load_profile("steady")
# The conftest.py files below import models.
django.setup()
# A test worker that inherited this name would load its settings before this module could prepare them.
del os.environ["DJANGO_SETTINGS_MODULE"]
