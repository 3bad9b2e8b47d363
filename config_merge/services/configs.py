"""Every write to one device and its configuration: create, change, activate, deactivate, delete, report.

A write to a single device computes it at once, in the same transaction, so that the answer tells the exact status.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import Q

from config_merge import inputs
from config_merge.engine import EngineError
from config_merge.hiding import Secrecy
from config_merge.models import Backend, Cause, Config, Managed, SiteDevice, Status, Template
from config_merge.services import assignment, duty, recompute, stale, telling
from config_merge.status import move
from core.db import locked
from core.errors import Conflict, Forbidden
from devices import services as inventory
from devices.models import Device
from tenancy import audit

ALREADY_DEACTIVATED = "The device already is deactivated."
ALREADY_ACTIVE = "The device already is active."
STILL_ACTIVE = "The device must be deactivated before it can be deleted."


def config_of(device: Device) -> Config | None:
    """Return the device's configuration as the database has it now."""
    return Config.objects.filter(device_id=device.pk).first()


def check_templates(device: Device, templates: Sequence[Template]) -> None:
    """Refuse templates of another organization, by name. Raises ValidationError."""
    foreign = [t.name for t in templates if t.organization_id not in (None, device.organization_id)]
    if foreign:
        names = ", ".join(sorted(foreign))
        raise ValidationError({"templates": f"These templates belong to another organization: {names}."})


def check_effective(config: Config) -> None:
    """Validate the merged configuration as the device would get it. Raises ValidationError on `__all__`.

    What the engine says is told without secrets: whoever edits a device need not know those of its templates.
    """
    for item in inputs.load([config]):
        try:
            item.check()
        except EngineError as error:
            words = Secrecy().words(item, str(error))
            raise ValidationError({NON_FIELD_ERRORS: [words]}) from error


@transaction.atomic
def config_create(
    device: Device,
    /,
    *,
    backend: str = Backend.OPENWRT,
    templates: Sequence[Template] = (),
    context: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    managed_by: str = Managed.TEMPLATES,
    actor_id: UUID | None = None,
) -> Config:
    """Give a device a configuration with its automatic templates, and compute it. Raises ValidationError."""
    stale.reading_templates()
    row = Config(
        device=device,
        backend=backend,
        context=context or {},
        config=config or {},
        managed_by=managed_by,
        # Before it is computed: what is held is not sent.
        hold=_hold_on(device.pk),
        stale_actor_id=actor_id,
    )
    row.full_clean(exclude=["device"])
    check_templates(device, templates)
    row.save(force_insert=True)
    chosen = [template.pk for template in templates]
    ids = assignment.starting_ids(device, backend=backend, chosen=chosen)
    assignment.write(row, ids)
    if row.config or chosen:
        check_effective(row)
    recompute.recompute_one(row.pk)
    told: dict[str, tuple[Any, Any]] = {
        "backend": (None, backend),
        "config": ({}, row.config),
        "context": ({}, row.context),
        "templates": ([], ids),
    }
    _record("config.created", device, changes=told)
    row.refresh_from_db()
    return row


@transaction.atomic
def config_update(
    config: Config,
    /,
    *,
    templates: Sequence[Template] | None = None,
    actor_id: UUID | None = None,
    cause: str | None = None,
    **changes: Any,
) -> Config:
    """Change backend, context, config or the ordered templates, and compute. Raises ValidationError, Forbidden.

    Required templates that are missing from `templates` come back in front (spec 1B.1).
    """
    stale.reading_templates()
    before = locked(Config.objects.filter(pk=config.pk)).get()
    device = config.device
    if device.is_deactivated:
        raise Forbidden(inventory.DEACTIVATED)
    if device.is_retired:
        raise Forbidden(inventory.RETIRED)
    for name, value in changes.items():
        setattr(config, name, value)
    config.full_clean(exclude=["device"])
    ids = held = assignment.current_ids(config.pk)
    if config.backend != before.backend:
        old = assignment.group_template_ids(device.group_id, backend=before.backend)
        new = assignment.group_template_ids(device.group_id, backend=config.backend)
        ids = assignment.swap_group(ids, old=old, new=new)
    if templates is not None:
        check_templates(device, templates)
        ids = [template.pk for template in templates]
    ids = assignment.with_required(device, backend=config.backend, template_ids=ids)
    assigned = assignment.write(config, ids)
    edited = [
        name for name in ("backend", "context", "config") if getattr(config, name) != getattr(before, name)
    ]
    if edited:
        config.save(update_fields=[*edited, "modified"])
    if edited or assigned:
        check_effective(config)
        stale.mark(
            Q(pk=config.pk),
            cause=cause or (Cause.DEVICE if edited else Cause.TEMPLATES),
            actor_id=actor_id,
            background=False,
        )
        recompute.recompute_one(config.pk)
        edits = {name: (getattr(before, name), getattr(config, name)) for name in edited}
        _record("config.changed", device, changes=edits | ({"templates": (held, ids)} if assigned else {}))
    config.refresh_from_db()
    return config


def _record(action: str, device: Device, *, changes: audit.Changes | None = None) -> None:
    """Write down what was done to a device's configuration, under the device's name."""
    audit.record(action, device, organization_id=device.organization_id, changes=changes)


def is_useful(wanted: Mapping[str, Any]) -> bool:
    """Tell whether a new configuration (keywords of `config_create`) would say anything by itself."""
    backend = wanted.get("backend", Backend.OPENWRT)
    return backend != Backend.OPENWRT or any(wanted.get(name) for name in ("templates", "context", "config"))


