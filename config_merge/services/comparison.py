"""What configurations are now against what they would be: the machinery of a preview, without a word on what changes.

Invariant: nothing is written and nothing locked. Each configuration is computed from rows in memory by the code that
computes the stored ones, so a preview cannot disagree with what the change does.
"""

import hashlib
import logging
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from config_merge.engine import Artefact, EngineError, File, diff_files, validate
from config_merge.hiding import Secrecy, files_hidden, hidden_once_more, revision_secrets
from config_merge.inputs import Inputs, Standing, standings
from config_merge.models import Config
from config_merge.queries import files_in
from config_merge.services.recompute import UNEXPECTED

logger = logging.getLogger(__name__)
CHUNK = 200
SHOWN_GROUPS = 50
SHOWN_DEVICES = 20
SHOWN_FAILURES = 100
# Distinct diffs beyond these are counted, not kept: a change of a variable gives each device one of its own.
KEPT_DIFFS = 500
_PLACE = re.compile(r"^@@ .*? @@", re.M)

# From what a device is to what it would be; `Progress` is told how many devices are done.
Proposal = Callable[[Standing], Standing]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Affected:
    """A device in words, and whose it is."""

    device_id: UUID
    name: str
    organization_id: UUID


@dataclass(frozen=True, slots=True)
class Failure:
    """A device that would not get a valid configuration, and why."""

    device_id: UUID
    name: str
    message: str
    organization_id: UUID


