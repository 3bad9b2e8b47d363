"""Writes of images: stored at once, deleted, and what an organization may keep.

Invariant: an image row appears when its bytes are in the storage, and its bytes go when no row names them any more. The
storage is written and emptied outside of transactions; rows say before what is there and after what is gone.
"""

import os
import re
from collections.abc import Iterable
from typing import BinaryIO
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from boot.images import files, paths
from boot.images.queries import Space, room_of
from boot.images.references import TURN
from boot.images.uses import first_use
from boot.models_images import Image, ImageFile, ImageLimits
from core.changes import changed_row, store
from core.db import in_turn
from core.errors import Conflict
from tenancy import audit
from tenancy.models import Organization

IS_TAKEN = "There is an image with other bytes at this path already; what a path names never changes."
TOO_LARGE = "An image may have at most {largest:,} bytes here."
NO_ROOM = "There is no room for {size:,} bytes: {left:,} are left of {total:,}."
WRONG = "The bytes that came have the {name} {found}."
IS_NAMED = "The boot configuration of {device} names this image."
WAS_NAMED = (
    "Version {number} of the boot configuration of {device}, which can be brought back, names this image."
)
_HEX = re.compile(r"[0-9a-f]*")
BAD_PATH = (
    "Enter up to twelve names separated by slashes, each of at most 100 letters, digits and ._~+=,@-; none may begin "
    "with a dot."
)


def checked_path(path: str) -> str:
    """Return a path that may name an image. Raises ValidationError."""
    if not paths.is_path(path):
        raise ValidationError({"path": BAD_PATH})
    return path


def check_room(space: Space, *, size: int) -> None:
    """Refuse what is too large, or too much. Raises ValidationError. Call it in a transaction that has its turn."""
    room = room_of(space.organization)
    if size > room.largest:
        raise ValidationError({"size": TOO_LARGE.format(largest=room.largest)})
    if size > room.left:
        raise ValidationError({"size": NO_ROOM.format(size=size, left=room.left, total=room.total)})


def take_turn(space: Space) -> None:
    """Let nobody else store images of this organization until the transaction ends."""
    in_turn(f"{TURN}.{space.organization.pk if space.organization else paths.GLOBAL}")


def image_at(space: Space, path: str) -> Image | None:
    """Return the image a path names in a space."""
    return Image.objects.select_related("file").filter(key=space.key, path=path).first()


def image_write(
    space: Space,
    path: str,
    portions: Iterable[bytes],
    *,
    size: int,
    md5: str = "",
    sha256: str = "",
    promised: int = 0,
) -> Image:
    """Store bytes under a path, while they are hashed; equal bytes at that path already are the same image.

    `size` is how many may come at most; `md5` and `sha256` are checked when given. `promised` bytes of the room have
    been counted already. Raises ValidationError; then nothing is left of it. Call it outside of transactions.
    """
    kept = ImageFile.objects.create(organization=space.organization, name=files.new_name())
    try:
        written = files.write(kept.name, portions, limit=size)
        _check_digests(written, md5=md5, sha256=sha256)
        image = _image_add(space, path, kept, written, promised=promised)
    except files.TooMuch as error:
        file_remove(kept)
        raise ValidationError({"size": f"More than {size:,} bytes came."}) from error
    except BaseException:
        file_remove(kept)
        raise
    if image.file_id != kept.pk:
        file_remove(kept)
    return image


def image_store(space: Space, path: str, content: BinaryIO, *, md5: str = "", sha256: str = "") -> Image:
    """Store an image that has come in one piece (`image_write`). Raises ValidationError."""
    checked_path(path)
    expected = checked_digests(md5=md5, sha256=sha256)
    md5, sha256 = expected["md5"], expected["sha256"]
    content.seek(0, os.SEEK_END)
    size = content.tell()
    content.seek(0)
    check_room(space, size=size)
    return image_write(space, path, files.portions_of(content), size=size, md5=md5, sha256=sha256)


def checked_digests(*, md5: str, sha256: str) -> dict[str, str]:
    """Return digests in lower case. Raises ValidationError."""
    found = {}
    for field, digest, length in (("md5", md5, 32), ("sha256", sha256, 64)):
        found[field] = lowered = digest.lower()
        if lowered and (len(lowered) != length or not _HEX.fullmatch(lowered)):
            raise ValidationError({field: f"Enter {length} hexadecimal digits."})
    return found


