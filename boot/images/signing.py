"""Addresses of files that open for a moment and without a key: bound to one file, one name and one second.

Invariant: the signature covers everything the address says but itself; nothing is stored to check it.
"""

import hmac
import time
from urllib.parse import quote
from uuid import UUID

from django.utils.crypto import salted_hmac

LIFETIME = 30
PREFIX = "/image-files/"
_SALT = "muster.boot.images.signed"


def signature_of(identifier: UUID, name: str, expires: int) -> str:
    """Return the signature of an address, 64 hexadecimal digits."""
    return salted_hmac(_SALT, f"{identifier.hex}\n{name}\n{expires}", algorithm="sha256").hexdigest()


def signed_path(identifier: UUID, name: str, *, at: float | None = None) -> str:
    """Return the path and query under which a file is served for `LIFETIME` seconds from `at` (now)."""
    expires = int(time.time() if at is None else at) + LIFETIME
    signature = signature_of(identifier, name, expires)
    return f"{PREFIX}{identifier.hex}/{quote(name)}?expires={expires}&signature={signature}"


def is_valid(identifier: UUID, name: str, expires: str, signature: str) -> bool:
    """Tell whether an address was made here and is not over."""
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):
        return False
    genuine = hmac.compare_digest(signature_of(identifier, name, int(expires)), signature)
    return genuine and time.time() < int(expires)
