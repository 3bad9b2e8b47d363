"""Device groups with their templates: the inventory's group, and what its members should be."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from config_merge.models import Cause, GroupTemplate, Template
from config_merge.services import assignment, stale
from devices import services as inventory
from devices.models import DeviceGroup
from tenancy import audit


def _check_templates(group: DeviceGroup, templates: Sequence[Template]) -> None:
    if any(t.organization_id not in (None, group.organization_id) for t in templates):
        raise ValidationError({"templates": "A template belongs to another organization than the group."})
    if any(t.default or t.required for t in templates):
        raise ValidationError({"templates": "Default and required templates are assigned anyway."})


def _write(group: DeviceGroup, templates: Sequence[Template], *, actor_id: UUID | None) -> None:
    """Make `templates` the group's, in this order, and bring its members in line."""
    _check_templates(group, templates)
    before = list(GroupTemplate.objects.filter(group=group).values_list("template_id", flat=True))
    wanted = assignment.unique([template.pk for template in templates])
    if before == wanted:
        return
    GroupTemplate.objects.filter(group=group).delete()
    GroupTemplate.objects.bulk_create(
        [GroupTemplate(group=group, template_id=pk, position=position) for position, pk in enumerate(wanted)]
    )
    by_id = {template.pk: template for template in templates}
    assignment.group_changed(
        group.pk,
        removed=[pk for pk in before if pk not in by_id],
        added=[by_id[pk] for pk in wanted if pk not in before],
        actor_id=actor_id,
    )
    assignment.reorder_members(group.pk, wanted)
    audit.record(
        "group.templates_changed",
        group,
        organization_id=group.organization_id,
        changes={"templates": (before, wanted)},
    )


@transaction.atomic
def managed_group_create(
    *, templates: Sequence[Template] = (), actor_id: UUID | None = None, **fields: Any
) -> DeviceGroup:
    """Create a group with its templates. Raises ValidationError."""
    group = inventory.group_create(**fields)
    _write(group, templates, actor_id=actor_id)
    return group


@transaction.atomic
def managed_group_update(
    group: DeviceGroup,
    *,
    templates: Sequence[Template] | None = None,
    actor_id: UUID | None = None,
    **changes: Any,
) -> DeviceGroup:
    """Change a group; without `templates` they stay as they are. Raises ValidationError."""
    inventory.group_update(group, **changes)
    if templates is not None:
        _write(group, templates, actor_id=actor_id)
    elif "organization" in changes:
        kept = Template.objects.filter(group_templates__group=group).order_by("group_templates__position")
        _check_templates(group, list(kept))
    return group


@transaction.atomic
def managed_group_delete(group: DeviceGroup, *, actor_id: UUID | None = None) -> None:
    """Delete a group; its members lose its templates and variables."""
    removed = list(GroupTemplate.objects.filter(group=group).values_list("template_id", flat=True))
    assignment.group_changed(group.pk, removed=removed, added=(), actor_id=actor_id)
    stale.mark(Q(device__group_id=group.pk), cause=Cause.GROUP, actor_id=actor_id)
    gone = copy.copy(group)
    group.delete()
    audit.record("group.deleted", gone, organization_id=gone.organization_id)


def proposed_group(
    group: DeviceGroup | None, changes: Mapping[str, Any]
) -> tuple[DeviceGroup, list[Template] | None]:
    """Return the row an update (or, for None, a creation) would store and, when they would change, its templates.

    Writes and locks nothing. Raises ValidationError as the service would.
    """
    fields = dict(changes)
    templates: Sequence[Template] | None = fields.pop("templates", None)
    row = inventory.proposed_group(group, fields)
    if templates is not None:
        _check_templates(row, templates)
    elif group is not None and "organization" in fields:
        kept = Template.objects.filter(group_templates__group=group).order_by("group_templates__position")
        _check_templates(row, list(kept))
    return row, None if templates is None else list(templates)
