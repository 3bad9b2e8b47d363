"""Encryption at rest with a key ring: the first key encrypts, every key decrypts.

The ring is `settings.MUSTER_ENCRYPTION_KEYS`, a list of Fernet keys (RFC 4648 url-safe base64 of 32 bytes).
"""

import functools
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@functools.lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def ring() -> MultiFernet:
    """Return the current key ring."""
    return _ring(tuple(settings.MUSTER_ENCRYPTION_KEYS))


def encrypt(plain: bytes) -> bytes:
    """Return a Fernet token of `plain` under the first key."""
    return ring().encrypt(plain)


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
