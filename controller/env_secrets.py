"""Which secrets may guard an installation that several processes share; no Django here."""

import base64
import re
from collections.abc import Sequence

from controller.env_values import InvalidEnvironment

MINIMUM_SECRET_LENGTH = 32
# Values that documentation, examples and habit put in place of a secret: none may guard a real installation.
PLACEHOLDER = re.compile(
    r"change[-_ ]?me|insecure|example|placeholder|^(secret|password|test|default|muster)", re.I
)
_MISSING = "with MUSTER_DATABASE_URL or MUSTER_REDIS_URL every process must be given the same secrets"
_NEW_TEXT = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
_NEW_KEY = (
    "make one with: python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


def check_secrets(secret_key: str, encryption_keys: Sequence[str]) -> None:
    """Refuse absent and well-known secrets; keys are 32 bytes in url-safe base64. Raises InvalidEnvironment."""
    if not secret_key:
        raise InvalidEnvironment(f"MUSTER_SECRET_KEY is missing: {_MISSING}; {_NEW_TEXT}")
    if len(secret_key) < MINIMUM_SECRET_LENGTH or PLACEHOLDER.search(secret_key):
        raise InvalidEnvironment(
            f"MUSTER_SECRET_KEY is a known default or shorter than {MINIMUM_SECRET_LENGTH} characters; "
            f"{_NEW_TEXT}"
        )
    if not encryption_keys:
        raise InvalidEnvironment(f"MUSTER_ENCRYPTION_KEYS is missing: {_MISSING}; {_NEW_KEY}")
    for position, key in enumerate(encryption_keys, start=1):
        if len(set(base64.urlsafe_b64decode(key))) < 8:
            raise InvalidEnvironment(
                f"MUSTER_ENCRYPTION_KEYS: key {position} is a known default, not a random key; {_NEW_KEY}"
            )
