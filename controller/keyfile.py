"""Secrets of the default mode: generated once, kept in one file only its owner may read.

Why it exists: a first start must need no configuration, yet never run on a published secret. Invariant: the
file is complete or absent, at every instant, however many processes start at once; keys are never replaced
behind stored data.
"""

import base64
import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

FILE_NAME = "secrets.json"


class KeyFileError(RuntimeError):
    """The file of secrets is missing where it must exist, or unreadable; the text says what to do."""


@dataclass(frozen=True)
class Keys:
    """The signing secret, and the Fernet keys of stored secrets (first encrypts, all decrypt)."""

    secret_key: str = field(repr=False)
    encryption_keys: tuple[str, ...] = field(repr=False)


def load_or_create(*, directory: Path, database: Path) -> Keys:
    """Read `directory`/secrets.json, or generate it when nothing was ever stored there.

    `database` is the SQLite file: when it holds data but the keys are gone, new keys would make every stored
    secret unreadable for ever, so KeyFileError is raised instead.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / FILE_NAME
    if path.exists():
        return _read(path)
    with (directory / f".{FILE_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return _read(path)
        if database.exists() and database.stat().st_size > 0:
            raise KeyFileError(
                f"{path} is missing but {database.name} holds data encrypted with its keys: restore it from "
                "a backup, or give MUSTER_SECRET_KEY and MUSTER_ENCRYPTION_KEYS"
            )
        _write(path, keys=Keys(secrets.token_urlsafe(48), (_fernet_key(),)))
        return _read(path)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _read(path: Path) -> Keys:
    try:
        stored = json.loads(path.read_text())
        return Keys(str(stored["secret_key"]), tuple(str(key) for key in stored["encryption_keys"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyFileError(f"{path} cannot be read: {type(error).__name__}") from error


def _write(path: Path, *, keys: Keys) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(
            {"secret_key": keys.secret_key, "encryption_keys": list(keys.encryption_keys)}, stream, indent=2
        )
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
