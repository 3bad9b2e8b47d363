"""What a job does to one device: the services people call themselves, with the creator's right asked again.

Invariant: called inside the transaction that settles the item; a dry run says what would happen and writes nothing.
"""

import contextlib
from collections.abc import Iterator
from uuid import UUID

from config_merge.models import Config, Job, Site, SiteDevice, Status, Template
from config_merge.queries import sites_visible_to, templates_visible_to
from config_merge.services import assignment, configs, places, site_previews, stale
from config_merge.services.comparison import Preview
from config_merge.services.device_previews import device_preview
from core.db import locked
from core.errors import Conflict, Forbidden, MusterError, NotFound
from devices.models import Device
from devices.queries import devices_visible_to, groups_visible_to
from tenancy.models import User
from tenancy.policy import allows
from tenancy.queries import roles_of

WOULD_ACTIVATE = "It would be activated."
WOULD_DELETE = "It would be deleted."
WOULD_DEACTIVATE = "It would be deactivated."
IN_GROUP = "The device is in that group already."
IN_NO_GROUP = "The device is in no group."
HAS_TEMPLATE = "The device has the template already."
LACKS_TEMPLATE = "The device does not have the template."
IS_REQUIRED = "A required template cannot be taken away."
IN_SITE = "The device is in that site already."
MANAGED_SO = "The device is managed so already."
WOULD_CHANGE = "Its configuration would change."
WOULD_STAY = "Its configuration would stay the same."
OTHER_BACKEND = "The template is for another back end than the device's configuration."
UNEXPECTED = "Its stored data cannot be read; the server's log says more."
_RIGHT = {Job.Kind.DELETE: "delete", Job.Kind.ACTIVATE: "add", Job.Kind.DEACTIVATE: "add"}


class Nothing(MusterError):
    """The device is as it is asked to be already."""


def right_for(kind: str) -> str:
    """Return the policy's action on devices that a kind of job needs."""
    return _RIGHT.get(Job.Kind(kind), "change")


def perform(job: Job, device_id: UUID, user: User | None) -> str:
    """Do it to one device; returns what happened in words ("" says it all). Raises MusterError, ValidationError."""
    device = _allowed(job, device_id, user)
    match job.kind:
        case Job.Kind.ACTIVATE:
            return _activate(job, device)
        case Job.Kind.DEACTIVATE:
            return _deactivate(job, device)
        case Job.Kind.DELETE:
            return _delete(job, device)
        case Job.Kind.CHANGE_GROUP:
            return _change_group(job, device, user)
        case Job.Kind.CHANGE_SITE:
            return _change_site(job, device, user)
        case Job.Kind.CHANGE_MANAGEMENT:
            return _change_management(job, device)
        case _:
            return _templates(job, device, user)


