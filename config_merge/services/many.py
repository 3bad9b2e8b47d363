"""Many devices and their configurations, written in a fixed number of statements.

Invariant: what is written is what `services.configs` would have written one device after the other, audit trail
included; whatever is not plainly in order is left for it, untouched.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, transaction
from django.db.models import Q

from config_merge import inputs
from config_merge.engine import EngineError
from config_merge.models import Backend, Cause, Config, SiteDevice
from config_merge.services import assignment, recompute, stale
from config_merge.services.configs import check_templates, is_useful
from config_merge.services.given import Given
from core.clock import now
from core.db import bulk_insert_objects, bulk_set, locked
from devices import many as inventory
from devices.models import Device
from tenancy import audit
from tenancy.models import AuditEvent

BATCH = inventory.BATCH
_EDITABLE = ("backend", "context", "config")


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """One device to create, or with `device_id` to change: keywords of `managed_device_create` and `…_update`."""

    fields: Mapping[str, Any]
    config: Mapping[str, Any] = field(repr=False)
    device_id: UUID | None = None


@dataclass(slots=True)
class _Edit:
    """A configuration to be written: as it is stored (None: new) and as it shall be, with its templates.

    `held` are the templates it has, `followed` those it has once it has followed its device into another group, `ids`
    those it shall have.
    """

    wanted: Wanted
    device: Device
    row: Config
    stored: Config | None
    held: Sequence[UUID]
    followed: Sequence[UUID]
    ids: Sequence[UUID]
    has_joined: bool = False

    @property
    def edited(self) -> list[str]:
        """The names of what differs of the configuration itself."""
        return [name for name in _EDITABLE if getattr(self.row, name) != getattr(self.stored, name, None)]

    @property
    def is_to_check(self) -> bool:
        """Whether the device could be given something other than before, beside what everybody is given."""
        if self.stored is None:
            return bool(self.row.config or self.wanted.config.get("templates"))
        renamed = stale.RENDERED_DEVICE_FIELDS & self.wanted.fields.keys()
        return bool(renamed or self.edited or list(self.ids) != list(self.followed))


class _Refused(Exception):
    """Undoes a batch some of whose rows turned out not to be in order."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        super().__init__()
        self.wanted = list(wanted)


def managed_devices_write(
    wanted: Sequence[Wanted], *, actor_id: UUID | None = None, compute: bool = False
) -> list[Wanted]:
    """Write what is plainly in order; returns what was left, for the services of one device to do or to refuse.

    Call it inside a transaction. What is written is stale then and the background's to compute, unless `compute`.
    """
    stale.reading_templates()
    left: list[Wanted] = []
    for start in range(0, len(wanted), BATCH):
        left += _write_batch(list(wanted[start : start + BATCH]), actor_id=actor_id, compute=compute)
    return left


def _write_batch(batch: list[Wanted], *, actor_id: UUID | None, compute: bool) -> list[Wanted]:
    left: list[Wanted] = []
    while batch:
        try:
            with transaction.atomic():
                return left + _write(batch, actor_id=actor_id, compute=compute)
        except _Refused as refusal:
            refused = set(refusal.wanted)
            left += refusal.wanted
            batch = [item for item in batch if item not in refused]
        except (IntegrityError, DataError):
            return left + batch
    return left


def _write(batch: Sequence[Wanted], *, actor_id: UUID | None, compute: bool) -> list[Wanted]:
    new = [item for item in batch if item.device_id is None]
    old = {item.device_id: item for item in batch if item.device_id is not None}
    groups = dict(locked(Device.objects.filter(pk__in=old).order_by("pk")).values_list("pk", "group_id"))
    created = inventory.devices_create([item.fields for item in new])
    changed = inventory.devices_update([(pk, item.fields) for pk, item in old.items()])
    devices = [device for device in (*created, *changed) if device is not None]
    given = Given(
        organization_ids={device.organization_id for device in devices},
        group_ids={*groups.values(), *(device.group_id for device in devices)},
    )
    edits: list[_Edit] = []
    written: set[Wanted] = set()
    for item, device in zip(new, created, strict=True):
        if device is not None:
            written.add(item)
            edits += _creation(item, device, given)
    kept = [(item, device) for item, device in zip(old.values(), changed, strict=True) if device is not None]
    written |= {item for item, _ in kept}
    edits += _changes(kept, groups, given)
    _refuse([edit.wanted for edit in edits if not _is_clean(edit)])
    _store(edits, actor_id=actor_id)
    _mark_and_record(edits, actor_id=actor_id)
    if compute:
        _compute(edits)
    else:
        _refuse(_ineffective(edits))
    return [item for item in batch if item not in written]


def _refuse(wanted: list[Wanted]) -> None:
    if wanted:
        raise _Refused(wanted)


def _creation(item: Wanted, device: Device, given: Given, *, hold: str = "") -> list[_Edit]:
    """Return the configuration to create for a device, or nothing when it would say nothing."""
    config = item.config
    backend = config.get("backend", Backend.OPENWRT)
    if not is_useful(config) and not given.of_group(device.group_id, backend):
        return []
    chosen = [template.pk for template in config.get("templates", ())]
    row = Config(
        device=device,
        backend=backend,
        context=config.get("context") or {},
        config=config.get("config") or {},
        hold=hold,
    )
    ids = given.starting(device, backend=backend, chosen=chosen)
    return [_Edit(item, device, row, None, held=[], followed=[], ids=ids)]


