"""Removing images that no boot configuration names.

An image is kept while any stored configuration names it, or any version of one that can still be brought back: whoever
restores a version gets a device that boots. A build is kept or removed as a whole. Invariant: nothing goes that is
named when it goes. Configurations are written in a turn (`references.TURN`) that the removal has for itself; what was
written since it began to look is looked at inside that turn.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from boot.images import services
from boot.images.references import TURN, Named, versions_after
from boot.models_images import Image, ImageFile
from core.clock import now
from core.db import in_turn

WRITING_TAKES = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Collected:
    """What went, or would go: images, and how many bytes nobody has any more."""

    images: tuple[Image, ...]
    size: int


def _nothing() -> None:
    """What happens between the two looks, but in tests."""


def _group_of(image: Image) -> tuple[Any, ...]:
    if image.build_id:
        return (image.key_id, image.recipe, image.build_id)
    return (image.pk,)


def _unnamed(images: Iterable[Image], named: Named) -> list[Image]:
    """Return the images of groups of which nothing is named."""
    groups: dict[tuple[Any, ...], list[Image]] = defaultdict(list)
    for image in images:
        groups[_group_of(image)].append(image)
    return [
        image
        for group in groups.values()
        if not any(named.by(one, key_id=one.key.key_id if one.key else None) for one in group)
        for image in group
    ]


def _young_builds(images: list[Image], cutoff: Any) -> set[tuple[Any, ...]]:
    return {_group_of(image) for image in images if image.created >= cutoff}


def images_collect(
    *, dry_run: bool = False, days: int | None = None, between: Callable[[], None] = _nothing
) -> Collected:
    """Remove images older than `days` (the installation's own number) that nothing names; 0 days keeps all.

    `between` is called after the first look and before the removal, for tests of what is written at that moment.
    """
    days = settings.MUSTER.image_days if days is None else days
    if not days:
        return Collected((), 0)
    seen, named = versions_after(set())
    images = list(Image.objects.select_related("file", "key").order_by("created"))
    young = _young_builds(images, now() - timedelta(days=days))
    doomed = [image for image in _unnamed(images, named) if _group_of(image) not in young]
    between()
    if dry_run or not doomed:
        return Collected(tuple(doomed), _size_of(doomed, images))
    with transaction.atomic():
        in_turn(TURN)
        _, since = versions_after(seen)
        # What has gone to another key meanwhile may be named there.
        where = dict(Image.objects.filter(pk__in=[image.pk for image in doomed]).values_list("pk", "key_id"))
        doomed = [one for one in _unnamed(doomed, since) if where.get(one.pk, one) == one.key_id]
        gone = services.images_drop([image.pk for image in doomed])
    for kept in gone:
        services.file_remove(kept)
    return Collected(tuple(doomed), sum(kept.size for kept in gone))


def _size_of(doomed: list[Image], images: list[Image]) -> int:
    """Return how many bytes go with these images: those that no other image has."""
    going: set[UUID] = {image.pk for image in doomed}
    staying = {image.file_id for image in images if image.pk not in going}
    return sum({image.file_id: image.file.size for image in doomed if image.file_id not in staying}.values())


def files_collect() -> int:
    """Remove bytes without an image: of organizations that are gone, of writers that died; returns how many."""
    lost = ImageFile.objects.filter(images=None)
    written = lost.filter(state=ImageFile.State.READY)
    killed = lost.filter(state=ImageFile.State.WRITING, created__lt=now() - WRITING_TAKES)
    rows = [*written[:500], *killed[:500]]
    for kept in rows:
        services.file_remove(kept)
    return len(rows)
