"""The first page of the admin: how one's fleet is doing, in a fixed number of queries."""

from typing import Any

from django.http import HttpRequest

from config_merge.live import LIVE_PATH, current_parts, organizations_looked_at_by
from config_merge.models import ConfigRevision
from devices.models import FleetSettings
from devices.queries import devices_visible_to
from tenancy.disclosure import disclosure_of
from tenancy.queries import (
    notifications_visible_to,
    organization_ids_where,
    organizations_visible_to,
    restrict,
)

RECENT = 6
AGENT = "muster_agent"
AGENT_IDENTITY = "--root ./device --name first --mac 02:00:00:00:00:01"


def starting(request: HttpRequest) -> dict[str, Any]:
    """Return how to register the first device; the secret only for who may reveal it, which is written down."""
    user: Any = request.user
    organization = organizations_visible_to(user).filter(is_active=True).order_by("created").first()
    if organization is None:
        return {}
    disclosure = disclosure_of(request)
    allowed = user.is_superuser or organization.pk in organization_ids_where(user, "view", FleetSettings)
    allowed = allowed and disclosure.may(organization.pk)
    fleet = FleetSettings.objects.filter(pk=organization.pk).first() if allowed else None
    if fleet is not None:
        disclosure.note(fleet, organization_id=organization.pk)
        disclosure.write()
    url = request.build_absolute_uri("/").rstrip("/")
    secret = fleet.shared_secret if fleet else "SHARED-SECRET"
    return {
        "organization": organization,
        "secret_is_hidden": fleet is None,
        "command": f"mkdir -p device && python -m {AGENT} --url {url} --secret {secret} {AGENT_IDENTITY}",
    }


def recent_revisions(user: Any) -> list[ConfigRevision]:
    """Return the newest revisions one may see, without their archives."""
    rows = ConfigRevision.objects.select_related("config__device", "actor").only(
        "number", "created", "cause", "checksum", "config__device__name", "actor__username"
    )
    return list(restrict(rows, user, path="config__device__organization").order_by("-created", "id")[:RECENT])


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the index; the page then keeps them current by itself."""
    user: Any = request.user
    notifications = list(notifications_visible_to(user).order_by("-created", "id")[:RECENT])
    return {
        **context,
        "title": "Dashboard",
        "parts": current_parts(organizations_looked_at_by(user), fresh=True),
        "live_path": LIVE_PATH,
        "recent_notifications": notifications,
        "recent_revisions": recent_revisions(user),
        "starting": starting(request) if not devices_visible_to(user).exists() else {},
    }
