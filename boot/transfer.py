"""Taking what one API key has over to another of the same organization: configurations, images, tracks.

A replaced key begins with nothing, since all three belong to a key. Invariant: one transaction does all of it or
nothing; bytes of images are not touched, only rows; what a path names is never replaced, and a configuration that is
replaced stays among the versions.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from boot.documents import IMAGES, SCRIPTS
from boot.editing import script_text
from boot.images.queries import Space
from boot.images.references import TURN, Named
from boot.images.services import images_drop, take_turn
from boot.models import BootConfig, BootVersion
from boot.models_images import Image
from boot.services import body_write, checked_body, config_drop, take_whole_turn
from core.db import in_turn, locked
from tenancy import audit
from tenancy.api_keys import living
from tenancy.models import ApiKey
from tracking.models import TrackedDevice

SAME_KEY = "Choose another key than the one it comes from."
FOREIGN = "Both keys must belong to the same organization."
IS_OVER = "This key is revoked or has expired: nothing boots with it."
IN_THE_WAY = "{target} has other things in {count} of these places already: skip or replace them."
IMAGE_STAYS = "There is another image at this path; what a path names never changes."
NAMES_KEY = (
    "A script or the free part names images by the old key's id, which the new key may not open: write `own`."
)

AGAIN = 5

Rows = dict[str, BootConfig]
Work = Callable[[], Any]


class Conflicts(StrEnum):
    """What becomes of places where the other key has something else."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


class Outcome(StrEnum):
    """What becomes of one thing."""

    COPIED = "copied"
    MOVED = "moved"
    REPLACED = "replaced"
    EQUAL = "equal"
    STAYS = "stays"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing: its kind ("config", "image" or "track"), its name, what becomes of it, and what to know about it."""

    kind: str
    name: str
    outcome: Outcome
    note: str = ""


@dataclass(slots=True)
class Transfer:
    """What is asked for, and line by line what it does or would do."""

    source: ApiKey
    target: ApiKey
    is_move: bool
    conflicts: Conflicts
    lines: list[Line] = field(default_factory=list)

    @property
    def is_possible(self) -> bool:
        """Whether nothing is in the way."""
        return not any(line.outcome == Outcome.CONFLICT for line in self.lines)

    def counts(self, kind: str) -> Counter[str]:
        """Return how many things of a kind have which outcome."""
        return Counter(str(line.outcome) for line in self.lines if line.kind == kind)

    @property
    def _taken(self) -> Outcome:
        return Outcome.MOVED if self.is_move else Outcome.COPIED

    def in_the_way(self, *, replaceable: bool) -> Outcome:
        """Return what becomes of something whose place is taken by something else."""
        if self.conflicts == Conflicts.SKIP:
            return Outcome.STAYS
        if self.conflicts == Conflicts.REPLACE and replaceable:
            return Outcome.REPLACED
        return Outcome.CONFLICT


def transfer(
    source: ApiKey,
    target: ApiKey,
    *,
    move: bool = False,
    conflicts: Conflicts = Conflicts.REFUSE,
    dry_run: bool = False,
) -> Transfer:
    """Copy or move everything of `source` to `target`; with `dry_run` only tell what that would do.

    A copied configuration is a new one, a moved one takes its versions along. Who writes configurations of either key
    waits meanwhile. Raises ValidationError, and then nothing has changed; a dry run tells of conflicts instead.
    """
    _check_keys(source, target)
    for _ in range(AGAIN):
        # Devices are heard of, and images uploaded, between the look and the writing; then we look again.
        with suppress(IntegrityError):
            return _transfer(Transfer(source, target, move, conflicts), dry_run=dry_run)
    return _transfer(Transfer(source, target, move, conflicts), dry_run=dry_run)


@transaction.atomic
def _transfer(asked: Transfer, *, dry_run: bool) -> Transfer:
    source, target, move = asked.source, asked.target, asked.is_move
    in_turn(f"boot transfer:{source.organization_id}")
    take_whole_turn(source.pk, target.pk)
    rows = _configs(source, target)
    in_turn(TURN, shared=True)
    take_turn(Space(source.organization, source))
    works = [*_plan_configs(asked, *rows), *_plan_images(asked, *rows), *_plan_tracks(asked)]
    if dry_run:
        return asked
    if not asked.is_possible:
        count = sum(line.outcome == Outcome.CONFLICT for line in asked.lines)
        raise ValidationError({"conflicts": IN_THE_WAY.format(target=target, count=count)})
    for work in works:
        work()
    changes: dict[str, tuple[Any, Any]] = {"from": (None, source.key_id), "to": (None, target.key_id)}
    changes |= {
        f"{kind}s": (None, dict(counts))
        for kind in ("config", "image", "track")
        if (counts := asked.counts(kind))
    }
    action = "api_key.contents_moved" if move else "api_key.contents_copied"
    audit.record(action, target, organization_id=target.organization_id, changes=changes)
    return asked


def _check_keys(source: ApiKey, target: ApiKey) -> None:
    if source.pk == target.pk:
        raise ValidationError({"to": SAME_KEY})
    if source.organization_id != target.organization_id:
        raise ValidationError({"to": FOREIGN})
    if not living(ApiKey.objects.filter(pk=target.pk)).exists():
        raise ValidationError({"to": IS_OVER})


def _configs(source: ApiKey, target: ApiKey) -> tuple[Rows, Rows]:
    """Lock the configurations of both keys, always in the same order; returns them by device."""
    found: dict[Any, Rows] = {source.pk: {}, target.pk: {}}
    for row in locked(BootConfig.objects.filter(api_key__in=(source, target))).order_by("pk"):
        found[row.api_key_id][row.device] = row
    return found[source.pk], found[target.pk]


# --- configurations -------------------------------------------------------------------------------------------


def _readdressed(document: dict[str, Any], source: ApiKey) -> dict[str, Any]:
    """Return a document whose images of the old key's own space are looked for in that of whoever asks."""
    old = f"/images/{source.key_id}/"
    changed = {
        name: {**document[name], "url": document[name]["url"].replace(old, "/images/own/")} for name in IMAGES
    }
    return {**document, **changed}


