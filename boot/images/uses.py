"""Which boot configurations name one image, in force or among the versions that can be brought back.

What names it is decided by `references.Named`, as everywhere; here everybody who does is told, not only that somebody
does. Configurations are ciphertext, so looking means reading all of them, one after the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from boot.images.references import Named
from boot.models import BootConfig, BootVersion
from boot.models_images import Image
from boot.queries import boot_configs_visible_to, boot_versions_visible_to
from tenancy.models import ApiKey


@dataclass(frozen=True, slots=True)
class Use:
    """A device of a key whose configuration names an image in version `number`, which is in force or was.

    `config` is the id of the device's configuration, None when it is deleted.
    """

    api_key: ApiKey
    device: str
    number: int
    in_force: bool
    config: UUID | None


def uses(image: Image, *, configs: QuerySet[BootConfig], versions: QuerySet[BootVersion]) -> Iterator[Use]:
    """Yield who names an image: first what is in force, then the newest version of each device that has it no more.

    Ordered by device and key. Of an organization's own image only that organization's configurations are looked at.
    Two queries.
    """
    if image.organization_id is not None:
        configs = configs.filter(organization=image.organization_id)
        versions = versions.filter(organization=image.organization_id)
    found = set()
    for config in configs.select_related("api_key").order_by("device", "api_key_id").iterator():
        if _names(config, image):
            found.add((config.api_key_id, config.device))
            yield Use(config.api_key, config.device, config.number, True, config.pk)
    own = BootConfig.objects.filter(api_key=OuterRef("api_key"), device=OuterRef("device")).order_by()
    earlier: Any = (
        versions.exclude(body="")
        .filter(~Exists(own.filter(number=OuterRef("number"))))
        .annotate(config=Subquery(own.values("pk")[:1]))
        .select_related("api_key")
        .order_by("device", "api_key_id", "-number")
    )
    for version in earlier.iterator():
        name = version.api_key_id, version.device
        if name not in found and _names(version, image):
            found.add(name)
            yield Use(version.api_key, version.device, version.number, False, version.config)


def uses_visible_to(user: Any, image: Image) -> Iterator[Use]:
    """Yield those of the organizations `user` belongs to; a global image others may use as well."""
    return uses(image, configs=boot_configs_visible_to(user), versions=boot_versions_visible_to(user))


def is_much(user: Any, *, most: int) -> bool:
    """Tell whether `uses_visible_to` would have more than `most` versions to read (one query, as far as it takes)."""
    return boot_versions_visible_to(user).order_by()[most : most + 1].exists()


def first_use(image: Image) -> Use | None:
    """Return who keeps an image from being deleted, whoever's it is, None when nobody does."""
    everywhere = uses(image, configs=BootConfig.objects.all(), versions=BootVersion.objects.all())
    return next(everywhere, None)


def _names(row: BootConfig | BootVersion, image: Image) -> bool:
    named = Named()
    named.add(row.document or {}, key_id=row.api_key.key_id, device=row.device)
    return named.by(image, key_id=image.key.key_id if image.key is not None else None) is not None
