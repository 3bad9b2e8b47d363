"""What a job does to many devices at once, where everything is plainly in order, or plainly is not.

Invariant: what is done to a device, and what is said of it, is what `job_actions.perform` would have done and said;
whatever else there is to say of a device is left for that to say. Called inside the transaction that settles the items.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from config_merge.models import Config, Job, JobItem, Managed, SiteDevice, Template
from config_merge.queries import templates_visible_to
from config_merge.services import assignment, duty, job_actions, many, placing, site_previews, stale
from config_merge.services.configs import ALREADY_ACTIVE, ALREADY_DEACTIVATED, STILL_ACTIVE
from config_merge.services.device_previews import devices_foretold
from config_merge.services.foretelling import Foretold
from config_merge.services.places import IN_NO_SITE, OTHER_ORGANIZATION
from core.db import locked
from core.errors import NotFound
from devices.models import Device
from devices.queries import devices_visible_to, groups_visible_to
from devices.services import DEACTIVATED, RETIRED
from tenancy.models import User
from tenancy.policy import allows
from tenancy.queries import roles_of

# By device: the outcome of its item, and what there is to say of it.
Said = dict[UUID, tuple[str, str]]
DONE = (JobItem.Outcome.DONE.value, "")


def perform(job: Job, device_ids: Collection[UUID], user: User | None) -> Said:
    """Do it to the devices with which everything is in order; the others are not touched and not in the answer."""
    if user is None or not user.is_active:
        return {}
    devices = _allowed(job, device_ids, user)
    match job.kind:
        case Job.Kind.ACTIVATE:
            return _flagged(job, devices, deactivated=False)
        case Job.Kind.DEACTIVATE:
            return _flagged(job, devices, deactivated=True)
        case Job.Kind.DELETE:
            return _deleted(job, devices)
        case Job.Kind.CHANGE_GROUP:
            return _regrouped(job, devices, user)
        case Job.Kind.CHANGE_SITE:
            return _moved(job, devices, user)
        case Job.Kind.CHANGE_MANAGEMENT:
            return _managed(job, devices)
        case _:
            return _reassigned(job, devices, user)


def _allowed(job: Job, device_ids: Collection[UUID], user: User) -> dict[UUID, Device]:
    """As `job_actions` asks for one device."""
    rows = devices_visible_to(user).filter(pk__in=list(device_ids)).order_by("pk")
    if job.organization_id is not None:
        rows = rows.filter(organization_id=job.organization_id)
    right, roles = job_actions.right_for(job.kind), roles_of(user)
    return {
        row.pk: row
        for row in rows.only("pk", "organization_id", "group_id", "is_deactivated", "is_retired")
        if user.is_superuser or allows(roles.get(row.organization_id), right, Device)
    }


def _said(device_ids: Iterable[UUID], outcome: str, message: str) -> Said:
    return dict.fromkeys(device_ids, (outcome, message))


def _skipped(device_ids: Iterable[UUID], message: str) -> Said:
    return _said(device_ids, JobItem.Outcome.SKIPPED.value, message)


def _refused(device_ids: Iterable[UUID], message: str) -> Said:
    return _said(device_ids, JobItem.Outcome.FAILED.value, message)


def _flagged(job: Job, devices: Mapping[UUID, Device], *, deactivated: bool) -> Said:
    already = [pk for pk, device in devices.items() if device.is_deactivated == deactivated]
    others = devices.keys() - set(already)
    said = _skipped(already, ALREADY_DEACTIVATED if deactivated else ALREADY_ACTIVE)
    if job.dry_run:
        words = job_actions.WOULD_DEACTIVATE if deactivated else job_actions.WOULD_ACTIVATE
        return said | _said(others, JobItem.Outcome.DONE.value, words)
    done = duty.devices_deactivate if deactivated else duty.devices_activate
    return said | dict.fromkeys(done(others, actor_id=job.creator_id), DONE)


def _deleted(job: Job, devices: Mapping[UUID, Device]) -> Said:
    force = bool(job.parameters.get("force"))
    if job.dry_run:
        allowed = duty.deletable(devices.values(), force=force)
        said = _refused(devices.keys() - allowed, STILL_ACTIVE)
        return said | _said(allowed, JobItem.Outcome.DONE.value, job_actions.WOULD_DELETE)
    done = duty.devices_delete(devices.keys(), force=force)
    still_there = Device.objects.filter(pk__in=devices.keys() - done).values_list("pk", flat=True)
    return _refused(still_there, STILL_ACTIVE) | dict.fromkeys(done, DONE)


def _regrouped(job: Job, devices: Mapping[UUID, Device], user: User) -> Said:
    wanted = job.parameters.get("group")
    group = groups_visible_to(user).filter(pk=wanted).first() if wanted else None
    if wanted and group is None:
        return {}
    there = [pk for pk, device in devices.items() if device.group_id == (group.pk if group else None)]
    asked = [many.Wanted({"group": group}, {}, pk) for pk in devices if pk not in set(there)]
    said = _skipped(there, job_actions.IN_GROUP if group else job_actions.IN_NO_GROUP)
    return said | _written(job, asked)


def _moved(job: Job, devices: Mapping[UUID, Device], user: User) -> Said:
    try:
        site = job_actions.site_wanted(job, user)
    except NotFound:
        return {}
    sites, managers = _placed(job, devices)
    if site is None:
        said = _skipped(devices.keys() - sites.keys(), IN_NO_SITE)
        said |= _refused(_unsaid(devices, said, "is_deactivated"), DEACTIVATED)
        said |= _refused(_unsaid(devices, said, "is_retired"), RETIRED)
        asked = devices.keys() - said.keys()
        if job.dry_run:
            return said | _foretold(site_previews.placements_foretold(asked, leave=True))
        return said | _done(placing.devices_leave(asked, actor_id=job.creator_id))
    by = job.parameters.get("managed_by") or ""
    there = [pk for pk in devices if sites.get(pk) == site.pk and by in ("", managers.get(pk))]
    said = _skipped(there, job_actions.IN_SITE)
    foreign = {pk for pk, device in devices.items() if device.organization_id != site.organization_id}
    said |= _refused(foreign - said.keys(), OTHER_ORGANIZATION)
    said |= _refused(_unsaid(devices, said, "is_retired"), RETIRED)
    if by:
        said |= _refused(_unsaid(devices, said, "is_deactivated"), DEACTIVATED)
    asked = devices.keys() - said.keys()
    if job.dry_run:
        return said | _foretold(site_previews.placements_foretold(asked, site=site, managed_by=by))
    return said | _done(placing.devices_join(asked, site, managed_by=by, actor_id=job.creator_id))


def _managed(job: Job, devices: Mapping[UUID, Device]) -> Said:
    by = str(job.parameters.get("managed_by"))
    sites, managers = _placed(job, devices)
    said = _skipped([pk for pk in devices if managers.get(pk) == by], job_actions.MANAGED_SO)
    said |= _refused(_unsaid(devices, said, "is_deactivated"), DEACTIVATED)
    said |= _refused(_unsaid(devices, said, "is_retired"), RETIRED)
    if by == Managed.SITE:
        said |= _refused(devices.keys() - sites.keys() - said.keys(), IN_NO_SITE)
    asked = devices.keys() - said.keys()
    if job.dry_run:
        return said | _foretold(site_previews.placements_foretold(asked, managed_by=by))
    return said | _done(placing.devices_manage(asked, by=by, actor_id=job.creator_id))


def _placed(job: Job, devices: Mapping[UUID, Device]) -> tuple[dict[UUID, UUID], dict[UUID, str]]:
    """Return the sites devices are in, and what manages them."""
    pks = _present(job, devices)
    places = SiteDevice.objects.filter(device_id__in=pks).values_list("device_id", "site_id")
    managers = Config.objects.filter(device_id__in=pks).values_list("device_id", "managed_by")
    return dict(places), dict(managers)


def _present(job: Job, devices: Mapping[UUID, Device]) -> list[UUID]:
    """Return the devices that are still there, locked before more is read of them, unless it is a dry run."""
    rows = Device.objects.filter(pk__in=list(devices)).order_by("pk")
    return list((rows if job.dry_run else locked(rows)).values_list("pk", flat=True))


def _unsaid(devices: Mapping[UUID, Device], said: Said, flag: str) -> list[UUID]:
    """Return the devices with a flag of which nothing is said yet."""
    return [pk for pk, device in devices.items() if getattr(device, flag) and pk not in said]


def _done(device_ids: Iterable[UUID]) -> Said:
    return dict.fromkeys(device_ids, DONE)


def _foretold(found: Mapping[UUID, Foretold]) -> Said:
    """Say what a dry run found, as `job_actions` does of one device."""
    said = {pk: (JobItem.Outcome.FAILED.value, each.problem) for pk, each in found.items() if each.problem}
    words = {True: job_actions.WOULD_CHANGE, False: job_actions.WOULD_STAY}
    return {pk: (JobItem.Outcome.DONE.value, words[each.is_changed]) for pk, each in found.items()} | said


@dataclass(frozen=True, slots=True)
class _Held:
    """A device's templates, in merge order, and its back end (empty: it has no configuration)."""

    backend: str
    ids: Sequence[UUID]


