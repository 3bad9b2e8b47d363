"""What a change would do to the fleet, told before it is made.

Invariant: nothing is written and no lock taken. What the services would refuse is refused in the same words, by the
same checks; what happens to templates and variables follows the services step by step, in memory.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import Q

from config_merge import inputs
from config_merge.inputs import Standing
from config_merge.models import (
    Backend,
    Config,
    ConfigTemplate,
    GroupTemplate,
    Managed,
    SiteDevice,
    Template,
)
from config_merge.services import assignment, configs, groups, templates
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
from devices.models import Device, DeviceGroup, FleetSettings

__all__ = [
    "Affected",
    "DiffGroup",
    "Failure",
    "Preview",
    "TooMany",
    "device_preview",
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


# --- one device -------------------------------------------------------------------------------------------------------


def device_preview(
    device: Device,
    changes: Mapping[str, Any],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Return what a change of a device does to it; `config` in `changes` holds the keywords of `config_update`.

    Raises as `managed_device_update` does, but a merged configuration that is invalid is a failure of the preview.
    """
    fields = dict(changes)
    wanted = dict(fields.pop("config", None) or {})
    row, before = inventory.proposed_device(device, fields)
    config = Config.objects.filter(device_id=row.pk).first()
    tally = Tally()
    if config is None:
        with configs.config_errors():
            then = _created(row, wanted, joined="group" in fields)
        if then is not None:
            tally.add(None, then)
        else:
            tally.unchanged += 1
    else:
        (now,) = inputs.standings([config])
        with configs.config_errors():
            then = _updated(now, row, before, wanted)
        tally.add(now, then)
    if progress is not None:
        progress(1)
    return tally.result()


def _created(device: Device, wanted: Mapping[str, Any], *, joined: bool) -> Standing | None:
    """Return the configuration the change would give a device that has none (`configs.config_create`)."""
    backend = wanted.get("backend", Backend.OPENWRT)
    useful = backend != Backend.OPENWRT or any(wanted.get(key) for key in ("templates", "context", "config"))
    if not (wanted or joined):
        return None
    if not useful and not assignment.group_template_ids(device.group_id, backend=backend):
        return None
    config = Config(
        device=device,
        backend=backend,
        context=wanted.get("context") or {},
        config=wanted.get("config") or {},
    )
    config.full_clean(exclude=["device"])
    chosen = list(wanted.get("templates") or ())
    configs.check_templates(device, chosen)
    ids = assignment.starting_ids(device, backend=backend, chosen=[template.pk for template in chosen])
    place = SiteDevice.objects.select_related("site").filter(device_id=device.pk).first()
    return standing_of(config, device, ids, place=place)


def _updated(now: Standing, device: Device, before: Device, wanted: Mapping[str, Any]) -> Standing:
    """Return the configuration after `configs.managed_device_update`."""
    config = copy.copy(now.config)
    config.device = device
    ids, place = [template.pk for template in now.templates], now.place
    if device.organization_id != before.organization_id:
        # Its site stays behind.
        place, config.managed_by = None, Managed.TEMPLATES
        joined = assignment.group_template_ids(device.group_id, backend=config.backend)
        ids = assignment.with_required(device, backend=config.backend, template_ids=joined)
    elif device.group_id != before.group_id:
        ids = _swapped(config, ids, old_group=before.group_id, device=device)
        ids = assignment.with_required(device, backend=config.backend, template_ids=ids)
    if wanted:
        ids = _configured(config, device, ids, wanted)
    return standing_of(config, device, ids, place=place)


def _swapped(config: Config, ids: Sequence[UUID], *, old_group: UUID | None, device: Device) -> list[UUID]:
    return assignment.swap_group(
        ids,
        old=assignment.group_template_ids(old_group, backend=config.backend),
        new=assignment.group_template_ids(device.group_id, backend=config.backend),
    )


def _configured(config: Config, device: Device, ids: Sequence[UUID], wanted: Mapping[str, Any]) -> list[UUID]:
    """Put the changes into `config`; returns its templates (`configs.config_update`)."""
    old_backend = config.backend
    chosen: Sequence[Template] | None = wanted.get("templates")
    for name, value in wanted.items():
        if name != "templates":
            setattr(config, name, value)
    config.full_clean(exclude=["device"])
    if config.backend != old_backend:
        ids = assignment.swap_group(
            ids,
            old=assignment.group_template_ids(device.group_id, backend=old_backend),
            new=assignment.group_template_ids(device.group_id, backend=config.backend),
        )
    if chosen is not None:
        configs.check_templates(device, chosen)
        ids = [template.pk for template in chosen]
    return assignment.with_required(device, backend=config.backend, template_ids=ids)


def standing_of(
    config: Config, device: Device, template_ids: Sequence[UUID], *, place: SiteDevice | None
) -> Standing:
    """Return the rows a configuration with these templates would be made of."""
    found = Template.objects.in_bulk(list(template_ids))
    fleet = FleetSettings.objects.filter(pk=device.organization_id).first()
    return Standing(
        config=config,
        device=device,
        templates=tuple(found[pk] for pk in template_ids if pk in found),
        organization=fleet.context if fleet else {},
        group=device.group,
        place=place,
    )
