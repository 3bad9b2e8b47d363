"""What a change of devices would do to them, told before it is made: to one with its diff, to many in as many queries.

Invariant: as in `preview`, nothing is written and no lock taken; what happens to templates and variables follows
`services.configs` step by step, in memory, for one device by the same lines as for many.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError

from config_merge import inputs
from config_merge.inputs import Standing
from config_merge.models import Backend, Config, Managed, SiteDevice, Template
from config_merge.services import assignment, configs
from config_merge.services.comparison import Preview, Tally
from config_merge.services.foretelling import Foreteller, Foretold
from config_merge.services.given import Given
from config_merge.services.many import Wanted
from devices import many as many_devices
from devices import services as inventory
from devices.models import Device, DeviceGroup, FleetSettings


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration as it would be, with the ids of its templates in merge order."""

    config: Config
    device: Device
    ids: Sequence[UUID]
    place: SiteDevice | None


def drawn(drafts: Sequence[Draft]) -> list[Standing]:
    """Return the rows that drafts would be made of (three queries at most)."""
    templates = Template.objects.in_bulk({pk for draft in drafts for pk in draft.ids})
    groups = DeviceGroup.objects.in_bulk({draft.device.group_id for draft in drafts} - {None})
    fleets = FleetSettings.objects.select_related("organization").in_bulk(
        {draft.device.organization_id for draft in drafts}
    )
    for draft in drafts:
        if draft.device.organization_id in fleets:
            draft.device.organization = fleets[draft.device.organization_id].organization
    return [
        Standing(
            config=draft.config,
            device=draft.device,
            templates=tuple(templates[pk] for pk in draft.ids if pk in templates),
            organization=fleet.context if (fleet := fleets.get(draft.device.organization_id)) else {},
            group=groups.get(draft.device.group_id) if draft.device.group_id else None,
            place=draft.place,
        )
        for draft in drafts
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A device as it would be and as it is stored; `wanted` are keywords of `config_update`.

    `names_group` says that its group is among what is changed, be it the same.
    """

    device: Device
    before: Device
    wanted: Mapping[str, Any] = field(repr=False)
    names_group: bool


def device_preview(device: Device, changes: Mapping[str, Any]) -> Preview:
    """Return what a change of a device does to it; `config` in `changes` holds the keywords of `config_update`.

    Raises as `managed_device_update` does, but a merged configuration that is invalid is a failure of the preview.
    """
    fields = dict(changes)
    wanted = dict(fields.pop("config", None) or {})
    row, before = inventory.proposed_device(device, fields)
    tally = Tally()
    with configs.config_errors():
        ((now, draft),) = _drafts([_Asked(row, before, wanted, "group" in fields)])
        if draft is not None and (wanted or now is None):
            draft.config.full_clean(exclude=["device"])
            configs.check_templates(draft.device, wanted.get("templates") or ())
    if draft is None:
        tally.unchanged += 1
    else:
        (then,) = drawn([draft])
        tally.add(now, then)
    return tally.result()


def devices_foretold(wanted: Sequence[Wanted]) -> dict[UUID, Foretold]:
    """Return what changes of devices would do to each; devices with which not all is plainly in order are left out."""
    by_id = {item.device_id: item for item in wanted if item.device_id is not None}
    rows = many_devices.devices_proposed([(pk, item.fields) for pk, item in by_id.items()])
    asked = [
        _Asked(row, before, by_id[pk].config, "group" in by_id[pk].fields)
        for pk, (row, before) in rows.items()
    ]
    pairs = _drafts(asked)
    clean = [
        (now, draft)
        for one, (now, draft) in zip(asked, pairs, strict=True)
        if draft is not None and _is_clean(draft, one.wanted)
    ]
    found = {one.device.pk: Foretold() for one, (_, draft) in zip(asked, pairs, strict=True) if draft is None}
    teller = Foreteller(draft.device.organization_id for _, draft in clean)
    for (now, draft), then in zip(clean, drawn([draft for _, draft in clean]), strict=True):
        found[draft.device.pk] = teller.foretold(now, then)
    return found


def _is_clean(draft: Draft, wanted: Mapping[str, Any]) -> bool:
    """Tell whether the configuration is well, as far as that is seen without asking the database."""
    try:
        configs.check_templates(draft.device, wanted.get("templates") or ())
        draft.config.clean_fields(exclude=["device", "revision", "stale_actor"])
        draft.config.clean()
    except ValidationError:
        return False
    return True


def _drafts(asked: Sequence[_Asked]) -> list[tuple[Standing | None, Draft | None]]:
    """Return each device's configuration as it is and as it would be; None where it has none, and would get none."""
    rows = Config.objects.filter(device_id__in=[one.device.pk for one in asked])
    now = {standing.config.device_id: standing for standing in inputs.standings(rows)}
    given = Given(
        organization_ids={one.device.organization_id for one in asked},
        group_ids={one.before.group_id for one in asked} | {one.device.group_id for one in asked},
    )
    without = [one.device.pk for one in asked if one.device.pk not in now]
    places = places_by_device(without)
    return [
        (held, _updated(held, one, given))
        if (held := now.get(one.device.pk)) is not None
        else (None, _created(one, given, place=places.get(one.device.pk)))
        for one in asked
    ]


def places_by_device(device_ids: Iterable[UUID]) -> dict[UUID, SiteDevice]:
    """Return the places of devices, each with its site (one query, none without devices)."""
    rows = SiteDevice.objects.select_related("site").filter(device_id__in=list(device_ids))
    return {place.device_id: place for place in rows}


def _created(asked: _Asked, given: Given, *, place: SiteDevice | None) -> Draft | None:
    """Return the configuration the change would give a device that has none (`configs.config_create`)."""
    device, wanted = asked.device, asked.wanted
    if not (wanted or asked.names_group):
        return None
    config = Config(
        device=device,
        backend=wanted.get("backend", Backend.OPENWRT),
        context=wanted.get("context") or {},
        config=wanted.get("config") or {},
    )
    if not configs.is_useful(wanted) and not given.of_group(device.group_id, config.backend):
        return None
    chosen = [template.pk for template in wanted.get("templates") or ()]
    ids = given.starting(device, backend=config.backend, chosen=chosen)
    return Draft(
        config, device, ids, place if device.organization_id == asked.before.organization_id else None
    )


def _updated(now: Standing, asked: _Asked, given: Given) -> Draft:
    """Return the configuration after `configs.managed_device_update`."""
    device, before, wanted = asked.device, asked.before, asked.wanted
    config, place = copy.copy(now.config), now.place
    config.device = device
    ids: Sequence[UUID] = [template.pk for template in now.templates]
    if device.organization_id != before.organization_id:
        # Its site stays behind.
        place, config.managed_by = None, Managed.TEMPLATES
        joined = given.of_group(device.group_id, config.backend)
        ids = given.with_required(device, backend=config.backend, ids=joined)
    elif device.group_id != before.group_id:
        old, new = (given.of_group(pk, config.backend) for pk in (before.group_id, device.group_id))
        ids = assignment.swap_group(ids, old=old, new=new)
        ids = given.with_required(device, backend=config.backend, ids=ids)
    if wanted:
        ids = _configured(config, device, ids, wanted, given)
    return Draft(config, device, ids, place)


def _configured(
    config: Config, device: Device, ids: Sequence[UUID], wanted: Mapping[str, Any], given: Given
) -> list[UUID]:
    """Put the changes into `config`; returns its templates (`configs.config_update`)."""
    old_backend = config.backend
    chosen: Sequence[Template] | None = wanted.get("templates")
    for name, value in wanted.items():
        if name != "templates":
            setattr(config, name, value)
    if config.backend != old_backend:
        old, new = (given.of_group(device.group_id, backend) for backend in (old_backend, config.backend))
        ids = assignment.swap_group(ids, old=old, new=new)
    if chosen is not None:
        ids = [template.pk for template in chosen]
    return given.with_required(device, backend=config.backend, ids=ids)
