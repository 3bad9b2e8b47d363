"""What a change would do to the fleet, told before it is made.

Invariant: nothing is written and no lock taken. What the services would refuse is refused in the same words, by the
same checks; what happens to templates and variables follows the services step by step, in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import Q

from config_merge.inputs import Standing
from config_merge.models import Config, ConfigTemplate, GroupTemplate, Template
from config_merge.services import assignment, groups, templates
from config_merge.services.comparison import (
    Affected,
    DiffGroup,
    Failure,
    Preview,
    Progress,
    Proposal,
    Tally,
    compared,
)
from core.errors import MusterError
from devices import services as inventory
from devices.models import DeviceGroup, FleetSettings

__all__ = [
    "Affected",
    "DiffGroup",
    "Failure",
    "Preview",
    "TooMany",
    "group_preview",
    "organization_variables_preview",
    "template_preview",
]


class TooMany(MusterError):
    """More devices are concerned than the caller wants to wait for; a job can look at them all."""

    def __init__(self, count: int) -> None:
        super().__init__(f"The change concerns {count} devices.")
        self.count = count


def looked_at(
    concerned: Q, proposal: Proposal, *, limit: int | None, progress: Progress | None = None
) -> Preview:
    """Return what a proposal does to the configurations that are concerned. Raises TooMany above the limit."""
    ids = list(
        Config.objects.filter(concerned, device__is_deactivated=False)
        .order_by("device__name", "pk")
        .values_list("pk", flat=True)
    )
    if limit is not None and len(ids) > limit:
        raise TooMany(len(ids))
    tally = Tally()
    compared(ids, proposal, tally=tally, progress=progress)
    return tally.result()


def _with_templates(now: Standing, chosen: Sequence[Template]) -> Standing:
    return replace(now, templates=tuple(chosen))


# --- templates --------------------------------------------------------------------------------------------------------


def template_preview(
    template: Template | None,
    changes: Mapping[str, Any],
    *,
    delete: bool = False,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Return what an edit, a new template (None) or a deletion does to the devices that have it or would get it.

    `changes` are the keywords of the service. Raises ValidationError as the service would, TooMany.
    """
    if template is not None and delete:
        gone = template.pk
        return looked_at(
            _users(gone),
            lambda now: _with_templates(now, [each for each in now.templates if each.pk != gone]),
            limit=limit,
            progress=progress,
        )
    row, before = templates.proposed_template(template, changes)
    attaches = row.default and (
        before is None or any(getattr(row, name) != getattr(before, name) for name in templates.REACH)
    )
    joining = assignment.reached_by(row) if attaches else Q(pk__in=())

    def proposal(now: Standing) -> Standing:
        if any(each.pk == row.pk for each in now.templates):
            return _with_templates(now, [row if each.pk == row.pk else each for each in now.templates])
        # Who is concerned and does not have it, is about to get it.
        return _with_templates(now, [*now.templates, row])

    return looked_at(_users(row.pk) | joining, proposal, limit=limit, progress=progress)


def _users(template_id: UUID) -> Q:
    return Q(pk__in=ConfigTemplate.objects.filter(template_id=template_id).values("config_id"))


# --- groups -----------------------------------------------------------------------------------------------------------


def group_preview(
    group: DeviceGroup,
    changes: Mapping[str, Any],
    *,
    delete: bool = False,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Return what an edit or a deletion of a group does to its members. Raises ValidationError, TooMany."""
    rows = GroupTemplate.objects.filter(group=group).order_by("position", "pk")
    held = list(rows.values_list("template_id", flat=True))
    if delete:
        return looked_at(Q(device__group_id=group.pk), _leaving(held), limit=limit, progress=progress)
    row, wanted = groups.proposed_group(group, changes)
    order = None if wanted is None else assignment.unique([template.pk for template in wanted])
    by_id = {template.pk: template for template in wanted or ()}
    removed = _optional([pk for pk in held if order is not None and pk not in by_id])

    def proposal(now: Standing) -> Standing:
        if order is None or order == held:
            return replace(now, group=row)
        chosen = _regrouped(now, [by_id[pk] for pk in order], held=held, removed=removed)
        return replace(now, group=row, templates=tuple(chosen))

    return looked_at(Q(device__group_id=group.pk), proposal, limit=limit, progress=progress)


def _optional(template_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the templates that are not everyone's anyway (`assignment.group_changed`)."""
    return set(Template.objects.filter(pk__in=template_ids, default=False).values_list("pk", flat=True))


def _leaving(held: Sequence[UUID]) -> Proposal:
    removed = _optional(held)

    def proposal(now: Standing) -> Standing:
        kept = tuple(each for each in now.templates if each.pk not in removed)
        return replace(now, group=None, templates=kept)

    return proposal


def _regrouped(
    now: Standing, wanted: Sequence[Template], *, held: Sequence[UUID], removed: set[UUID]
) -> list[Template]:
    """Return a member's templates once its group has `wanted`: gone, appended, then in the group's order."""
    chosen = [each for each in now.templates if each.pk not in removed]
    present = {each.pk for each in chosen}
    chosen += [
        each
        for each in wanted
        if each.pk not in present and each.pk not in held and each.backend == now.config.backend
    ]
    rank = {template.pk: number for number, template in enumerate(wanted)}
    places = [place for place, each in enumerate(chosen) if each.pk in rank]
    ordered = sorted((chosen[place] for place in places), key=lambda each: rank[each.pk])
    for place, each in zip(places, ordered, strict=True):
        chosen[place] = each
    return chosen


# --- organizations ----------------------------------------------------------------------------------------------------


def organization_variables_preview(
    fleet_settings: FleetSettings,
    context: Mapping[str, Any],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Return what new variables of an organization do to its devices. Raises ValidationError, TooMany."""
    row = inventory.proposed_fleet_settings(fleet_settings, {"context": context})
    return looked_at(
        Q(device__organization_id=row.pk),
        lambda now: replace(now, organization=row.context),
        limit=limit,
        progress=progress,
    )
