"""The first page of the admin: how one's fleet is doing, in a fixed number of queries."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q
from django.http import HttpRequest
from django.urls import reverse

from config_merge.admin.badges import STATUS_TONES, online_since
from config_merge.models import ConfigRevision, Status
from config_merge.queries import configs_visible_to
from devices.models import FleetSettings
from devices.queries import devices_visible_to
from tenancy.queries import (
    notifications_visible_to,
    organization_ids_where,
    organizations_visible_to,
    restrict,
)

RECENT = 6
AGENT = "muster_agent"
AGENT_IDENTITY = "--root ./device --name first --mac 02:00:00:00:00:01"


@dataclass(frozen=True, slots=True)
class Slice:
    """One arc of the ring: `length` and `offset` in hundredths of the circle, as SVG dashes want them."""

    label: str
    tone: str
    count: int
    length: str
    offset: str
    link: str


def ring(counts: dict[str, int], link: str) -> list[Slice]:
    """Return the arcs of the statuses that occur, in the order of the state machine."""
    total = sum(counts.values())
    slices, before = [], 0.0
    for value, label in Status.choices:
        count = counts.get(value, 0)
        if count:
            part = 100 * count / total
            arc = (f"{part:.3f} {100 - part:.3f}", f"{25 - before:.3f}")
            slices.append(
                Slice(str(label), STATUS_TONES[value], count, arc[0], arc[1], f"{link}?status={value}")
            )
            before += part
    return slices


def starting(request: HttpRequest) -> dict[str, Any]:
    """Return how to register the first device; the secret only for who may see it."""
    user: Any = request.user
    organization = organizations_visible_to(user).filter(is_active=True).order_by("created").first()
    if organization is None:
        return {}
    allowed = user.is_superuser or organization.pk in organization_ids_where(user, "view", FleetSettings)
    fleet = FleetSettings.objects.filter(pk=organization.pk).first() if allowed else None
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
    """Add the figures to the context of the index."""
    user: Any = request.user
    devices = devices_visible_to(user).aggregate(
        total=Count("pk"),
        active=Count("pk", filter=Q(is_deactivated=False)),
        online=Count("pk", filter=Q(last_seen__gte=online_since(), is_deactivated=False)),
    )
    configs = configs_visible_to(user).order_by()
    counts = {row["status"]: row["total"] for row in configs.values("status").annotate(total=Count("pk"))}
    work = configs.aggregate(
        stale=Count("pk", filter=Q(generation__gt=F("computed_generation"))),
        problems=Count("pk", filter=~Q(problem="")),
    )
    notifications = list(notifications_visible_to(user).order_by("-created", "id")[:RECENT])
    return {
        **context,
        "title": "Dashboard",
        "devices": devices,
        "configured": sum(counts.values()),
        "slices": ring(counts, reverse("admin:devices_device_changelist")),
        "work": work,
        "errors_total": counts.get(Status.ERROR.value, 0),
        "recent_notifications": notifications,
        "recent_revisions": recent_revisions(user),
        "starting": starting(request) if not devices["total"] else {},
    }
