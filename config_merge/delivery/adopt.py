"""Accepting what somebody edited on a device by hand: asked for, shown, and only then made the device's own.

Invariant: nothing is written before a person has seen what would be; what is accepted is what was seen, told by the
digest the device names. How edits become settings is in `engine.adopt_settings` and `engine.adopt_tree`.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from config_merge import inputs
from config_merge.engine import EngineError, File, device_changed, speaks_dsa
from config_merge.engine.adopt_settings import Adopted, settings_adopted, settings_remaining
from config_merge.engine.adopt_tree import OPENWRT, tree_adopted
from config_merge.inputs import Standing
from config_merge.models import Config, ConfigRevision, Managed
from config_merge.queries import files_in
from config_merge.services import configs, places
from config_merge.services.comparison import Preview, Tally
from core.errors import Conflict, Forbidden
from devices.link import calls
from devices.link.rpc import RpcError
from devices.models import Device
from devices.services import DEACTIVATED, RETIRED
from tenancy import audit

MOST_FILES = 1_000
Files = Mapping[str, str | None]


class Silent(Conflict):
    """The device cannot be asked now; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a device has: its files (None: it has no such file), and the digest it names."""

    files: dict[str, str | None] = field(repr=False)
    actual: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What accepting would do: the change, what it cannot express, and the effect on the files the device is given.

    `actual` is the digest of what it was made from, `version` the settings' version for a device that a site manages.
    """

    adopted: Adopted = field(repr=False)
    actual: str
    preview: Preview = field(repr=False)
    version: UUID | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to accept."""
        return not self.preview.changed


def ask(device: Device) -> Found:
    """Ask a device what it has. Blocks; never on an event loop. Raises Silent with words for people."""
    try:
        told = calls.call(device.pk, "config.read", {})
    except calls.NotReachable as error:
        raise Silent(
            f"The device cannot be asked what it has: {str(error)[:1].lower()}{str(error)[1:]}"
        ) from error
    except RpcError as error:
        raise Silent(
            f"The device refuses to say what it has: {error.message[:200]} ({error.code})"
        ) from error
    return _checked(told)


def _checked(told: Any) -> Found:
    files = told.get("files") if isinstance(told, dict) else None
    actual = told.get("actual") if isinstance(told, dict) else None
    is_sound = (
        isinstance(files, dict)
        and len(files) <= MOST_FILES
        and all(
            isinstance(path, str) and (text is None or isinstance(text, str)) for path, text in files.items()
        )
    )
    if not is_sound or not isinstance(files, dict):
        raise Silent("The device's answer cannot be understood.")
    return Found(dict(files), actual if isinstance(actual, str) else "")


def is_whole(found: Found) -> bool:
    """Tell whether a device counts its files as they are: then all in them is the controller's.

    A file that was merged into the device's own counts as something else (docs/link-protocol.md, *Drift*).
    """
    lines = []
    for path, text in sorted(found.files.items()):
        digest = (
            hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text is not None else "-"
        )
        lines.append(f"{digest}  {path}\n")
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest() == found.actual


def propose(device: Device, found: Found) -> Proposal:
    """Return what accepting what a device has would do. Writes nothing. Raises Conflict, Forbidden, ValidationError."""
    config = Config.objects.select_related("revision").filter(device_id=device.pk).first()
    standing = _standing(device, config)
    assert config is not None  # noqa: S101 - refused in _standing
    if config.managed_by == Managed.SITE and standing.place is not None:
        adopted, then = _of_settings(standing, found)
        version = standing.place.version
    else:
        adopted, then = _of_tree(standing, found, config)
        version = None
    tally = Tally()
    tally.add(standing, then)
    return Proposal(adopted, found.actual, tally.result(), version)


def _standing(device: Device, config: Config | None) -> Standing:
    """Return the rows of a device that can accept something. Raises Conflict, Forbidden."""
    if device.is_deactivated:
        raise Forbidden(DEACTIVATED)
    if device.is_retired:
        raise Forbidden(RETIRED)
    if config is None or config.revision_id is None:
        raise Conflict("The device has no configuration that it could differ from.")
    if config.is_stale or config.checksum != config.applied_checksum:
        raise Conflict("The device has yet to get its configuration: what it has now will be replaced.")
    (standing,) = inputs.standings([config])
    if standing.place is not None and standing.place.hold:
        raise Forbidden("The device is suspended, blocked or decommissioned: its settings cannot be changed.")
    return standing


def _of_settings(standing: Standing, found: Found) -> tuple[Adopted, Standing]:
    """Return the change of a site-managed device's settings, and the rows as they would be."""
    place = standing.place
    assert place is not None  # noqa: S101 - the caller has looked
    site = place.site.settings if place.inherits else {}
    merged = standing.inputs().merged
    assert merged is not None  # noqa: S101 - a site manages it
    known: dict[str, Any] = {"whole": is_whole(found), "wanted": merged.values, "site": site}
    adopted = settings_adopted(found.files, own=place.settings, **known)
    then = copy.copy(place)
    then.settings = device_changed(place.settings, adopted.changes, site=site)
    remaining = settings_remaining(found.files, own=then.settings, defaults=place.site.defaults, **known)
    named = {name for name, _ in adopted.left_out}
    more = [
        (key, "the device would be given something else all the same")
        for key in remaining
        if key not in named
    ]
    return Adopted(adopted.changes, (*adopted.left_out, *more)), _with(standing, place=then)


