"""Giving a device once more what it says that it has.

An agent compares the checksum it is told with the one it applied, and does nothing when they are equal; one that only
polls hears of nothing else. So the same files are issued anew, with another checksum: every agent applies them, however
it is reached, and its word about the new checksum ends the task as ever.
"""

from uuid import UUID

from django.db import transaction

from config_merge.delivery.queue import Wanted, queue
from config_merge.engine import Artefact, reissued
from config_merge.models import Cause, Config, ConfigRevision, ConfigTask, SiteDevice, Status
from config_merge.services import telling
from config_merge.status import after_computation
from core import metrics
from core.clock import now
from core.db import locked
from core.errors import Conflict, Forbidden
from devices.models import Device
from tenancy import audit


@transaction.atomic
def push_again(device: Device, *, actor_id: UUID | None = None) -> ConfigTask:
    """Issue a device's current revision anew, and queue that. Raises Conflict, Forbidden."""
    config = locked(Config.objects.filter(device_id=device.pk)).first()
    held = (
        ConfigRevision.objects.filter(pk=config.revision_id).first()
        if config and config.revision_id
        else None
    )
    if config is None or held is None:
        raise Conflict("There is no configuration to push yet.")
    place = SiteDevice.objects.filter(device_id=device.pk).first()
    if place is not None and (place.is_suspended or place.is_blocked or place.is_retired):
        raise Forbidden("The device is suspended, blocked or decommissioned: nothing is pushed to it.")
    if config.status == Status.DEACTIVATED:
        raise Forbidden("The device is deactivated.")
    before = config.status
    revision = _issue(config, held, actor_id=actor_id)
    wanted = Wanted(
        device.pk, revision.pk, revision.number, revision.checksum, place.site_id if place else None
    )
    (task_id,) = queue([wanted], kind=ConfigTask.Kind.RESYNC)
    telling.computed({config.pk: (before, config.status)}, [revision])
    told = {"revision": (None, config.revision_number)}
    audit.record("config.pushed_again", device, organization_id=device.organization_id, changes=told)
    return ConfigTask.objects.get(pk=task_id)


def _issue(config: Config, held: ConfigRevision, *, actor_id: UUID | None) -> ConfigRevision:
    """Write the next revision of a locked configuration: the files of the one it has, and another checksum."""
    config.issue += 1
    artefact = reissued(Artefact((), bytes(held.artefact), held.checksum, held.sha256), config.issue)
    config.status = after_computation(
        config.status, checksum=artefact.md5, previous=config.checksum, applied=config.applied_checksum
    )
    config.error_reason = ""
    config.checksum, config.modified = artefact.md5, now()
    config.revision_number += 1
    revision = ConfigRevision.objects.create(
        config=config,
        number=config.revision_number,
        artefact=artefact.archive,
        checksum=artefact.md5,
        sha256=artefact.sha256,
        size=held.size,
        digest=held.digest,
        cause=Cause.AGAIN,
        actor_id=actor_id,
        inputs=held.inputs,
    )
    config.revision = revision
    config.save(
        update_fields=[
            "issue", "status", "error_reason", "checksum", "revision", "revision_number", "modified",
        ]
    )  # fmt: skip
    metrics.add(metrics.REVISIONS)
    return revision
