"""What goes out now, over the links of one process: tasks that are due, for devices that listen.

Invariants: a claim moves a task to `sent` with a lease before anything leaves the process, so that a killed process's
tasks come back by themselves; no more than MUSTER_PUSH_PER_SITE tasks of one site, and MUSTER_PUSH_AT_ONCE of one
process, are under way at a time.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef

from config_merge.agent import presence
from config_merge.delivery.states import UNDER_WAY, State, move
from config_merge.models import ConfigRevision, ConfigTask
from core.clock import now
from core.db import claim, in_turn

# An answer to `config.apply` comes at once; what was not answered by then is sent again.
ANSWER_SECONDS = 20
UNABLE = timedelta(minutes=1)
INLINE_BYTES = 32_768
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Push:
    """A task that was claimed, with what `config.apply` says.

    `archive` is in base64, one text for all who get the same, and None when the device must download.
    """

    task_id: UUID
    device_id: UUID
    epoch: UUID
    attempt: int
    number: int
    checksum: str
    sha256: str
    force: bool
    archive: str | None = field(repr=False, default=None)


class _Due(NamedTuple):
    """A task that may be sent, its device's link, and the archive in question."""

    pk: UUID
    device_id: UUID
    site_id: UUID | None
    attempt: int
    number: int
    checksum: str
    kind: str
    revision_id: UUID
    sha256: str
    size: int
    epoch: UUID
    capabilities: Sequence[str]


_DUE = (
    "pk", "device_id", "site_id", "attempt", "number", "checksum", "kind", "revision_id", "revision__sha256",
    "revision__size", "device__link__epoch", "device__link__capabilities",
)  # fmt: skip


def claimed(server_id: UUID, most: int) -> list[Push]:
    """Claim up to `most` tasks that are due, oldest first."""
    with transaction.atomic():
        in_turn("config_merge.claims")
        tasks = _chosen(server_id, min(most, CHUNK))
        if not tasks:
            return []
        at = now()
        move(
            ConfigTask.objects.filter(pk__in=[task.pk for task in tasks]),
            State.SENT,
            attempt=F("attempt") + 1,
            sent_at=at,
            lease_until=at + timedelta(seconds=ANSWER_SECONDS),
        )
    return _pushes(tasks)


def _chosen(server_id: UUID, most: int) -> list[_Due]:
    others = ConfigTask.objects.filter(device_id=OuterRef("device_id"), state__in=UNDER_WAY)
    due = ConfigTask.objects.filter(
        state=State.PENDING, due_at__lte=now(), device__link__server_id=server_id, device__config__hold=""
    ).exclude(Exists(others))
    room = settings.MUSTER.push_per_site
    under_way = ConfigTask.objects.filter(state__in=UNDER_WAY, site_id__isnull=False).order_by()
    busy = Counter(dict(under_way.values_list("site_id").annotate(n=Count("pk"))))
    full = [site_id for site_id, count in busy.items() if count >= room]
    if full:
        # NOT IN alone would leave out what belongs to no site.
        due = due.filter(site_id__isnull=True) | due.exclude(site_id__in=full).filter(site_id__isnull=False)
    chosen: list[_Due] = []
    unable: list[UUID] = []
    for task in map(_Due._make, claim(due.order_by("due_at", "id")).values_list(*_DUE)[:most]):
        if "config.apply" not in task.capabilities:
            unable.append(task.pk)
            continue
        if task.site_id is not None:
            if busy[task.site_id] >= room:
                continue
            busy[task.site_id] += 1
        chosen.append(task)
    if unable:
        # Their devices poll. Left at the head of the queue, they would keep others from being looked at.
        ConfigTask.objects.filter(pk__in=unable).update(due_at=now() + UNABLE)
    return chosen


def _pushes(tasks: Sequence[_Due]) -> list[Push]:
    """Return what is sent: equal archives are one, and those that are not remembered are read in one query."""
    inline = {
        task.sha256: task.revision_id
        for task in tasks
        if task.size <= INLINE_BYTES and "archive" in task.capabilities
    }
    unread = [pk for sha256, pk in inline.items() if sha256 not in presence.archives]
    revisions = ConfigRevision.objects.filter(pk__in=unread).order_by()
    for sha256, artefact in revisions.values_list("sha256", "artefact"):
        presence.archives.put(sha256, bytes(artefact))
    texts = {
        sha256: b64encode(archive).decode()
        for sha256 in inline
        if (archive := presence.archives.get(sha256)) is not None
    }
    return [
        Push(
            task_id=task.pk,
            device_id=task.device_id,
            epoch=task.epoch,
            attempt=task.attempt + 1,
            number=task.number,
            checksum=task.checksum,
            sha256=task.sha256,
            force=task.kind == ConfigTask.Kind.RESYNC,
            archive=texts.get(task.sha256) if "archive" in task.capabilities else None,
        )
        for task in tasks
    ]
