"""Uploads in parts that survive whatever happens in between: begun, appended to, finished, or forgotten.

A part is a file of its own until the last has come (`finishing` puts them together). Invariant: a part counts once its
row is committed, and only the part that begins where the upload stands gets one.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import BinaryIO

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q

from boot import job_tasks
from boot.images import files
from boot.images.finishing import AT_ONCE, BEING_FINISHED, NOT_OPEN, refusal_of, upload_finish
from boot.images.queries import Space
from boot.images.services import IS_TAKEN, check_room, checked_digests, checked_path, image_at, take_turn
from boot.models_images import Image, ImagePart, ImageUpload
from core.acting import current
from core.clock import now
from core.db import locked
from core.errors import Conflict
from core.wake import ring, wake
from tenancy import audit

PART = 64 << 20
ABANDONED_AFTER = timedelta(days=1)
MOST_OPEN = 100
MISPLACED = "The upload stands at {received}, not at {offset}."
TOO_MANY = f"There are {MOST_OPEN} open uploads already: finish or delete some first."
State = ImageUpload.State


class Misplaced(Conflict):
    """A part does not begin where the upload stands; `received` says where that is."""

    def __init__(self, received: int, offset: int) -> None:
        super().__init__(MISPLACED.format(received=received, offset=offset))
        self.received = received


@transaction.atomic
def upload_begin(space: Space, *, path: str, size: int, md5: str = "", sha256: str = "") -> ImageUpload:
    """Begin an upload of `size` bytes to a path. Raises ValidationError."""
    take_turn(space)
    expected = checked_digests(md5=md5, sha256=sha256)
    checked_path(path)
    present = image_at(space, path)
    if present is not None and not _may_be_equal(present, size=size, **expected):
        raise ValidationError({"path": IS_TAKEN})
    open_ones = ImageUpload.objects.filter(organization=space.organization, state=State.OPEN)
    if open_ones.count() >= MOST_OPEN:
        raise ValidationError(TOO_MANY)
    check_room(space, size=size)
    upload = ImageUpload(organization=space.organization, key=space.key, path=path, size=size, **expected)
    upload.full_clean()
    upload.save(force_insert=True)
    changes = {"path": (None, path), "size": (None, size)}
    audit.record("image_upload.begun", upload, organization_id=upload.organization_id, changes=changes)
    return upload


def _may_be_equal(present: Image, *, size: int, md5: str, sha256: str) -> bool:
    found = present.file
    return found.size == size and md5 in ("", found.md5) and sha256 in ("", found.sha256)


def upload_append(upload: ImageUpload, stream: BinaryIO, *, offset: int) -> ImageUpload:
    """Add what `stream` has at `offset`, in parts that count one by one. Raises Conflict, ValidationError.

    What is misplaced or too much leaves the upload as it was; a stream that breaks off leaves whole parts.
    """
    row = ImageUpload.objects.get(pk=upload.pk)
    ended = False
    while not ended:
        _check_place(row, offset)
        counted = _Counted(stream, PART)
        name = files.part_name(row.pk, offset)
        try:
            files.write(name, counted, limit=row.size - row.received)
        except files.TooMuch as error:
            raise ValidationError(
                {"size": f"More than the {row.size:,} bytes of the upload came."}
            ) from error
        ended = counted.size < PART
        if counted.size:
            try:
                row = _part_add(row, name, offset=offset, size=counted.size)
            except BaseException:
                files.remove(name)
                raise
            offset += counted.size
        else:
            files.remove(name)
    return row


class _Counted:
    """At most `most` bytes of a stream in portions, counted."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most, self.size = stream, most, 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> bytes:
        data = (
            self._stream.read(min(files.PORTION, self._most - self.size)) if self.size < self._most else b""
        )
        if not data:
            raise StopIteration
        self.size += len(data)
        return data


def _check_place(row: ImageUpload, offset: int) -> None:
    if row.state != State.OPEN:
        raise Conflict(NOT_OPEN.format(state=row.get_state_display().lower()))
    if row.received != offset:
        raise Misplaced(row.received, offset)


@transaction.atomic
def _part_add(upload: ImageUpload, name: str, *, offset: int, size: int) -> ImageUpload:
    row = locked(ImageUpload.objects.filter(pk=upload.pk)).get()
    _check_place(row, offset)
    ImagePart.objects.create(upload=row, offset=offset, name=name)
    row.received += size
    row.save(update_fields=["received", "modified"])
    return row


def upload_finish_ask(upload: ImageUpload) -> Image | None:
    """Finish a small upload at once; leave a large one to a worker, and return None. Raises as `upload_finish`.

    Asking again changes nothing: what is finished is answered with its image, what is on its way with None.
    """
    row = ImageUpload.objects.get(pk=upload.pk)
    if row.state == State.FINISHING:
        ring(job_tasks.finish_uploads)
        return None
    if row.state != State.OPEN or row.size <= AT_ONCE:
        return upload_finish(row)
    with transaction.atomic():
        complete = ImageUpload.objects.filter(pk=row.pk, state=State.OPEN, received=F("size"))
        asked_for = {"actor_name": current().name[:150], "actor_id": current().user_id}
        waiting = {"state": State.FINISHING, "lease_until": None, "checked": 0, "problem": ""}
        if not complete.update(**waiting, **asked_for, modified=now()):
            raise refusal_of(row)
        wake(job_tasks.finish_uploads)
    return None


def upload_delete(upload: ImageUpload) -> None:
    """Forget an upload and what has come of it. Raises Conflict while it is being put together."""
    _abandon([upload], cutoff=None)
    if ImageUpload.objects.filter(pk=upload.pk).exists():
        raise Conflict(BEING_FINISHED)


def uploads_collect() -> int:
    """Remove uploads to which nothing came for a day, also what is left of finished ones; returns how many."""
    cutoff = now() - ABANDONED_AFTER
    return _abandon(ImageUpload.objects.filter(modified__lt=cutoff)[:500], cutoff=cutoff)


def _abandon(uploads: Iterable[ImageUpload], *, cutoff: datetime | None) -> int:
    """Close uploads to further parts first, then remove their parts, then their rows."""
    moment, removed = now(), 0
    idle = ~Q(state=State.FINISHING) | Q(lease_until__lt=moment)
    for row in uploads:
        with transaction.atomic():
            rows = ImageUpload.objects.filter(idle, pk=row.pk)
            mine = rows.filter(modified__lt=cutoff) if cutoff else rows
            if not mine.update(state=State.ABANDONED):
                continue
        files.remove_parts(row.pk)
        removed += ImageUpload.objects.filter(pk=row.pk, state=State.ABANDONED).delete()[0] > 0
    return removed