def _allowed(job: Job, device_id: UUID, user: User | None) -> Device:
    if user is None or not user.is_active:
        raise Forbidden("Who asked for it has no account any more.")
    device = devices_visible_to(user).filter(pk=device_id).first()
    if device is None or job.organization_id not in (None, device.organization_id):
        raise NotFound("The device is gone, or not for whoever asked.")
    role = roles_of(user).get(device.organization_id)
    if not user.is_superuser and not allows(role, right_for(job.kind), Device):
        raise Forbidden("Whoever asked may not do this any more.")
    return device


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Somebody who did the same at the same moment has left nothing to do."""
    try:
        yield
    except Conflict as error:
        raise Nothing(str(error)) from error


def _activate(job: Job, device: Device) -> str:
    if not device.is_deactivated:
        raise Nothing(configs.ALREADY_ACTIVE)
    if job.dry_run:
        return WOULD_ACTIVATE
    with _in_time():
        configs.device_activate(device, actor_id=job.creator_id)
    return ""


def _deactivate(job: Job, device: Device) -> str:
    if device.is_deactivated:
        raise Nothing(configs.ALREADY_DEACTIVATED)
    if job.dry_run:
        return WOULD_DEACTIVATE
    with _in_time():
        configs.device_deactivate(device, actor_id=job.creator_id)
    return ""


def _delete(job: Job, device: Device) -> str:
    force = bool(job.parameters.get("force"))
    if not job.dry_run:
        configs.device_delete(device, force=force)
        return ""
    status = Config.objects.filter(device=device).values_list("status", flat=True).first()
    is_out = device.is_retired or (device.is_deactivated and status in (None, Status.DEACTIVATED))
    if not force and not is_out:
        raise Forbidden(configs.STILL_ACTIVE)
    return WOULD_DELETE


def _change_group(job: Job, device: Device, user: User | None) -> str:
    wanted = job.parameters.get("group")
    group = groups_visible_to(user).filter(pk=wanted).first() if wanted else None
    if wanted and group is None:
        raise NotFound("The group is gone.")
    if device.group_id == (group.pk if group else None):
        raise Nothing(IN_GROUP if group else IN_NO_GROUP)
    return _changed(job, device, {"group": group})


def site_wanted(job: Job, user: User | None) -> Site | None:
    """Return the site that devices are to be put into; None takes them out of theirs. Raises NotFound."""
    wanted = job.parameters.get("site")
    site = sites_visible_to(user).filter(pk=wanted).first() if wanted else None
    if wanted and site is None:
        raise NotFound("The site is gone.")
    return site


def _change_site(job: Job, device: Device, user: User | None) -> str:
    site, by = site_wanted(job, user), job.parameters.get("managed_by") or ""
    if not job.dry_run:
        locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    here = SiteDevice.objects.filter(device_id=device.pk).values_list("site_id", flat=True).first()
    if site is None:
        return _leave(job, device, is_in_one=here is not None)
    if here == site.pk and by in ("", _manager_of(device)):
        raise Nothing(IN_SITE)
    if job.dry_run:
        return _told(site_previews.placement_preview(device, site=site, managed_by=by))
    places.placement_change(device, site=site, managed_by=by, actor_id=job.creator_id)
    return ""


def _leave(job: Job, device: Device, *, is_in_one: bool) -> str:
    if not is_in_one:
        raise Nothing(places.IN_NO_SITE)
    if job.dry_run:
        return _told(site_previews.placement_preview(device, leave=True))
    places.device_leave(device, actor_id=job.creator_id)
    return ""


def _change_management(job: Job, device: Device) -> str:
    by = str(job.parameters.get("managed_by"))
    if not job.dry_run:
        locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    if _manager_of(device) == by:
        raise Nothing(MANAGED_SO)
    if job.dry_run:
        return _told(site_previews.placement_preview(device, managed_by=by))
    places.device_manage(device, by=by, actor_id=job.creator_id)
    return ""


def _manager_of(device: Device) -> str | None:
    """Return what manages a device; None when it has no configuration yet."""
    return Config.objects.filter(device_id=device.pk).values_list("managed_by", flat=True).first()


def _templates(job: Job, device: Device, user: User | None) -> str:
    template = templates_visible_to(user).filter(pk=job.parameters.get("template")).first()
    if template is None:
        raise NotFound("The template is gone.")
    if not job.dry_run:
        stale.reading_templates()
        # Device first, configuration second: the order every writer of both keeps.
        locked(Device.objects.filter(pk=device.pk)).values_list("pk").first()
    config = Config.objects.filter(device=device).only("pk").first()
    ids = assignment.current_ids(config.pk) if config else []
    if job.kind == Job.Kind.ASSIGN_TEMPLATE:
        if template.pk in ids:
            raise Nothing(HAS_TEMPLATE)
        _require_fit(device, template)
        ids.append(template.pk)
    else:
        if template.pk not in ids:
            raise Nothing(LACKS_TEMPLATE)
        if template.required:
            raise Forbidden(IS_REQUIRED)
        ids.remove(template.pk)
    found = Template.objects.in_bulk(ids)
    return _changed(job, device, {"config": {"templates": [found[pk] for pk in ids if pk in found]}})


def _require_fit(device: Device, template: Template) -> None:
    backend = Config.objects.filter(device=device).values_list("backend", flat=True).first()
    if backend is not None and template.backend != backend:
        raise Forbidden(OTHER_BACKEND)


def _changed(job: Job, device: Device, changes: dict[str, object]) -> str:
    if not job.dry_run:
        configs.managed_device_update(device, actor_id=job.creator_id, **changes)  # type: ignore[arg-type]
        return ""
    return _told(device_preview(device, changes))


def _told(found: Preview) -> str:
    """Return in words what would become of the one device of a preview. Raises Forbidden where it would fail."""
    if found.failed:
        raise Forbidden(found.failures[0].message)
    return WOULD_CHANGE if found.changed else WOULD_STAY
