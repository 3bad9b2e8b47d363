"""The one way in, for the admin and for REST: locks, then the password, then the second factor.

Invariant: what is answered, counted and written is the same for a name nobody has as for a wrong password. Names that
were typed are never written down unless they are somebody's: people type passwords there.
"""

import dataclasses
import logging
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q

from core import metrics
from core.acting import Actor, acting_as, current
from core.clock import now
from tenancy import audit, services
from tenancy.models import User
from tenancy.sign_in import factors, lockout

# No more refusals than these are written to the audit trail in one minute, whoever tries whatever.
AUDITED_PER_MINUTE = 60
NOBODY = "unknown name"
logger = logging.getLogger(__name__)


class Refused(Exception):
    """Not let in."""


class WrongCredentials(Refused):
    """No such name, or not its password."""


class WrongCode(Refused):
    """The password was right, the code was not."""


class LockedOut(Refused):
    """Too many failures; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"locked for {wait} s")
        self.wait = wait

    @property
    def words(self) -> str:
        """What the person is told.

        >>> LockedOut(61).words, LockedOut(30).words
        ('Too many failed attempts. Try again in 2 minutes.', 'Too many failed attempts. Try again in 30 seconds.')
        """
        minutes = -(-self.wait // 60)
        when = f"{minutes} minutes" if self.wait > 60 else f"{self.wait} second{'s'[: self.wait != 1]}"
        return f"Too many failed attempts. Try again in {when}."


def password_check(*, request: Any, login: str, password: str) -> User:
    """Return whose name and password these are. Raises LockedOut or WrongCredentials."""
    address = lockout.address_of(request)
    if wait := lockout.wait_of(login, address):
        raise LockedOut(wait)
    user = services.authenticate_person(login=login, password=password)
    if user is None:
        _note_failure(login, address, said="password")
        raise WrongCredentials
    return user


def code_check(*, request: Any, login: str, user: User, code: str) -> None:
    """Check the second factor of a person whose password was right. Raises LockedOut or WrongCode."""
    address = lockout.address_of(request)
    if wait := lockout.wait_of(login, address):
        raise LockedOut(wait)
    try:
        taken = factors.code_verify(user=user, code=code)
    except factors.Blocked as blocked:
        raise LockedOut(blocked.wait) from blocked
    if not taken:
        _note_failure(login, address, said="code")
        raise WrongCode


def own_password_and_code_check(*, request: Any, user: User, password: str, code: str) -> None:
    """Ask a signed-in person once more, before their second factor changes. Raises `Refused`."""
    password_check(request=request, login=user.username, password=password)
    code_check(request=request, login=user.username, user=user, code=code)


@transaction.atomic
def entered(*, request: Any, login: str, user: User) -> None:
    """Note that a person is in: failures are forgotten, the trail says when and from where."""
    address = lockout.address_of(request)
    lockout.failures_forget(login, address)
    with acting_as(_as_person(user, address)):
        audit.record("user.signed_in", user, organization_id=None)


def _as_person(user: User, address: str) -> Actor:
    return dataclasses.replace(current(), name=user.username, user_id=user.pk, address=address)


@transaction.atomic
def _note_failure(login: str, address: str, *, said: str) -> None:
    metrics.add(metrics.SIGN_IN_FAILURES, "rest" if current().via == "rest" else "admin")
    failures = lockout.failure_count(login, address)
    person = User.objects.filter(Q(username=login) | Q(email__iexact=login) & ~Q(email="")).first()
    locked = failures == settings.AXES_FAILURE_LIMIT
    logger.warning(
        "sign-in refused: wrong %s from %s%s", said, address, ", locked for a while" if locked else ""
    )
    if not (locked or failures == 1) or not _may_audit():
        return
    with acting_as(dataclasses.replace(current(), name="anonymous", user_id=None, address=address)):
        audit.record(
            "user.locked_out" if locked else "user.sign_in_failed",
            person,
            organization_id=None,
            name=person.username if person else NOBODY,
        )


def _may_audit() -> bool:
    """Count this minute's entries, in the cache all processes share."""
    key = f"muster:sign-in-refusals:{int(now().timestamp()) // 60}"
    cache.add(key, 0, 120)
    try:
        return cache.incr(key) <= AUDITED_PER_MINUTE
    except ValueError:
        return True