def _changes(
    kept: Sequence[tuple[Wanted, Device]], groups: Mapping[UUID, UUID | None], given: Given
) -> list[_Edit]:
    """Return what is to be written of the configurations of devices that have been changed."""
    ids = [device.pk for _, device in kept]
    stored = {row.device_id: row for row in locked(Config.objects.filter(device_id__in=ids).order_by("pk"))}
    holds = {
        place.device_id: place.hold
        for place in SiteDevice.objects.filter(device_id__in=set(ids) - stored.keys()).defer("settings")
    }
    assigned = assignment.held_by(row.pk for row in stored.values())
    edits: list[_Edit] = []
    for item, device in kept:
        has_joined = groups[device.pk] != device.group_id
        before = stored.get(device.pk)
        if before is not None:
            held = assigned.get(before.pk, [])
            edits.append(_change(item, device, before, held, groups[device.pk], given))
        elif item.config or has_joined:
            edits += _creation(item, device, given, hold=holds.get(device.pk, ""))
    return edits


def _change(
    item: Wanted,
    device: Device,
    before: Config,
    held: list[UUID],
    old_group: UUID | None,
    given: Given,
) -> _Edit:
    row = copy.copy(before)
    row.device = device
    for name in _EDITABLE:
        if name in item.config:
            setattr(row, name, item.config[name])
    has_joined = old_group != device.group_id
    followed = held
    if has_joined:
        old, new = (given.of_group(pk, before.backend) for pk in (old_group, device.group_id))
        followed = assignment.swap_group(held, old=old, new=new)
        followed = given.with_required(device, backend=before.backend, ids=followed)
    ids = followed
    if item.config:
        if row.backend != before.backend:
            old, new = (given.of_group(device.group_id, name) for name in (before.backend, row.backend))
            ids = assignment.swap_group(ids, old=old, new=new)
        if "templates" in item.config:
            ids = [template.pk for template in item.config["templates"]]
        ids = given.with_required(device, backend=row.backend, ids=ids)
    return _Edit(item, device, row, before, held=held, followed=followed, ids=ids, has_joined=has_joined)


def _is_clean(edit: _Edit) -> bool:
    try:
        check_templates(edit.device, edit.wanted.config.get("templates", ()))
        edit.row.clean_fields(exclude=["device", "revision", "stale_actor"])
        edit.row.clean()
    except ValidationError:
        return False
    return True


def _ineffective(edits: Iterable[_Edit]) -> list[Wanted]:
    """Return what the engine refuses of what has been written."""
    asked = {edit.row.pk: edit for edit in edits if edit.is_to_check}
    bad = []
    for item in inputs.load([edit.row for edit in asked.values()]):
        try:
            item.check()
        except EngineError:
            bad.append(asked[item.config_id].wanted)
    return bad


def _compute(edits: Iterable[_Edit]) -> None:
    """Compute what has been written. Raises _Refused when the engine refuses some of it."""
    written = {edit.row.pk: edit for edit in edits}
    # As they are now that they are marked.
    rows = list(Config.objects.filter(pk__in=list(written)).defer(*inputs.CONFIG_UNREAD))
    waiting = {row.pk for row in rows if row.is_stale}
    bad, outcomes = [], []
    for item in inputs.load(rows):
        edit = written[item.config_id]
        try:
            artefact = item.check() if edit.is_to_check else None
        except EngineError:
            bad.append(edit.wanted)
            continue
        if item.config_id in waiting:
            outcomes.append(recompute.compute(item, artefact))
    _refuse(bad)
    recompute.settle(outcomes)


def _store(edits: Sequence[_Edit], *, actor_id: UUID | None) -> None:
    new = [edit.row for edit in edits if edit.stored is None]
    for row in new:
        row.stale_actor_id = actor_id
    bulk_insert_objects(new)
    moment = now()
    values = [
        (edit.row.pk, [*(getattr(edit.row, name) for name in _EDITABLE), moment])
        for edit in edits
        if edit.stored is not None and edit.edited
    ]
    bulk_set(Config, [*_EDITABLE, "modified"], values)
    assignment.rewrite({edit.row.pk: edit.ids for edit in edits if list(edit.ids) != list(edit.held)})


def _mark_and_record(edits: Sequence[_Edit], *, actor_id: UUID | None) -> None:
    known = [edit for edit in edits if edit.stored is not None]
    edited = [edit for edit in known if edit.edited]
    assigned = [edit for edit in known if list(edit.ids) != list(edit.followed)]
    new = [edit for edit in edits if edit.stored is None]
    _mark([edit for edit in known if edit.has_joined], cause=Cause.GROUP)
    only_assigned = [edit for edit in assigned if not edit.edited]
    _mark(edited, cause=Cause.DEVICE, actor_id=actor_id)
    _mark(only_assigned, cause=Cause.TEMPLATES, actor_id=actor_id)
    audit.record_all(
        [_event("config.created", edit) for edit in new]
        + [_event("config.changed", edit) for edit in [*edited, *only_assigned]]
    )


def _mark(edits: Sequence[_Edit], *, cause: str, actor_id: UUID | None = None) -> None:
    if edits:
        condition = Q(pk__in=[edit.row.pk for edit in edits])
        stale.mark(condition, cause=cause, actor_id=actor_id, background=False)


def _event(action: str, edit: _Edit) -> AuditEvent:
    row, stored = edit.row, edit.stored
    changes: dict[str, tuple[Any, Any]] = {}
    if stored is None:
        changes = {
            "backend": (None, row.backend),
            "config": ({}, row.config),
            "context": ({}, row.context),
            "templates": ([], list(edit.ids)),
        }
    else:
        changes = {name: (getattr(stored, name), getattr(row, name)) for name in edit.edited}
        if list(edit.ids) != list(edit.followed):
            changes["templates"] = (list(edit.followed), list(edit.ids))
    device = edit.device
    return audit.event(action, device, organization_id=device.organization_id, changes=changes)