def _names_key(document: dict[str, Any], source: ApiKey) -> bool:
    texts = [*(script_text(document[name]) for name in SCRIPTS), checked_body({"config": document["config"]})]
    return any(f"/images/{source.key_id}" in text for text in texts)


def _plan_configs(asked: Transfer, ours: Rows, theirs: Rows) -> list[Work]:
    """Write down what becomes of each configuration; returns what has to be done for it."""
    source, target = asked.source, asked.target
    known = set(BootVersion.objects.filter(api_key=target).order_by().values_list("device", flat=True))
    gone = set()
    if asked.is_move:
        versions = BootVersion.objects.filter(api_key=source).order_by()
        gone = set(versions.values_list("device", flat=True)) - set(ours) - known
    works: list[Work] = []
    moving: list[tuple[BootConfig, str]] = []
    for device, row in sorted(ours.items()):
        document = _readdressed(row.document, source)
        body, there = checked_body(document), theirs.get(device)
        note = NAMES_KEY if _names_key(document, source) else ""
        if there is not None and there.body == body:
            outcome = Outcome.EQUAL
        elif there is not None:
            outcome = asked.in_the_way(replaceable=True)
        else:
            outcome = asked._taken
        asked.lines.append(Line("config", device, outcome, note))
        if outcome in (Outcome.STAYS, Outcome.CONFLICT):
            continue
        if outcome == Outcome.MOVED and device not in known:
            moving.append((row, body))
            continue
        if outcome != Outcome.EQUAL:
            new = BootConfig(api_key=target, organization_id=target.organization_id, device=device)
            works.append(partial(body_write, there or new, body))
        if asked.is_move:
            works.append(partial(config_drop, row))
    return [*works, lambda: _configs_move(asked, moving, gone)]


