"""A boot's floor: what a straightforward implementation of `GET /boot/{id}/config` in DRF would be made of.

The product's tables, settings and server; a view that proves the key, counts the quota, appends to the track and loads
the configuration by the ORM, one after the other, in one transaction.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
application = get_asgi_application()

# These need the apps that the line above has loaded.
from django.conf import settings  # noqa: E402
from django.db import transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.exceptions import NotFound, PermissionDenied, Throttled  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from boot.models import DEFAULT, BootConfig, Quota  # noqa: E402
from core.models import Counter  # noqa: E402
from tenancy.api_keys import api_key_of  # noqa: E402
from tracking.models import ENTRIES, TrackedDevice  # noqa: E402


class BootView(APIView):
    """The configuration of a device."""

    authentication_classes: Any = ()
    permission_classes: Any = ()

    @transaction.atomic
    def get(self, request: Request, device: str) -> Response:
        """Count, track, answer."""
        key = api_key_of(request.headers.get("X-Api-Key", ""))
        if key is None:
            raise PermissionDenied
        at = datetime.now(UTC)
        own = Quota.objects.filter(organization=key.organization, operation="boot_get").first()
        allowed = own.amount if own is not None else 60
        name = f"view/{key.key_id}/boot_get/{at:%Y%m%dT%H}"
        Counter.objects.get_or_create(
            name=name, defaults={"used": 0, "allowed": allowed, "expires_at": at + timedelta(hours=1)}
        )
        if not Counter.objects.filter(name=name, used__lt=allowed).update(used=F("used") + 1):
            raise Throttled
        stamp = int(at.timestamp() * 1e6)
        row, made = TrackedDevice.objects.select_for_update().get_or_create(
            api_key=key,
            device=device,
            defaults={"organization": key.organization, "last_at": at, "t9": stamp, "e9": "BOOT GET"},
        )
        if not made:
            for slot in range(ENTRIES - 1):
                setattr(row, f"t{slot}", getattr(row, f"t{slot + 1}"))
                setattr(row, f"e{slot}", getattr(row, f"e{slot + 1}"))
            row.t9, row.e9, row.last_at, row.seq = stamp, "BOOT GET", at, row.seq + 1
            row.save()
        configs = BootConfig.objects.filter(api_key=key)
        config = configs.filter(device=device).first() or configs.filter(device=DEFAULT).first()
        if config is None:
            raise NotFound
        return Response(config.document)


urlpatterns = [path("boot/<str:device>/config", BootView.as_view())]
settings.ROOT_URLCONF = __name__
