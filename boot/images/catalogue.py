"""The builds of a space: which are complete, and the file that names what a build is made of (A7 of the spec)."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from boot.images import files, paths, services
from boot.images.queries import Space
from boot.models_images import Image

MOST_RECIPES = 64 << 10
LACKS = "This build has no {name}."
FAILED = "This build has failed."


@dataclass(frozen=True, slots=True)
class Build:
    """One recipe's result in one build; only complete ones are listed."""

    recipe: str
    build_id: str
    space: str
    organization: UUID | None
    files: tuple[Image, ...]

    def file(self, name: str) -> Image:
        """Return a file by its name. Raises StopIteration when there is none."""
        return next(image for image in self.files if image.path.endswith(f"/{name}"))


def _recipes_wanted(images: QuerySet[Image]) -> dict[UUID | None, frozenset[str]]:
    """Return the recipes that the spaces' own lists ask for, by key."""
    wanted = {}
    for image in images.filter(path=paths.RECIPES):
        with files.storage().open(image.file.name, "rb") as stream:
            text = stream.read(MOST_RECIPES).decode("utf-8", "replace")
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        wanted[image.key_id] = frozenset(line for line in lines if line)
    return wanted


def builds_of(images: QuerySet[Image], *, recipe: str = "", build_id: str = "") -> list[Build]:
    """Return the complete builds among images, newest first.

    A build id is listed when every recipe in it is complete and none has failed, and all recipes of the space's
    `autobuild/recipes.txt`, where there is one, are in it. Two queries, and one file for each such list.
    """
    found = images.exclude(build_id="").order_by("-build_id", "recipe", "path")
    if build_id:
        found = found.filter(build_id=build_id)
    wanted = _recipes_wanted(images)
    folders: dict[tuple[Any, str], dict[str, list[Image]]] = defaultdict(lambda: defaultdict(list))
    for image in found:
        folders[image.key_id, image.build_id][image.recipe].append(image)
    return [
        Build(name, number, row.key.key_id if row.key else paths.GLOBAL, row.organization_id, tuple(rows))
        for (key, number), recipes in folders.items()
        if wanted.get(key, frozenset()) <= set(recipes) and all(map(_is_complete, recipes.values()))
        for name, rows in recipes.items()
        for row in rows[:1]
        if not recipe or name == recipe
    ]


def _is_complete(rows: list[Image]) -> bool:
    names = {image.path.rpartition("/")[2] for image in rows}
    return names >= paths.PARTS and paths.FAILED not in names


def info_create(space: Space, *, recipe: str, build_id: str, origin: str) -> Image:
    """Write the `info.sh` of a build, as the original's build scripts do: addresses and digests of its two images.

    Addresses of a key's own images say `own`, so that no key stands in them. Raises ValidationError.
    """
    folder = paths.folder_of(recipe, build_id)
    services.checked_path(folder + paths.INFO)
    if services.image_at(space, folder + paths.FAILED) is not None:
        raise ValidationError({"build_id": FAILED})
    lines = [f"# {recipe} {build_id}"]
    word = paths.OWN if space.key else paths.GLOBAL
    lines.append(f"INFO={origin}/images/{word}/{folder}{paths.INFO}")
    for variable, name in (("INITFS", paths.INITFS), ("ROOTFS", paths.ROOTFS)):
        image = services.image_at(space, folder + name)
        if image is None:
            raise ValidationError({"build_id": LACKS.format(name=name)})
        lines.append(f"{variable}={origin}/images/{word}/{image.path}")
        lines.append(f"{variable}MD5={image.file.md5}")
    content = "\n".join([*lines, ""]).encode()
    return services.image_write(space, folder + paths.INFO, [content], size=len(content))


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A recipe's part of a build that is not complete: what it lacks, or that it has failed."""

    recipe: str
    build_id: str
    space: str
    key_id: UUID | None
    lacks: tuple[str, ...]
    has_failed: bool


def unfinished_of(images: QuerySet[Image], *, most: int = 50) -> list[Unfinished]:
    """Return what of builds is not complete, newest first. One query."""
    folders: dict[tuple[Any, str, str], list[Image]] = defaultdict(list)
    for image in images.exclude(build_id="").order_by("-build_id", "recipe", "path"):
        folders[image.key_id, image.build_id, image.recipe].append(image)
    found = []
    for (key_id, build_id, recipe), rows in folders.items():
        if _is_complete(rows):
            continue
        names = {image.path.rpartition("/")[2] for image in rows}
        space = rows[0].key.key_id if rows[0].key is not None else paths.GLOBAL
        lacks = tuple(sorted(paths.PARTS - names))
        found.append(Unfinished(recipe, build_id, space, key_id, lacks, paths.FAILED in names))
    return found[:most]