def _configs_move(asked: Transfer, moving: list[tuple[BootConfig, str]], gone: set[str]) -> None:
    """Give configurations the other key, with their versions; also the versions of what is deleted."""
    target = asked.target
    devices = sorted({row.device for row, _ in moving} | gone)
    for start in range(0, len(devices), 500):
        some = devices[start : start + 500]
        for model in (BootConfig, BootVersion):
            model._base_manager.filter(api_key=asked.source, device__in=some).update(api_key=target)
    changes = {"api_key": (asked.source.key_id, target.key_id)}
    audit.record_all(
        audit.event("boot_config.moved", row, organization_id=target.organization_id, changes=changes)
        for row, _ in moving
    )
    for row, body in moving:
        row.api_key = target
        if row.body != body:
            body_write(row, body)


# --- images ---------------------------------------------------------------------------------------------------


def _plan_images(asked: Transfer, ours: Rows, theirs: Rows) -> list[Work]:
    """Write down what becomes of each image; returns what has to be done for them."""
    there = dict(Image.objects.filter(key=asked.target).order_by().values_list("path", "file__sha256"))
    staying = {line.name for line in asked.lines if line.kind == "config" and line.outcome == Outcome.STAYS}
    named = Named()
    for device in staying:
        named.add(ours[device].document, key_id=asked.source.key_id, device=device)
    copied, moved, dropped = [], [], []
    for image in Image.objects.select_related("file").filter(key=asked.source).order_by("path"):
        note, keeps = "", named.by(image, key_id=asked.source.key_id)
        if image.path in there:
            is_equal = there[image.path] == image.file.sha256
            outcome = Outcome.EQUAL if is_equal else asked.in_the_way(replaceable=False)
            note = "" if is_equal else IMAGE_STAYS
            if is_equal and asked.is_move and not keeps:
                dropped.append(image)
        elif asked.is_move and not keeps:
            outcome = Outcome.MOVED
            moved.append(image)
        else:
            outcome = Outcome.COPIED
            copied.append(image)
            note = (
                f"It is also kept: the configuration of {keeps} stays and names it." if asked.is_move else ""
            )
        asked.lines.append(Line("image", image.path, outcome, note))
    return [lambda: _images_write(asked, copied, moved, dropped)]


def _images_write(asked: Transfer, copied: list[Image], moved: list[Image], dropped: list[Image]) -> None:
    """Copy, move and drop rows; bytes stay where they are."""
    target, same = asked.target, ("path", "file_id", "content_type", "recipe", "build_id", "organization_id")
    new = [Image(key=target, **{name: getattr(image, name) for name in same}) for image in copied]
    Image.objects.bulk_create(new, batch_size=500)
    for start in range(0, len(moved), 500):
        chunk = [image.pk for image in moved[start : start + 500]]
        Image.objects.filter(pk__in=chunk).update(key=target)
    changes = {"key": (asked.source.key_id, target.key_id)}
    for action, images in (("image.copied", new), ("image.moved", moved)):
        audit.record_all(
            audit.event(action, image, organization_id=target.organization_id, changes=changes)
            for image in images
        )
    images_drop([image.pk for image in dropped])


# --- tracks ---------------------------------------------------------------------------------------------------


def _plan_tracks(asked: Transfer) -> list[Work]:
    """Write down what becomes of each track: it goes along unless the other key has heard of the device itself."""
    known = set(
        TrackedDevice.objects.filter(api_key=asked.target).order_by().values_list("device", flat=True)
    )
    going = []
    for track in TrackedDevice.objects.filter(api_key=asked.source).order_by("device"):
        outcome = Outcome.STAYS if track.device in known else asked._taken
        asked.lines.append(Line("track", track.device, outcome))
        if outcome != Outcome.STAYS:
            going.append(track)
    return [lambda: _tracks_write(asked, going)]


def _tracks_write(asked: Transfer, going: list[TrackedDevice]) -> None:
    if asked.is_move:
        for start in range(0, len(going), 500):
            chunk = [track.pk for track in going[start : start + 500]]
            TrackedDevice.objects.filter(pk__in=chunk).update(api_key=asked.target)
        return
    own = {"id", "created", "modified", "api_key"}
    names = [one.attname for one in TrackedDevice._meta.concrete_fields if one.name not in own]
    TrackedDevice.objects.bulk_create(
        [
            TrackedDevice(api_key=asked.target, **{name: getattr(track, name) for name in names})
            for track in going
        ],
        batch_size=200,
    )
