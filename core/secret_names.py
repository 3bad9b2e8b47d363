"""Names that say of what stands under them that it is a secret, and the marks that are shown instead.

Invariant: a place is judged by the names above it alone, never by its value, so that what is hidden on the way out is
known again on the way in.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings

MARK = re.compile(r"redacted:[0-9a-f]{12}")
_WORDS = (
    "key", "keys", "psk", "ppsk", "secret", "secrets", "password", "passwd", "passphrase", "pass", "pwd", "pin",
    "token", "credential", "credentials", "wep", "sae",
)  # fmt: skip
_SECRET_NAME = re.compile(
    rf"(?:^|[_\-. /])(?:{'|'.join(_WORDS)})\d*+(?:$|[_\-. ])|(?:password|passphrase|secret|privatekey|authtoken)",
    re.I,
)
# Names that contain such a word and hold nothing secret.
_HARMLESS = re.compile(
    r"(?:^|[_\-.])pub(?:lic)?[_\-]?key|key_?(?:length|size|id|path|mgmt|usage|type|direction|file)|_path(?:_|$)|"
    r"token_?(?:type|expires?)|pass_?(?:through|ive)|mac_?key|key_mgmt|hostkey|authorized_keys|^keys?_name$|"
    r"key_?(?:index|idx)|persist[_\-]key|psk_generate|auth[_\-]user[_\-]pass|password_?auth(?:entication)?$|"
    r"[_\-](?:file|dir)$|(?:^|[_\-.])sae_(?:pwe|groups?|require_mfp)",
    re.I,
)
_ORDINARY_WORDS = (
    "id", "uuid", "name", "title", "label", "description", "comment", "comments", "note", "notes", "type", "kind",
    "format", "index", "idx", "slot", "position", "order", "priority", "weight", "count", "length", "size", "bits",
    "enabled", "enable", "disabled", "disable", "active", "required", "mode", "method", "protocol", "proto",
    "version", "cipher", "ciphers", "algorithm", "algo", "hash", "digest", "encryption", "encoding", "server",
    "servers", "host", "hostname", "address", "ip", "mac", "port", "ports", "url", "uri", "path", "file", "filename",
    "directory", "user", "username", "login", "identity", "email", "realm", "domain", "ssid", "bssid", "interface",
    "device", "network", "vlan", "vid", "radio", "channel", "role", "scope", "status", "state", "created", "modified",
    "updated", "expires", "expiry", "date", "time", "timeout", "interval", "lifetime", "ttl", "schedule",
)  # fmt: skip
# What an object under a secret name says about its secret: `key_type`, `expires`.
_ORDINARY = re.compile(rf"(?:^|[_\-. ])(?:{'|'.join(_ORDINARY_WORDS)})$", re.I)


@lru_cache(maxsize=8192)
def is_secret_name(name: str) -> bool:
    """Tell whether what stands under `name` is a secret; a name with slashes is a path of names.

    >>> [is_secret_name(n) for n in ("key", "wifi_password", "public_key", "monkey", "ssid", "key_length")]
    [True, True, False, False, False, False]
    >>> [is_secret_name(n) for n in ("wireless/7/key", "ssh/hostkey/passwd", "wireless/7/ssid", "keys/")]
    [True, True, False, True]
    """
    if "/" in name:
        return is_secret_place([part for part in name.split("/") if part])
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS.search(name)


@lru_cache(maxsize=8192)
def is_secret_beneath(name: str) -> bool:
    """Tell whether what stands under `name` is a secret, somewhere inside an object that has a secret name.

    >>> [is_secret_beneath(n) for n in ("value", "data", "key_type", "username", "public_key", "psk")]
    [True, True, False, False, False, True]
    """
    return is_secret_name(name) or not (_ORDINARY.search(name) or _HARMLESS.search(name))


def is_secret_place(names: Sequence[str]) -> bool:
    """Tell whether a value is a secret by the names that lead to it, the outermost first; numbers count positions.

    >>> [is_secret_place(n.split("/")) for n in ("wifi/key", "keys/0/data", "keys/0/name", "ssid", "key/id/0")]
    [True, True, False, False, False]
    """
    told = [name for name in names if not name.isdigit()]
    if not told:
        return False
    return is_secret_name(told[-1]) or (
        any(is_secret_name(name) for name in told[:-1]) and is_secret_beneath(told[-1])
    )


def mark_of(secret: Any) -> str:
    """Return the mark shown in place of a secret."""
    ring = settings.SECRET_KEY.encode()
    digits = hmac.new(ring, b"redaction:" + str(secret).encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"redacted:{digits.hexdigest()[:12]}"


def is_mark(value: Any) -> bool:
    """Tell whether a value is a mark and not a value of its own."""
    return isinstance(value, str) and MARK.fullmatch(value) is not None
