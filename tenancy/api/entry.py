"""The door (`tenancy.sign_in.door`) in the words of the REST dialect."""

from typing import Any

from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.serializers import ValidationError

from tenancy.models import User
from tenancy.people import OLD_IS_WRONG
from tenancy.sign_in import door, factors

WRONG_CREDENTIALS = "Unable to log in with provided credentials."
CODE_NEEDED = "This account has a second factor: send its code as `otp`."


class TooManyFailures(Throttled):
    """429 with `Retry-After`."""

    default_detail = "Too many failed attempts."


def let_in(request: Request, credentials: dict[str, Any]) -> User:
    """Return who signs in. Raises ValidationError or Throttled."""
    login = credentials["username"]
    try:
        user = door.password_check(request=request, login=login, password=credentials["password"])
        if factors.is_enabled(user):
            code = credentials.get("otp", "")
            if not code.strip():
                raise ValidationError({"otp": [CODE_NEEDED]})
            door.code_check(request=request, user=user, code=code)
    except door.LockedOut as locked:
        raise TooManyFailures(wait=locked.wait) from locked
    except door.WrongCode as error:
        raise ValidationError({"otp": [factors.WRONG_CODE]}) from error
    except door.WrongCredentials as error:
        raise ValidationError({"non_field_errors": [WRONG_CREDENTIALS]}) from error
    door.entered(request=request, user=user)
    return user


def own_password_check(request: Request, password: str, *, field: str) -> None:
    """Ask the caller for their password once more. Raises ValidationError under `field`, or Throttled."""
    caller: Any = request.user
    try:
        door.own_password_check(request=request, user=caller, password=password)
    except door.LockedOut as locked:
        raise TooManyFailures(wait=locked.wait) from locked
    except door.WrongCredentials as error:
        raise ValidationError({field: [OLD_IS_WRONG]}) from error