@dataclass(frozen=True, slots=True)
class DiffGroup:
    """Devices to which the same happens; `devices` are the first twenty of them.

    `diff` is the unified diff of the first device's files (without context lines), `hidden` the same with secrets as
    marks: redacting the files and not the diff is what finds a private key of which only a part changed. `owners`
    are the organizations whose secrets may stand in the diff (None: shared objects), `tenants` those of the devices.
    The last group may sum up what was too much to show; its texts are empty.
    """

    count: int
    devices: tuple[Affected, ...]
    diff: str = field(repr=False)
    hidden: str = field(repr=False, default="")
    owners: frozenset[UUID | None] = frozenset()
    tenants: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do: `total` = `changed` + `unchanged` + `failed` devices; the biggest group comes first."""

    total: int
    changed: int
    unchanged: int
    failed: int
    groups: tuple[DiffGroup, ...]
    failures: tuple[Failure, ...]


@dataclass(slots=True)
class _Group:
    count: int = 0
    devices: list[Affected] = field(default_factory=list)
    diff: str = ""
    hidden: str = ""
    owners: set[UUID | None] = field(default_factory=set)
    tenants: set[UUID] = field(default_factory=set)


@dataclass(slots=True)
class Tally:
    """Adds up one device after the other; memory stays bounded however many there are."""

    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    secrecy: Secrecy = field(default_factory=Secrecy, repr=False)
    _groups: dict[bytes, _Group] = field(default_factory=dict)
    _rest: _Group = field(default_factory=_Group)

    @property
    def total(self) -> int:
        """How many devices were looked at."""
        return self.changed + self.unchanged + self.failed

    @property
    def words_wanted(self) -> bool:
        """Whether the next device's failure would be shown; good words take ten times as long as the verdict."""
        return len(self.failures) < SHOWN_FAILURES

    def add(self, now: Standing | None, then: Standing) -> None:
        """Compare one device; `now` is None when it has no configuration yet."""
        held = now.device if now else then.device
        who = Affected(then.device.pk, held.name, held.organization_id)
        found = judged(now, then, worded=self.words_wanted)
        if found.problem:
            self.fail(who, found.problem, found.wanted)
        elif found.change is None:
            self.unchanged += 1
        else:
            self._compare(who, found.wanted, found.change)

    def _compare(self, who: Affected, wanted: Inputs, change: "Change") -> None:
        self.changed += 1
        current, kept, old, new = change.current, change.kept, change.old, change.new
        diff = diff_files(old, new, context=0)
        # The same change stands at another line on a device with other neighbours.
        key = hashlib.sha256(_PLACE.sub("@@", diff).encode("utf-8", "surrogatepass")).digest()
        group = self._groups.get(key)
        if group is None and len(self._groups) < KEPT_DIFFS:
            secrets = self._secrets(wanted, current) | kept
            hidden = diff_files(files_hidden(old, secrets), files_hidden(new, secrets), context=0)
            group = self._groups[key] = _Group(diff=diff, hidden=hidden)
        elif group is not None:
            # What is no secret of the first device may be one of this.
            group.hidden = hidden_once_more(group.hidden, self._secrets(wanted, current) | kept)
        group = group or self._rest
        group.count += 1
        group.tenants.add(who.organization_id)
        for item in (wanted, current):
            if item is not None:
                group.owners |= self.secrecy.owners(item)
                group.tenants |= item.owners
        if len(group.devices) < SHOWN_DEVICES:
            group.devices.append(who)

    def _secrets(self, wanted: Inputs, current: Inputs | None) -> frozenset[str]:
        return self.secrecy.secrets(wanted) | (self.secrecy.secrets(current) if current else frozenset())

    def fail(self, who: Affected, message: str, item: Inputs | None = None) -> None:
        """Count a device that would not get a valid configuration; no message quotes a secret."""
        self.failed += 1
        if self.words_wanted:
            shown = self.secrecy.words(item, message) if item else message
            self.failures.append(Failure(who.device_id, who.name, shown, who.organization_id))

    def result(self) -> Preview:
        """Return the sums; what does not fit among the groups that are shown is summed up in a last one."""
        ranked = sorted(self._groups.values(), key=lambda group: -group.count)
        shown = ranked[:SHOWN_GROUPS]
        rest = _Group()
        for group in (*ranked[SHOWN_GROUPS:], self._rest):
            rest.count += group.count
            rest.devices += group.devices[: SHOWN_DEVICES - len(rest.devices)]
            rest.tenants |= group.tenants
        return Preview(
            total=self.total,
            changed=self.changed,
            unchanged=self.unchanged,
            failed=self.failed,
            groups=tuple(
                DiffGroup(
                    group.count,
                    tuple(group.devices),
                    group.diff,
                    group.hidden,
                    frozenset(group.owners),
                    frozenset(group.tenants),
                )
                for group in (*shown, rest)
                if group.count
            ),
            failures=tuple(self.failures),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """The files a device would get in place of the old; `kept` are secrets in those that may be no others' any more."""

    current: Inputs | None
    old: Sequence[File] = field(repr=False)
    new: Sequence[File] = field(repr=False)
    kept: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would become of one device: a `problem` (which may quote secrets), a `change` of its files, or nothing."""

    wanted: Inputs
    problem: str = field(default="", repr=False)
    change: Change | None = None


def judged(now: Standing | None, then: Standing, *, worded: bool = True) -> Verdict:
    """Compare what a device would get with what it gets; `now` is None when it has no configuration yet.

    Without `worded` a problem is only said to be there, which is ten times as fast.
    """
    wanted = then.inputs()
    outcome = _computed(wanted, worded=worded)
    if isinstance(outcome, str):
        return Verdict(wanted, outcome)
    if now is not None and _is_held(now.config, outcome.artefact):
        return Verdict(wanted)
    current = now.inputs() if now else None
    (old, kept), new = _current_files(now, current), outcome.artefact.files
    if {file.path: file for file in old} == {file.path: file for file in new}:
        return Verdict(wanted)
    if problem := _refused(wanted, outcome.tree, worded=worded):
        return Verdict(wanted, problem)
    return Verdict(wanted, change=Change(current, old, new, kept))


@dataclass(frozen=True, slots=True)
class _Computed:
    artefact: Artefact
    tree: dict[str, Any]


def _computed(item: Inputs, *, worded: bool = True) -> _Computed | str:
    """Return what a configuration merges and renders to, or why it does not."""
    try:
        effective = item.effective()
        try:
            return _Computed(item.artefact(effective), effective.tree)
        except EngineError as error:
            return item.refused(error, effective, worded=worded)
    except EngineError as error:
        return str(error)
    except Exception:
        # Whatever is wrong with one device's data must not stop the other devices' turn.
        logger.exception("a configuration cannot be previewed", extra={"config": str(item.config_id)})
        return UNEXPECTED


def _refused(item: Inputs, tree: dict[str, Any], *, worded: bool) -> str:
    """Return what the back end's schema refuses, "" when nothing; settings were checked one by one."""
    if item.merged is not None:
        return ""
    try:
        validate(backend=item.backend, tree=tree, worded=worded)
    except EngineError as error:
        return str(error)
    return ""


def _is_held(config: Config, artefact: Artefact) -> bool:
    return not config.is_stale and not config.problem and artefact.md5 == config.checksum


def _current_files(now: Standing | None, current: Inputs | None) -> tuple[Sequence[File], frozenset[str]]:
    """Return the files the device gets as things stand; of one that cannot be computed, those it got last.

    Beside them the secrets that those last files hold and that may be no others' any more.
    """
    if now is None or current is None:
        return (), frozenset()
    outcome = _computed(current, worded=False)
    if isinstance(outcome, _Computed):
        return outcome.artefact.files, frozenset()
    revision = now.config.revision
    if revision is None:
        return (), frozenset()
    try:
        return files_in(bytes(revision.artefact)), revision_secrets(revision.inputs)
    except (tarfile.TarError, OSError):
        return (), frozenset()


def compared(
    config_ids: Sequence[UUID], proposal: Proposal, *, tally: Tally, progress: Progress | None = None
) -> None:
    """Add the configurations to the tally, chunk by chunk; `progress` is told how many are done."""
    for start in range(0, len(config_ids), CHUNK):
        chunk = list(_read(config_ids[start : start + CHUNK], tally))
        tally.secrecy.learn({now.device.organization_id for now in chunk})
        for now in chunk:
            tally.add(now, proposal(now))
        tally.secrecy.forget()
        if progress is not None:
            progress(min(start + CHUNK, len(config_ids)))


def _read(config_ids: Sequence[UUID], tally: Tally) -> Iterator[Standing]:
    """Read a chunk of configurations; one that cannot be decrypted fails alone."""
    try:
        found = standings(Config.objects.filter(pk__in=config_ids).order_by("device__name", "pk"))
    except (ImproperlyConfigured, ValueError):
        if len(config_ids) > 1:
            for config_id in config_ids:
                yield from _read([config_id], tally)
            return
        rows = Config.objects.filter(pk__in=config_ids)
        for row in rows.values_list("device_id", "device__name", "device__organization_id"):
            tally.fail(Affected(*row), UNEXPECTED)
        return
    yield from found
