"""Encryption at rest with a key ring: the first key encrypts, every key decrypts.

The ring is `settings.MUSTER_ENCRYPTION_KEYS`, a list of Fernet keys (RFC 4648 url-safe base64 of 32 bytes).
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_equal: ContextVar[dict[bytes, bytes] | None] = ContextVar("muster_equal_tokens", default=None)


@functools.lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def ring() -> MultiFernet:
    """Return the current key ring."""
    return _ring(tuple(settings.MUSTER_ENCRYPTION_KEYS))


def encrypt(plain: bytes) -> bytes:
    """Return a Fernet token of `plain` under the first key."""
    known = _equal.get()
    if known is None:
        return ring().encrypt(plain)
    if plain not in known:
        known[plain] = ring().encrypt(plain)
    return known[plain]


@contextlib.contextmanager
def equal_tokens() -> Iterator[None]:
    """Let equal plain texts that the block encrypts have one token: for many rows whose equality is no secret."""
    token = _equal.set({})
    try:
        yield
    finally:
        _equal.reset(token)


def decrypt(token: bytes) -> bytes:
    """Return what `token` holds; raises ImproperlyConfigured when no key of the ring opens it."""
    try:
        return ring().decrypt(token)
    except InvalidToken as error:
        raise ImproperlyConfigured("No key in MUSTER_ENCRYPTION_KEYS opens a stored secret.") from error


def rotate(token: bytes) -> bytes:
    """Re-encrypt `token` under the first key, keeping what it holds."""
    try:
        return ring().rotate(token)
    except InvalidToken as error:
        raise ImproperlyConfigured("No key in MUSTER_ENCRYPTION_KEYS opens a stored secret.") from error


def digest(secret: str) -> str:
    """Return the SHA-256 hex of a high-entropy secret, so that it can be looked up without being stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
