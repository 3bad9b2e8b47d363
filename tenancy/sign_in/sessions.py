"""Sessions: where a person is signed in, and how that ends.

Django's session rows stay the truth: a session ends by deleting them, so no request asks whether it may go on.
Invariant: what people see of a session is its id, never its key; `last_seen_at` moves at most every few minutes, and
what decides that is this process's memory, so a request of a known session costs nothing.
"""

import threading
from collections import OrderedDict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet

from core.clock import now
from core.crypto import digest
from tenancy import audit, services
from tenancy.models import ApiToken, User
from tenancy.sign_in import lockout
from tenancy.sign_in.models import SignInSession

SEEN_RESOLUTION = timedelta(minutes=5)
REMEMBERED = 10_000
_noted: OrderedDict[str, Any] = OrderedDict()
_noting = threading.Lock()


def stamp_of(auth_hash: str) -> str:
    """Return what is stored of Django's session hash, which follows from the password."""
    return digest(f"session:{auth_hash}")


def _is_due(identifier: str) -> bool:
    """Tell whether a session has not been noted lately by this process, and remember that it is now."""
    moment = now()
    with _noting:
        last = _noted.get(identifier)
        if last is not None and moment - last < SEEN_RESOLUTION:
            return False
        _noted[identifier] = moment
        _noted.move_to_end(identifier)
        if len(_noted) > REMEMBERED:
            _noted.popitem(last=False)
        return True


def session_note(request: Any, *, user_id: UUID) -> None:
    """Write down that a session is used, the first time and every few minutes."""
    key = request.session.session_key
    if not key or not _is_due(digest(key)):
        return
    moment = now()
    seen = {
        "last_seen_at": moment,
        "expires_at": request.session.get_expiry_date(),
        "stamp": stamp_of(request.session.get(HASH_SESSION_KEY, "")),
        "address": lockout.address_of(request) if "REMOTE_ADDR" in request.META else "",
    }
    if SignInSession.objects.filter(digest=digest(key), user=user_id).update(**seen):
        return
    SignInSession.objects.update_or_create(
        digest=digest(key),
        defaults={
            **seen,
            "user_id": user_id,
            "key": key,
            "user_agent": request.META.get("HTTP_USER_AGENT", "").replace("\x00", "")[:256],
        },
    )


def session_note_request(request: Any) -> None:
    """Note the session of a request that has looked at it and is signed in by it."""
    session = getattr(request, "session", None)
    if session is None or not session.accessed or SESSION_KEY not in session:
        return
    user: Any = request.user
    if user.is_authenticated:
        session_note(request, user_id=user.pk)


def session_forget(key: str | None) -> None:
    """Forget a session that its owner ended."""
    if key:
        SignInSession.objects.filter(digest=digest(key)).delete()


def sessions_of(user: User) -> QuerySet[SignInSession]:
    """Return where a person is signed in, last used first. Two queries to find out, one when it is read."""
    rows = SignInSession.objects.filter(
        user=user, expires_at__gt=now(), stamp=stamp_of(user.get_session_auth_hash())
    )
    keys = {row.key: row.pk for row in rows}
    alive = Session.objects.filter(session_key__in=list(keys), expire_date__gt=now())
    living = [keys[key] for key in alive.values_list("session_key", flat=True)]
    return SignInSession.objects.filter(pk__in=living).order_by("-last_seen_at", "id")


def is_current(row: SignInSession, request: Any) -> bool:
    """Tell whether a session is the one of this request."""
    session = getattr(request, "session", None)
    key = session.session_key if session is not None else None
    return key is not None and row.digest == digest(key)


@transaction.atomic
def session_revoke(row: SignInSession) -> None:
    """End one session at once."""
    Session.objects.filter(session_key=row.key).delete()
    user = row.user
    SignInSession.objects.filter(pk=row.pk).delete()
    audit.record("session.revoked", user, organization_id=None)


@transaction.atomic
def sign_out_everywhere(*, user: User, tokens: bool = False, keep: str | None = None) -> tuple[int, int]:
    """End all sessions of a person but the one with the key `keep`, and with `tokens` their API tokens too.

    Returns how many sessions and tokens that were.
    """
    rows = SignInSession.objects.filter(user=user)
    rows = rows.exclude(digest=digest(keep)) if keep else rows
    keys = [row.key for row in rows]
    ended, _ = Session.objects.filter(session_key__in=keys).delete()
    rows.delete()
    revoked = 0
    if tokens:
        revoked = ApiToken.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=now())
    audit.record(
        "user.signed_out_everywhere",
        user,
        organization_id=None,
        changes={"sessions": (ended, 0), **({"credentials_in_use": (revoked, 0)} if tokens else {})},
    )
    return ended, revoked


@transaction.atomic
def session_moved(request: Any, *, before: str | None) -> None:
    """Follow a session to its new key: Django gives it one when its owner changes the password."""
    key = request.session.session_key
    if not before or not key or before == key:
        return
    SignInSession.objects.filter(digest=digest(before)).update(
        digest=digest(key), key=key, stamp=stamp_of(request.session.get(HASH_SESSION_KEY, ""))
    )


@transaction.atomic
def password_change(*, user: User, password: str, keep: str | None) -> None:
    """Set one's own password; all other sessions end. Raises ValidationError."""
    # Django's `request.user` only stands for the row.
    row = services.user_update(User.objects.get(pk=user.pk), password=password)
    user.password = row.password
    keys = [session.key for session in SignInSession.objects.filter(user=user) if session.key != keep]
    Session.objects.filter(session_key__in=keys).delete()
    SignInSession.objects.filter(user=user).exclude(digest=digest(keep or "")).delete()
    audit.record("user.password_changed", user, organization_id=None)
