"""Who is doing this, and in which request: what the audit trail and the logs say of every change.

Invariant: services never pass it along; the edge sets it (a middleware for people, `acting_as` for devices, commands
and workers) and `current()` reads it. Without an edge it is the system itself.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

REASON_HEADER = "X-Change-Reason"
REASON_LENGTH = 256

request_id: ContextVar[str] = ContextVar("muster_request_id", default="")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `user_id` of a person, `name` in words, `via` which door, `reason` in the person's own words."""

    name: str
    via: str
    user_id: UUID | None = None
    address: str = ""
    reason: str = ""


SYSTEM = Actor(name="system", via="system")
_actor: ContextVar[Actor | None] = ContextVar("muster_actor", default=None)
_request: ContextVar[Any] = ContextVar("muster_request", default=None)


@contextlib.contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Let `actor` be the one who acts until the block ends."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def act_until_told(actor: Actor | None) -> None:
    """Let `actor` act in this thread from now on (for workers, whose tasks begin and end by signals); None ends it."""
    _actor.set(actor)


@contextlib.contextmanager
def acting_for(request: Any) -> Iterator[None]:
    """Let the user of a Django request act; who that is may turn out later, when the API has authenticated them."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def current() -> Actor:
    """Return who acts now."""
    actor = _actor.get()
    if actor is not None:
        return actor
    request = _request.get()
    return _of_request(request) if request is not None else SYSTEM


def _of_request(request: Any) -> Actor:
    user: Any = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    return Actor(
        name=user.get_username() if known else "anonymous",
        via="admin" if request.path.startswith("/admin/") else "rest",
        user_id=user.pk if known else None,
        address=request.META.get("REMOTE_ADDR", ""),
        reason=header_text(request.headers.get(REASON_HEADER, "")).strip()[:REASON_LENGTH],
    )


def header_text(value: str) -> str:
    """Return what a client meant by a header: servers read its bytes as Latin-1, people's programs send UTF-8.

    >>> header_text("f\u00c3\u00bcr"), header_text("f\u00fcr"), header_text("plain")
    ('für', 'für', 'plain')
    """
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
