"""Who a rate limit counts: the client's address as far as it can be trusted."""

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle

from core.net import client_address


class AddressThrottle(ScopedRateThrottle):
    """Counts by address; X-Forwarded-For is believed from our own proxies only."""

    def get_ident(self, request: Request) -> str:
        """Return the client's address."""
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        return (
            client_address(request.META.get("REMOTE_ADDR"), forwarded, settings.MUSTER.trusted_proxies) or ""
        )

    def get_cache_key(self, request: Request, view: Any) -> str:
        """Return the counter's key."""
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}
