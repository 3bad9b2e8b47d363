"""Locks after failures: too many wrong tries for one account from one address, and that pair waits.

django-axes counts, in the database, so that all processes count together; nothing of Axes hangs in the authentication
machinery (`AXES_ENABLED` is off): `tenancy.sign_in.door` asks its handler, for the admin and for REST alike.
What is counted is the account, whether its username or its e-mail address was typed; a name nobody has is counted as
what people take for the same name (`key_of`).
Invariant: Axes never sees the person's request, and instead of the name it gets a keyed digest: people type passwords
into the name's field, and a column must not tell. A pair is locked, never an account: nobody locks another out of
their own address.
"""

import hashlib
import hmac
import math
import unicodedata
from datetime import timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max, Sum
from django.http import HttpRequest

from core.clock import now
from core.net import client_address
from tenancy.models import User

NOWHERE = "0.0.0.0"  # noqa: S104 - what stands for a peer without an address, such as a Unix socket
_handler = AxesDatabaseHandler()


def address_of(request: Any) -> str:
    """Return the client's address; X-Forwarded-For is believed from our own proxies only."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    proxies = settings.MUSTER.trusted_proxies
    return client_address(request.META.get("REMOTE_ADDR"), forwarded, proxies) or NOWHERE


def remote_address(request: HttpRequest) -> str:
    """Tell Axes the address of a `_knock` (its AXES_CLIENT_IP_CALLABLE)."""
    return str(request.META["REMOTE_ADDR"])


def key_of(account: User | None, login: str = "") -> str:
    """Return under what failures of an account are counted, or those of a name that is nobody's; it tells nothing."""
    plain = unicodedata.normalize("NFKC", login).casefold().strip().encode("utf-8", "surrogatepass")
    counted = b"account:" + account.pk.bytes if account is not None else b"sign-in:" + plain
    return hmac.new(settings.SECRET_KEY.encode(), counted, hashlib.sha256).hexdigest()


def _knock(address: str) -> Any:
    """Return a request that says nothing but where it comes from."""
    request = HttpRequest()
    request.method = "POST"
    request.META = {"REMOTE_ADDR": address}
    AxesProxyHandler.update_request(request)
    return request


def wait_of(key: str, address: str) -> int:
    """Return how many seconds a key must wait at this address; 0 when it may try. One query, two when locked."""
    if _handler.is_allowed(_knock(address), {"username": key}):
        return 0
    last = AccessAttempt.objects.filter(username=key, ip_address=address).aggregate(at=Max("attempt_time"))[
        "at"
    ]
    left = last + settings.AXES_COOLOFF_TIME - now() if last else timedelta()
    return max(1, math.ceil(left.total_seconds()))


def failure_count(key: str, address: str) -> int:
    """Count one more failure; returns how many there are since the last success or the last lock."""
    request = _knock(address)
    _handler.user_login_failed("muster", {"username": key}, request)
    return int(request.axes_failures_since_start or 0)


def failures_forget(key: str, address: str) -> None:
    """Begin anew after a success."""
    _handler.reset_user_attempts(_knock(address), {"username": key})


def locked_addresses(user: User) -> list[str]:
    """Return the addresses from which a person is locked now."""
    rows = (
        AccessAttempt.objects.filter(
            username=key_of(user), attempt_time__gte=now() - settings.AXES_COOLOFF_TIME
        )
        .values("username", "ip_address")
        .annotate(failures=Sum("failures_since_start"))
        .filter(failures__gte=settings.AXES_FAILURE_LIMIT)
    )
    return sorted({row["ip_address"] for row in rows})


def unlock(user: User) -> int:
    """Forget a person's failures, from anywhere; returns how many rows went."""
    deleted, _ = AccessAttempt.objects.filter(username=key_of(user)).delete()
    return deleted
