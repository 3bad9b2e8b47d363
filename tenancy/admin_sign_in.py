"""Slows down who guesses passwords at the admin's sign-in page.

Invariant: the page and the REST endpoint that issues tokens count in one counter per address, so neither gives
extra attempts.
"""

from typing import Any

from django.http import HttpRequest

from tenancy.api.throttling import AddressThrottle


class _SignIn:
    """Names the counter, as a REST view would."""

    throttle_scope = "token"


def sign_in_wait(request: HttpRequest) -> float | None:
    """Count an attempt; return the seconds to wait when its address made too many, else None."""
    throttle: Any = AddressThrottle()
    if throttle.allow_request(request, _SignIn()):
        return None
    return throttle.wait() or 1.0