def _of_tree(standing: Standing, found: Found, config: Config) -> tuple[Adopted, Standing]:
    """Return a template-managed device's own configuration as it would be, and the rows with it."""
    if config.backend != OPENWRT:
        raise Conflict("Only configurations for OpenWrt can be read back.")
    device = standing.device
    sent = files_in(bytes(_revision_of(config).artefact))

    def rendered(own: Mapping[str, Any]) -> Sequence[File]:
        return _with_own(standing, own).inputs().artefact().files

    adopted = tree_adopted(
        found.files,
        whole=is_whole(found),
        sent=sent,
        own=config.config,
        rendered=rendered,
        dsa=speaks_dsa(device.os),
    )
    return adopted, _with_own(standing, adopted.changes)


def _revision_of(config: Config) -> ConfigRevision:
    revision = config.revision
    if revision is None:
        raise Conflict("The device has no configuration that it could differ from.")
    return revision


def _with(standing: Standing, **changes: Any) -> Standing:
    rows = {name: getattr(standing, name) for name in Standing.__slots__}
    return Standing(**{**rows, **changes})


def _with_own(standing: Standing, own: Mapping[str, Any]) -> Standing:
    config = copy.copy(standing.config)
    config.config = dict(own)
    return _with(standing, config=config)


@transaction.atomic
def accept(device: Device, found: Found, *, seen: str, actor_id: UUID | None = None) -> Proposal:
    """Make what a device has its own, if it is still what was `seen` (the digest of the proposal).

    Raises Conflict when it is something else by now, and what `propose` raises.
    """
    if found.actual != seen:
        raise Conflict("The device has something else by now: look at the proposal again.")
    proposal = propose(device, found)
    if proposal.is_empty:
        raise Conflict("There is nothing to accept: the device would be given the same files.")
    try:
        if proposal.version is not None:
            _accept_settings(device, proposal, actor_id=actor_id)
        else:
            config = Config.objects.get(device_id=device.pk)
            with configs.config_errors():
                configs.config_update(config, config=proposal.adopted.changes, actor_id=actor_id)
    except EngineError as error:
        raise ValidationError(str(error)) from error
    left = len(proposal.adopted.left_out)
    told: dict[str, tuple[Any, Any]] = {"actual": (None, seen), "left_out": (None, left)}
    audit.record("config.drift_accepted", device, organization_id=device.organization_id, changes=told)
    return proposal


def _accept_settings(device: Device, proposal: Proposal, *, actor_id: UUID | None) -> None:
    place = places.checked_place(places.proposed_place(device, site=None))
    outcome = places.place_settings_change(
        place, proposal.adopted.changes, version=proposal.version, actor_id=actor_id
    )
    if outcome.is_stale or outcome.is_suspended:
        raise Conflict("The device's settings were changed meanwhile: look at the proposal again.")
