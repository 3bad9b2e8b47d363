"""The one way in, for the admin and for REST: locks, then the password, then the second factor.

Whoever is in already and is asked for their password or a code is asked here too, and counted with the rest.
Invariant: what is answered, counted and written is the same for a name nobody has as for a wrong password. Names that
were typed are never written down unless they are somebody's: people type passwords there.
"""

import dataclasses
import logging
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction

from core import metrics
from core.acting import Actor, acting_as, current
from core.clock import now
from tenancy import audit, services
from tenancy.models import User
from tenancy.queries import Called, called
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Knock:
    """Where failures of whom are counted: one account, or one name nobody has, at one address."""

    account: User | None
    key: str
    address: str


def _knock(request: Any, account: User | None, login: str = "") -> _Knock:
    """Return what is to be counted. Raises LockedOut."""
    knock = _Knock(account, lockout.key_of(account, login), lockout.address_of(request))
    _check_open(knock)
    return knock


def _check_open(knock: _Knock) -> None:
    if wait := lockout.wait_of(knock.key, knock.address):
        raise LockedOut(wait)


def _password_check(whom: Called, password: str, knock: _Knock) -> User:
    if not services.has_password(whom.person, password) or whom.person is None:
        _note_failure(knock, said="password")
        raise WrongCredentials
    # Of guesses that came together, the right one is worth nothing once the wrong ones were too many.
    _check_open(knock)
    return whom.person


def password_check(*, request: Any, login: str, password: str) -> User:
    """Return whose name and password these are. Raises LockedOut or WrongCredentials."""
    whom = called(login)
    return _password_check(whom, password, _knock(request, whom.account, login))


def code_check(*, request: Any, user: User, code: str) -> None:
    """Check the second factor of a person whose password was right. Raises LockedOut or WrongCode."""
    knock = _knock(request, user)
    try:
        taken = factors.code_verify(user=user, code=code)
    except factors.Blocked as blocked:
        raise LockedOut(blocked.wait) from blocked
    if not taken:
        _note_failure(knock, said="code")
        raise WrongCode


def _themselves(user: User) -> Called:
    """Return a signed-in person as the database has them."""
    return Called(User.objects.filter(pk=user.pk).first(), user)


def own_password_check(*, request: Any, user: User, password: str) -> None:
    """Ask a signed-in person for their password, before they get another. Raises `Refused`."""
    knock = _knock(request, user)
    person = _password_check(_themselves(user), password, knock)
    # Who knows the password only must not thereby gain tries at the code.
    if not factors.is_enabled(person):
        lockout.failures_forget(knock.key, knock.address)


def own_password_and_code_check(*, request: Any, user: User, password: str, code: str) -> None:
    """Ask a signed-in person once more, before their second factor changes. Raises `Refused`."""
    knock = _knock(request, user)
    person = _password_check(_themselves(user), password, knock)
    code_check(request=request, user=person, code=code)
    lockout.failures_forget(knock.key, knock.address)


def factor_enable(*, request: Any, user: User, secret: str, code: str) -> list[str]:
    """Turn a second factor on with its first code; returns the recovery codes. Raises `Refused`, ValidationError."""
    knock = _knock(request, user)
    try:
        return factors.factor_enable(user=user, secret=secret, code=code)
    except ValidationError as error:
        if "otp" not in getattr(error, "error_dict", ()):
            raise
        _note_failure(knock, said="code")
        raise WrongCode from error


@transaction.atomic
def entered(*, request: Any, user: User) -> None:
    """Note that a person is in: failures are forgotten, the trail says when and from where."""
    address = lockout.address_of(request)
    lockout.failures_forget(lockout.key_of(user), address)
    with acting_as(_as_person(user, address)):
        audit.record("user.signed_in", user, organization_id=None)


def _as_person(user: User, address: str) -> Actor:
    return dataclasses.replace(current(), name=user.username, user_id=user.pk, address=address)


@transaction.atomic
def _note_failure(knock: _Knock, *, said: str) -> None:
    metrics.add(metrics.SIGN_IN_FAILURES, "rest" if current().via == "rest" else "admin")
    failures = lockout.failure_count(knock.key, knock.address)
    locked = failures == settings.AXES_FAILURE_LIMIT
    logger.warning(
        "sign-in refused: wrong %s from %s%s", said, knock.address, ", locked for a while" if locked else ""
    )
    if not (locked or failures == 1) or not _may_audit():
        return
    with acting_as(dataclasses.replace(current(), name="anonymous", user_id=None, address=knock.address)):
        audit.record(
            "user.locked_out" if locked else "user.sign_in_failed",
            knock.account,
            organization_id=None,
            name=knock.account.username if knock.account else NOBODY,
        )


def _may_audit() -> bool:
    """Count this minute's entries, in the cache all processes share."""
    key = f"muster:sign-in-refusals:{int(now().timestamp()) // 60}"
    cache.add(key, 0, 120)
    try:
        return cache.incr(key) <= AUDITED_PER_MINUTE
    except ValueError:
        return True
