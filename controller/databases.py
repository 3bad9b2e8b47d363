"""Where data lives: database, cache, channel layer and files, derived from the environment.

Invariant: pure functions of `Environment`; the default mode needs nothing but a writable directory.
"""

from pathlib import Path
from typing import Any

from controller.env import Environment

SQLITE_NAME = "muster.sqlite3"

# WAL lets readers go on while one writes; NORMAL still never corrupts on power loss (it may lose the last
# commits). 64 MB of page cache and 256 MB of mapped file keep a 100,000-device database in memory.
SQLITE_INIT = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
    "PRAGMA cache_size=-65536; PRAGMA mmap_size=268435456; PRAGMA journal_size_limit=67108864;"
)


def database(environment: Environment) -> dict[str, Any]:
    """Django's settings of the one database."""
    url = environment.database_url
    if url is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": environment.data_dir / SQLITE_NAME,
            "OPTIONS": {
                # Take the write lock when a transaction starts: a later upgrade would fail at once instead of
                # waiting.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": SQLITE_INIT,
            },
            # A file, so that tests with several threads meet the locks they would meet in production.
            "TEST": {"NAME": environment.data_dir / "test.sqlite3"},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.name,
        "USER": url.user,
        "PASSWORD": url.password,
        "HOST": url.host,
        "PORT": str(url.port or ""),
        # Under ASGI every request runs in a thread of its own, so per-thread persistent connections would
        # pile up: a pool is shared by all threads of the process. It requires CONN_MAX_AGE 0.
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": dict(url.options)
        | {"pool": {"min_size": 1, "max_size": environment.database_pool, "timeout": 15, "max_idle": 120}},
    }


def cache(environment: Environment) -> dict[str, Any]:
    """Django's settings of the one cache; on Redis `cache.clear()` would empty the broker too."""
    if environment.redis_url:
        return {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": environment.redis_url,
            "KEY_PREFIX": "muster",
        }
    return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "muster"}


def channel_layer(environment: Environment) -> dict[str, Any]:
    """Channels' settings of the one layer."""
    if environment.redis_url:
        return {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {
                # A receiver waits five seconds at a time in Redis: the client must not give up sooner.
                "hosts": [
                    {"address": environment.redis_url, "socket_timeout": 20, "socket_connect_timeout": 2}
                ],
                "prefix": "muster:channels",
                "expiry": 60,
                "capacity": 1000,
            },
        }
    return {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1000}}


# What is read back from the bucket is on disk beyond this.
S3_MEMORY = 1 << 20


def file_storage(environment: Environment) -> dict[str, Any]:
    """Where uploaded files go: a bucket when one is named, else a directory."""
    if not environment.s3_bucket:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    given = {
        "bucket_name": environment.s3_bucket,
        "endpoint_url": environment.s3_endpoint,
        "region_name": environment.s3_region,
        "access_key": environment.s3_access_key,
        "secret_key": environment.s3_secret_key,
        "location": environment.s3_prefix,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    # Never overwrite and never link without a signature: files belong to tenants.
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": options
        | {
            "file_overwrite": False,
            "querystring_auth": True,
            "max_memory_size": S3_MEMORY,
            "signature_version": "s3v4",
        },
    }


def static_storage(root: Path) -> dict[str, Any]:
    """Hashed and compressed names once `collectstatic` has run; plain names before, from the apps."""
    if (root / "staticfiles.json").exists():
        return {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    return {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"}


def mail(environment: Environment) -> tuple[str, int, str, str, bool, bool]:
    """Django's EMAIL_HOST, _PORT, _HOST_USER, _HOST_PASSWORD, _USE_TLS and _USE_SSL."""
    url = environment.email_url
    if url is None:
        return "", 25, "", "", False, False
    return url.host, url.port, url.user, url.password, url.security == "tls", url.security == "ssl"