@transaction.atomic
def managed_device_create(
    *, config: dict[str, Any] | None = None, actor_id: UUID | None = None, **fields: Any
) -> Device:
    """Create a device and, when it is useful, its configuration (keywords of `config_create`).

    A configuration that says nothing is not created, unless the device's group has templates. Raises
    ValidationError; errors of the configuration are under `config`.
    """
    stale.reading_templates()
    device = inventory.device_create(**fields)
    wanted = dict(config or {})
    backend = wanted.get("backend", Backend.OPENWRT)
    if is_useful(wanted) or assignment.group_template_ids(device.group_id, backend=backend):
        with config_errors():
            config_create(device, actor_id=actor_id, **wanted)
    return device


class ConfigInvalid(ValidationError):
    """A device's configuration is refused; `error` is the configuration's own ValidationError."""

    def __init__(self, error: ValidationError) -> None:
        messages = [text for texts in error.message_dict.values() for text in texts]
        super().__init__({"config": messages})
        self.error = error


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
    """Put the errors of a configuration under the key `config` of the device's."""
    try:
        yield
    except ValidationError as error:
        raise ConfigInvalid(error) from error


@transaction.atomic
def managed_device_update(
    device: Device, *, config: dict[str, Any] | None = None, actor_id: UUID | None = None, **changes: Any
) -> Device:
    """Change a device and its configuration (keywords of `config_update`), and compute. Raises as they do."""
    stale.reading_templates()
    old_group, old_organization = device.group_id, device.organization_id
    stored = Device.objects.filter(pk=device.pk).values("group_id", "organization_id").first()
    if stored:
        old_group, old_organization = stored["group_id"], stored["organization_id"]
    changed = inventory.device_update(device, **changes)
    row = config_of(device)
    if row is not None:
        row.device = device
        moved = device.organization_id != old_organization
        if moved:
            _leave_site(row)
        if moved or "group" in changed:
            _follow(row, old_group=old_group, moved=moved)
    wanted = dict(config or {})
    with config_errors():
        if row is None and (wanted or "group" in changed):
            _create_if_useful(device, wanted, actor_id=actor_id)
        elif row is not None:
            if wanted:
                config_update(row, actor_id=actor_id, **wanted)
            elif changed & stale.RENDERED_DEVICE_FIELDS:
                check_effective(row)
            recompute.recompute_one(row.pk)
    device.refresh_from_db()
    return device


def _leave_site(config: Config) -> None:
    """A site stays behind with its organization; what the device is comes from templates then."""
    SiteDevice.objects.filter(device_id=config.device_id).delete()
    config.managed_by, config.hold = Managed.TEMPLATES, ""
    config.save(update_fields=["managed_by", "hold"])


def _create_if_useful(device: Device, wanted: dict[str, Any], *, actor_id: UUID | None) -> None:
    backend = wanted.get("backend", Backend.OPENWRT)
    if is_useful(wanted) or assignment.group_template_ids(device.group_id, backend=backend):
        config_create(device, actor_id=actor_id, **wanted)


def _hold_on(device_id: UUID) -> str:
    place = SiteDevice.objects.filter(device_id=device_id).defer("settings").first()
    return place.hold if place is not None else ""


def hold_follow(device_id: UUID) -> None:
    """Copy what holds a device from its place to its configuration; call it in the transaction that changed either.

    A device that is being deactivated and is held now is out at once: it will not be told, nor asked.
    """
    hold = _hold_on(device_id)
    mine = Config.objects.filter(device_id=device_id)
    if hold and (leaving := list(mine.filter(status=Status.DEACTIVATING).values_list("pk", flat=True))):
        with telling.status_changes(leaving):
            move(mine, Status.DEACTIVATED)
        Device.objects.filter(pk=device_id).update(management_ip=None)
    mine.update(hold=hold)


def _follow(config: Config, *, old_group: UUID | None, moved: bool) -> None:
    """Let the templates follow a device into another group or organization."""
    device = config.device
    if moved:
        joined = assignment.group_template_ids(device.group_id, backend=config.backend)
        ids = assignment.with_required(device, backend=config.backend, template_ids=joined)
        # What it was told before holds the old organization's secrets.
        Config.objects.filter(pk=config.pk).update(revision=None, checksum="")
        config.revisions.all().delete()
    else:
        ids = assignment.swap_group(
            assignment.current_ids(config.pk),
            old=assignment.group_template_ids(old_group, backend=config.backend),
            new=assignment.group_template_ids(device.group_id, backend=config.backend),
        )
        ids = assignment.with_required(device, backend=config.backend, template_ids=ids)
    assignment.write(config, ids)
    stale.mark(Q(pk=config.pk), cause=Cause.GROUP, background=False)


@transaction.atomic
def device_deactivate(device: Device, *, actor_id: UUID | None = None) -> Device:
    """Take a device out of service, as `duty.devices_deactivate` does many. Raises Conflict."""
    if not duty.devices_deactivate([device.pk], actor_id=actor_id):
        raise Conflict(ALREADY_DEACTIVATED)
    device.refresh_from_db()
    return device


@transaction.atomic
def device_activate(device: Device, *, actor_id: UUID | None = None) -> Device:
    """Put a device back into service with its automatic templates. Raises Conflict."""
    if not duty.devices_activate([device.pk], actor_id=actor_id):
        raise Conflict(ALREADY_ACTIVE)
    device.refresh_from_db()
    return device


@transaction.atomic
def device_delete(device: Device, *, force: bool = False) -> None:
    """Delete a device, as `duty.devices_delete` does many. Raises Forbidden, Conflict."""
    if not duty.devices_delete([device.pk], force=force):
        if not Device.objects.filter(pk=device.pk).exists():
            raise Conflict("The device is gone.")
        raise Forbidden(STILL_ACTIVE)
