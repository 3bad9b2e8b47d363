"""Marking configurations stale: one UPDATE, whatever the size of the fleet, and a ring at the worker's door.

Deactivated devices keep the empty configuration they were given, so they are never marked here.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import F, Q

from config_merge import tasks
from config_merge.models import Cause, Config
from core.db import in_turn
from core.wake import wake
from devices.events import DevicesChanged, GroupVariablesChanged, OrganizationVariablesChanged

FLEET = "config_merge.fleet"
RENDERED_DEVICE_FIELDS = frozenset(
    {"name", "mac_address", "key", "os", "hardware_id", "organization", "group"}
)


def mark(condition: Q, *, cause: str, actor_id: UUID | None = None, background: bool = True) -> int:
    """Mark the configurations that meet `condition` stale; returns how many.

    With `background` a worker is asked to compute them after the commit; without, the caller does it itself.
    """
    if background:
        in_turn(FLEET)
    marked = Config.objects.filter(condition, device__is_deactivated=False).update(
        generation=F("generation") + 1, stale_cause=cause, stale_actor_id=actor_id
    )
    if marked and background:
        wake(tasks.recompute_stale)
    return marked


def reading_templates() -> None:
    """Wait for fleet-wide edits under way, and make later ones wait for this transaction.

    A single device's write that reads templates begins with this. Otherwise an edit that is not committed yet could
    mark the configurations it sees, this one read the old templates, and nobody ever bring the two together.
    """
    in_turn(FLEET, shared=True)


def mark_template_users(template_ids: Iterable[UUID], *, actor_id: UUID | None = None) -> int:
    """Mark every configuration that uses one of the templates."""
    return mark(
        Q(
            pk__in=Config.templates.through.objects.filter(template_id__in=list(template_ids)).values(
                "config_id"
            )
        ),
        cause=Cause.TEMPLATE,
        actor_id=actor_id,
    )


def on_group_variables(event: GroupVariablesChanged) -> None:
    """Mark the members of a group (subscriber)."""
    mark(Q(device__group_id=event.group_id), cause=Cause.GROUP)


def on_organization_variables(event: OrganizationVariablesChanged) -> None:
    """Mark all devices of an organization (subscriber)."""
    mark(Q(device__organization_id=event.organization_id), cause=Cause.ORGANIZATION)


def on_devices_changed(event: DevicesChanged) -> None:
    """Mark devices whose rendered fields changed (subscriber)."""
    rendered = [pk for pk, fields in event.fields.items() if fields & RENDERED_DEVICE_FIELDS]
    if rendered:
        # In the devices' own transaction: its writer computes them, or the next sweep or poll does.
        mark(Q(device_id__in=rendered), cause=Cause.DEVICE, background=False)
