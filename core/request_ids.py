"""The id of a request: the caller's own when it is harmless, else a new one; cheap enough for every poll.

Invariant: an id is at most 64 letters, digits, dots, dashes and underscores, so it can stand in a log line, a header
and an error text as it is.
"""

import itertools
import re
import secrets
import uuid

from core.acting import request_id

HEADER = "X-Request-ID"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(12)
_numbers = itertools.count(1)


def accept_request_id(value: str) -> str:
    """Return the caller's id when it is short and plain, else a new one.

    >>> accept_request_id("abc-1")
    'abc-1'
    >>> len(accept_request_id("forged\\nline"))
    32
    """
    return value if _HARMLESS.fullmatch(value) else uuid.uuid4().hex


def needed_request_id() -> str:
    """Return the id of the current request, which gets one now if nothing has needed it before."""
    identifier = request_id.get()
    if not identifier:
        identifier = counted_request_id()
        request_id.set(identifier)
    return identifier


def counted_request_id(value: str = "") -> str:
    """Do the same without asking for entropy: this process's own prefix, and a number.

    >>> counted_request_id("abc-1"), len(counted_request_id())
    ('abc-1', 32)
    """
    return value if value and _HARMLESS.fullmatch(value) else f"{_process}{next(_numbers):08x}"