def _check_digests(written: files.Written, *, md5: str, sha256: str) -> None:
    for name, field, expected, found in (
        ("MD5", "md5", md5, written.md5),
        ("SHA-256", "sha256", sha256, written.sha256),
    ):
        if expected and expected != found:
            raise ValidationError({field: WRONG.format(name=name, found=found)})


@transaction.atomic
def _image_add(space: Space, path: str, kept: ImageFile, written: files.Written, *, promised: int) -> Image:
    """Make the row of what has been written; equal bytes of the organization are shared with it."""
    take_turn(space)
    present = image_at(space, path)
    if present is not None:
        if present.file.sha256 != written.sha256:
            raise ValidationError({"path": IS_TAKEN})
        return present
    equal = ImageFile.objects.filter(
        organization=space.organization, sha256=written.sha256, state=ImageFile.State.READY
    )
    shared = equal.exclude(images=None).first()
    if shared is None:
        check_room(space, size=max(written.size - promised, 0))
        kept.name, kept.size = written.name, written.size
        kept.md5, kept.sha256, kept.state = written.md5, written.sha256, ImageFile.State.READY
        kept.save()
    place = paths.build_place(path)
    image = Image(
        organization=space.organization,
        key=space.key,
        path=path,
        file=shared or kept,
        content_type=paths.content_type_of(path),
        recipe=place.recipe if place else "",
        build_id=place.build_id if place else "",
    )
    image.full_clean()
    image.save(force_insert=True)
    shown = {"path": path, "space": space.key.key_id if space.key else paths.GLOBAL, "size": written.size}
    audit.record(
        "image.created",
        image,
        organization_id=image.organization_id,
        changes={
            name: (None, value)
            for name, value in {**shown, "md5": written.md5, "sha256": written.sha256}.items()
        },
    )
    return image


def image_delete(image: Image) -> None:
    """Delete an image that no boot configuration names, and its bytes when no other image has them. Raises Conflict."""
    with transaction.atomic():
        in_turn(TURN)
        use = first_use(image)
        if use is not None:
            reason = IS_NAMED if use.in_force else WAS_NAMED
            raise Conflict(reason.format(device=use.device, number=use.number))
        gone = images_drop([image.pk])
    for kept in gone:
        file_remove(kept)


def images_drop(keys: Iterable[UUID]) -> list[ImageFile]:
    """Delete image rows and return the files that nobody names now; call it in a transaction that has its turn."""
    found = Image.objects.filter(pk__in=list(keys))
    # Nobody may come to share bytes that go.
    for organization_id in sorted(set(found.values_list("organization_id", flat=True).order_by()), key=str):
        in_turn(f"{TURN}.{organization_id or paths.GLOBAL}")
    rows = list(found)
    audit.record_all(audit.event("image.deleted", row, organization_id=row.organization_id) for row in rows)
    Image.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return list(ImageFile.objects.filter(pk__in={row.file_id for row in rows}, images=None))


def file_remove(kept: ImageFile) -> None:
    """Remove bytes that no image names, then the row that said they were there."""
    files.remove(kept.name)
    ImageFile.objects.filter(pk=kept.pk, images=None).delete()


@transaction.atomic
def limits_update(
    organization: Organization, *, largest: int | None = None, total: int | None = None
) -> None:
    """Set how many bytes an organization may keep; what is not named stays. Raises ValidationError."""
    take_turn(Space(organization, None))
    room = room_of(organization)
    row, _ = ImageLimits.objects.get_or_create(
        organization=organization, defaults={"largest": room.largest, "total": room.total}
    )
    changes = {name: value for name, value in (("largest", largest), ("total", total)) if value is not None}
    stored, before = changed_row(row, changes)
    stored.full_clean()
    store(stored, before=before, onto=row)
    organization.image_limits = row
    if differing := audit.difference(before, stored):
        audit.record(
            "image_limits.changed",
            row,
            organization_id=organization.pk,
            changes=differing,
            name=organization.name,
        )
