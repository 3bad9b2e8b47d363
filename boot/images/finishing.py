"""Putting the parts of an upload together: read once, hashed, written as one file, and made an image.

A small upload is finished in the request that asks for it; a large one by a worker, one at a time in the whole
installation, so that other background work has its turn. Invariant: whoever does it holds a lease that it renews; when
it dies, the parts are still there and somebody else begins anew.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from boot.images import files
from boot.images.queries import Space, parts_of
from boot.images.services import image_write
from boot.models_images import Image, ImagePart, ImageUpload
from core.acting import Actor, acting_as, current
from core.clock import now
from core.db import in_turn
from core.errors import Conflict
from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)
AT_ONCE = 64 << 20
LEASE = timedelta(minutes=2)
BEAT_SECONDS = 3.0
TURN = "boot.uploads.finish"
NOT_OPEN = "The upload is {state}."
INCOMPLETE = "{missing:,} bytes have not come yet."
BEING_FINISHED = "The upload is being put together; ask for it again in a moment."
BROKEN_OFF = "It could not be put together; the server's log says why. Finish it again."
State = ImageUpload.State


class _Lost(Exception):
    """Somebody else has taken the upload over."""


class Lease:
    """The claim on an upload, renewed while its bytes are read; `checked` is how many of them have been."""

    def __init__(self, row: ImageUpload, until: datetime) -> None:
        self._pk, self.until = row.pk, until
        self.checked = 0
        self.is_lost = False

    def held(self) -> QuerySet[ImageUpload]:
        """Return the upload unless it is not ours any more."""
        return ImageUpload.objects.filter(pk=self._pk, state=State.FINISHING, lease_until=self.until)

    def renew(self) -> None:
        """Hold it for longer, and say how far it is."""
        until = now() + LEASE
        if self.held().update(lease_until=until, checked=self.checked):
            self.until = until
        else:
            self.is_lost = True

    def counted(self, portions: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the portions while they are counted. Raises _Lost. No queries: the storage may read in a thread."""
        for portion in portions:
            if self.is_lost:
                raise _Lost
            self.checked += len(portion)
            yield portion

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the lease every few seconds until the block ends."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_SECONDS):
                try:
                    self.renew()
                except DATABASE_ERRORS:
                    logger.warning("the lease of an upload cannot be renewed now", exc_info=True)
                finally:
                    connection.close()

        thread = threading.Thread(target=beat, name="upload-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def space_of(upload: ImageUpload) -> Space:
    """Return the space an upload goes to."""
    return Space(upload.organization, upload.key)


def _loaded(pk: Any) -> ImageUpload:
    return ImageUpload.objects.select_related("image__file", "organization", "key").get(pk=pk)


def _unclaimed(moment: datetime) -> Q:
    return Q(state=State.FINISHING) & (Q(lease_until=None) | Q(lease_until__lt=moment))


def upload_finish(upload: ImageUpload) -> Image:
    """Put the parts together and return the image; twice is the same as once. Raises Conflict, ValidationError.

    A process that dies on the way leaves the parts, and a worker begins anew once its lease is over. Call it outside
    of transactions.
    """
    row = _loaded(upload.pk)
    if row.state == State.FINISHED and row.image is not None:
        return row.image
    moment = now()
    asked_for = {"actor_name": current().name[:150], "actor_id": current().user_id}
    free = Q(state=State.OPEN, received=F("size")) | (_unclaimed(moment) & Q(lease_until__isnull=False))
    if not _claim(ImageUpload.objects.filter(free, pk=row.pk), moment, **asked_for):
        raise refusal_of(row)
    return _put_together(row, Lease(row, moment + LEASE))


def _claim(rows: QuerySet[ImageUpload], moment: datetime, **columns: Any) -> int:
    claimed = {"state": State.FINISHING, "lease_until": moment + LEASE, "checked": 0, "problem": ""}
    return rows.update(**claimed, modified=moment, **columns)


def refusal_of(upload: ImageUpload) -> Conflict:
    """Return why an upload cannot be finished now."""
    row = ImageUpload.objects.get(pk=upload.pk)
    if row.state == State.OPEN:
        return Conflict(INCOMPLETE.format(missing=row.size - row.received))
    if row.state == State.FINISHING:
        return Conflict(BEING_FINISHED)
    return Conflict(NOT_OPEN.format(state=row.get_state_display().lower()))


def _put_together(row: ImageUpload, lease: Lease) -> Image:
    try:
        with lease.beating():
            image = image_write(
                space_of(row),
                row.path,
                lease.counted(files.joined(list(parts_of(row.pk)))),
                size=row.size,
                md5=row.md5,
                sha256=row.sha256,
                promised=row.size,
            )
    except ValidationError as error:
        _end(lease, row, State.FAILED, problem=" ".join(error.messages))
        raise
    except _Lost as lost:
        raise Conflict(BEING_FINISHED) from lost
    except BaseException:
        lease.held().update(state=State.OPEN, lease_until=None, problem=BROKEN_OFF)
        raise
    _end(lease, row, State.FINISHED, image=image)
    return image


def _end(
    lease: Lease, row: ImageUpload, state: str, *, image: Image | None = None, problem: str = ""
) -> None:
    """Write down how it ended, then remove the parts."""
    ended = {"state": state, "image": image, "problem": problem[:200], "lease_until": None}
    if lease.held().update(**ended, checked=row.size, modified=now()):
        ImagePart.objects.filter(upload=row.pk).delete()
        files.remove_parts(row.pk)


def uploads_finish() -> bool:
    """Put the upload together that has waited longest; tells whether another one waits. The worker's."""
    row = _next()
    if row is None:
        return False
    actor = Actor(name=row.actor_name or "system", via="job", user_id=row.actor_id)
    with acting_as(actor):
        try:
            _put_together(row, Lease(row, row.lease_until or now()))
        except (ValidationError, Conflict):
            pass  # the row says so
        except Exception:
            # The next one need not wait for that.
            logger.exception("an upload cannot be put together", extra={"upload": str(row.pk)})
    return ImageUpload.objects.filter(_unclaimed(now())).exists()


@transaction.atomic
def _next() -> ImageUpload | None:
    """Claim the upload that has waited longest, unless a large one is being worked on."""
    in_turn(TURN)
    moment = now()
    if ImageUpload.objects.filter(state=State.FINISHING, lease_until__gte=moment, size__gt=AT_ONCE).exists():
        return None
    found = ImageUpload.objects.filter(_unclaimed(moment)).order_by("modified", "pk").first()
    if found is None or not _claim(ImageUpload.objects.filter(_unclaimed(moment), pk=found.pk), moment):
        return None
    return _loaded(found.pk)
