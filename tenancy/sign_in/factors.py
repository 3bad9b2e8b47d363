"""The second factor: codes of an authenticator app (RFC 6238 by django-otp's HOTP), and ten recovery codes.

Invariant: a code is taken once. That, and the slowing down of guesses, happen under the lock of the person's row.
"""

import base64
import binascii
import hmac
import math
import re
import secrets
from datetime import datetime, timedelta
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.db import transaction
from django_otp.oath import hotp

from core.clock import now
from core.crypto import digest
from core.db import locked
from tenancy import audit
from tenancy.models import User
from tenancy.sign_in.models import RecoveryCode, SecondFactor

ISSUER = "Muster"
STEP = 30
# A code counts one step longer and one step earlier than it should: clocks differ, and people type slowly.
TOLERANCE = 1
RECOVERY_CODES = 10
FREE_FAILURES = 3
LONGEST_BLOCK = 300
WRONG_CODE = "The code is wrong or was used before."
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Blocked(Exception):
    """Too many wrong codes; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"wait {wait} s")
        self.wait = wait


def secret_new() -> str:
    """Return a shared secret of 160 bits in base32, as authenticator apps take it."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def uri_of(*, username: str, secret: str) -> str:
    """Return what the QR code says.

    >>> uri_of(username="ann@x", secret="ABC")
    'otpauth://totp/Muster:ann%40x?secret=ABC&issuer=Muster&algorithm=SHA1&digits=6&period=30'
    """
    label = f"{ISSUER}:{quote(username, safe='')}"
    return f"otpauth://totp/{label}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period={STEP}"


def code_at(secret: str, moment: datetime) -> str:
    """Return the code of a moment, as the app shows it."""
    return f"{hotp(base64.b32decode(secret), int(moment.timestamp()) // STEP):06d}"


def _step_of(secret: str, code: str, *, after: int) -> int | None:
    """Return the time step whose code this is, None for a wrong or an old one."""
    digits = re.sub(r"[\s-]", "", code)
    if not re.fullmatch(r"[0-9]{6}", digits):
        return None
    key, current = base64.b32decode(secret), int(now().timestamp()) // STEP
    found = None
    for step in range(current - TOLERANCE, current + TOLERANCE + 1):
        if hmac.compare_digest(f"{hotp(key, step):06d}", digits) and step > after:
            found = step
    return found


def _plain_recovery(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()


def factor_of(user: User) -> SecondFactor | None:
    """Return a person's second factor, None when they have none."""
    return SecondFactor.objects.filter(user=user).first()


def is_enabled(user: User) -> bool:
    """Tell whether a person's password alone is not enough."""
    return SecondFactor.objects.filter(user=user).exists()


def recovery_codes_left(factor: SecondFactor) -> int:
    """Return how many recovery codes were not used."""
    return factor.recovery_codes.filter(used_at__isnull=True).count()


def _recovery_codes_make(factor: SecondFactor) -> list[str]:
    factor.recovery_codes.all().delete()
    plain = ["".join(secrets.choice(_ALPHABET) for _ in range(16)) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(factor=factor, digest=digest(code)) for code in plain)
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in plain]


@transaction.atomic
def factor_enable(*, user: User, secret: str, code: str) -> list[str]:
    """Give a person a second factor once `code` proves that their app knows the secret.

    Returns the recovery codes, which nobody sees again. Raises ValidationError for a wrong code, or when there is one.
    """
    locked(User.objects.filter(pk=user.pk)).get()
    if is_enabled(user):
        raise ValidationError("There is a second factor already; disable it first.")
    try:
        step = _step_of(secret, code, after=0)
    except binascii.Error as error:
        raise ValidationError("Begin again: the secret is damaged.") from error
    if step is None:
        raise ValidationError({"otp": [WRONG_CODE]})
    factor = SecondFactor(user=user, secret=secret, last_step=step)
    factor.save(force_insert=True)
    codes = _recovery_codes_make(factor)
    audit.record("second_factor.enabled", user, organization_id=None)
    return codes


def code_verify(*, user: User, code: str) -> bool:
    """Take a code of the app or a recovery code: right ones count once, wrong ones slow down. Raises Blocked.

    True for a person without a second factor.
    """
    with transaction.atomic():
        factor = locked(SecondFactor.objects.filter(user=user)).first()
        if factor is None:
            return True
        moment = now()
        if factor.blocked_until is not None and factor.blocked_until > moment:
            raise Blocked(math.ceil((factor.blocked_until - moment).total_seconds()))
        return _taken(factor, code, moment)


def _taken(factor: SecondFactor, code: str, moment: datetime) -> bool:
    step = _step_of(factor.secret, code, after=factor.last_step)
    if step is not None:
        factor.last_step, factor.failures, factor.blocked_until = step, 0, None
        factor.save(update_fields=["last_step", "failures", "blocked_until", "modified"])
        return True
    spare = factor.recovery_codes.filter(digest=digest(_plain_recovery(code)), used_at__isnull=True)
    if spare.update(used_at=moment):
        SecondFactor.objects.filter(pk=factor.pk).update(failures=0, blocked_until=None)
        left = recovery_codes_left(factor)
        audit.record(
            "second_factor.recovery_code_used",
            factor.user,
            organization_id=None,
            changes={"left": (left + 1, left)},
        )
        return True
    factor.failures = min(factor.failures + 1, 1000)
    if factor.failures >= FREE_FAILURES:
        seconds = min(2 ** min(factor.failures - FREE_FAILURES, 16), LONGEST_BLOCK)
        factor.blocked_until = moment + timedelta(seconds=seconds)
    factor.save(update_fields=["failures", "blocked_until", "modified"])
    return False


@transaction.atomic
def recovery_codes_renew(*, user: User) -> list[str]:
    """Replace all recovery codes; returns the new ones, which nobody sees again. Raises ValidationError without one."""
    factor = locked(SecondFactor.objects.filter(user=user)).first()
    if factor is None:
        raise ValidationError("There is no second factor.")
    codes = _recovery_codes_make(factor)
    audit.record("second_factor.recovery_codes_renewed", user, organization_id=None)
    return codes


@transaction.atomic
def factor_remove(*, user: User, action: str = "second_factor.disabled") -> bool:
    """Take a person's second factor away; returns whether there was one."""
    deleted, _ = SecondFactor.objects.filter(user=user).delete()
    if deleted:
        audit.record(action, user, organization_id=None)
    return bool(deleted)


def factor_reset(*, user: User) -> bool:
    """Take it away from somebody else who lost it (superusers); returns whether there was one."""
    return factor_remove(user=user, action="second_factor.reset")
