"""Reads of images, uploads and limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Sum

from boot.models_images import Image, ImageFile, ImageLimits, ImagePart, ImageUpload
from tenancy.models import ApiKey, Organization
from tenancy.queries import organizations_visible_to, restrict

GIB = 1 << 30
COMING = (ImageUpload.State.OPEN, ImageUpload.State.FINISHING)
LARGEST, TOTAL = 4 * GIB, 64 * GIB


@dataclass(frozen=True, slots=True)
class Space:
    """Where a path means something: one API key's own images, or with None for both everybody's."""

    organization: Organization | None
    key: ApiKey | None


@dataclass(frozen=True, slots=True)
class Room:
    """How much an organization may keep and keeps, in bytes; `coming` is promised to uploads that are open."""

    largest: int
    total: int
    used: int
    coming: int

    @property
    def left(self) -> int:
        """What may still come."""
        return max(self.total - self.used - self.coming, 0)


def images_visible_to(user: Any) -> QuerySet[Image]:
    """Return the images of the user's organizations and the global ones."""
    return restrict(Image.objects.select_related("file", "key", "organization"), user, shared=True)


def uploads_visible_to(user: Any) -> QuerySet[ImageUpload]:
    """Return the uploads of the user's organizations; those to the global space only superusers see."""
    return restrict(ImageUpload.objects.select_related("key", "organization"), user)


def limits_visible_to(user: Any) -> QuerySet[Organization]:
    """Return the organizations whose limits the user may see."""
    return organizations_visible_to(user).select_related("image_limits")


def room_of(organization: Organization | None) -> Room:
    """Return what an organization may keep and keeps; the global space is only bounded in what one image may be."""
    if organization is None:
        return Room(LARGEST, 1 << 62, 0, 0)
    limits = ImageLimits.objects.filter(pk=organization.pk).first()
    used = ImageFile.objects.filter(organization=organization).aggregate(sum=Sum("size"))["sum"] or 0
    coming = (
        ImageUpload.objects.filter(organization=organization, state__in=COMING).aggregate(sum=Sum("size"))[
            "sum"
        ]
        or 0
    )
    largest, total = (limits.largest, limits.total) if limits else (LARGEST, TOTAL)
    return Room(largest, total, used, coming)


def parts_of(upload_id: UUID) -> Iterable[str]:
    """Return the names of an upload's parts in order."""
    return ImagePart.objects.filter(upload=upload_id).order_by("offset").values_list("name", flat=True)