def _reassigned(job: Job, devices: Mapping[UUID, Device], user: User) -> Said:
    template = templates_visible_to(user).filter(pk=job.parameters.get("template")).first()
    if template is None:
        return {}
    if not job.dry_run:
        stale.reading_templates()
    held = _held(job, devices)
    has_it = [pk for pk, one in held.items() if template.pk in one.ids]
    lacks_it = [pk for pk in held if pk not in set(has_it)]
    ids: dict[UUID, list[UUID]] = {}
    if job.kind == Job.Kind.ASSIGN_TEMPLATE:
        fitting = [pk for pk in lacks_it if held[pk].backend in ("", template.backend)]
        said = _skipped(has_it, job_actions.HAS_TEMPLATE)
        said |= _refused(set(lacks_it) - set(fitting), job_actions.OTHER_BACKEND)
        ids = {pk: [*held[pk].ids, template.pk] for pk in fitting}
    else:
        said = _skipped(lacks_it, job_actions.LACKS_TEMPLATE)
        if template.required:
            said |= _refused(has_it, job_actions.IS_REQUIRED)
        else:
            ids = {pk: [each for each in held[pk].ids if each != template.pk] for pk in has_it}
    found = Template.objects.in_bulk({pk for chosen in ids.values() for pk in chosen})
    return said | _written(
        job,
        [
            many.Wanted({}, {"templates": [found[each] for each in chosen if each in found]}, pk)
            for pk, chosen in ids.items()
        ],
    )


def _held(job: Job, devices: Mapping[UUID, Device]) -> dict[UUID, _Held]:
    """Return what devices have."""
    pks = _present(job, devices)
    rows = Config.objects.filter(device_id__in=pks).values_list("device_id", "pk", "backend")
    configs = {device_id: (config_id, backend) for device_id, config_id, backend in rows}
    assigned = assignment.held_by(config_id for config_id, _ in configs.values())
    held = {}
    for pk in pks:
        config_id, backend = configs.get(pk, (None, ""))
        held[pk] = _Held(backend, assigned.get(config_id, []) if config_id else [])
    return held


def _written(job: Job, asked: Sequence[many.Wanted]) -> Said:
    """Write what is in order and compute it; a dry run only says what would become of it."""
    if job.dry_run:
        return _foretold(devices_foretold(asked))
    left = set(many.managed_devices_write(asked, actor_id=job.creator_id, compute=True))
    return {item.device_id: DONE for item in asked if item not in left and item.device_id is not None}
