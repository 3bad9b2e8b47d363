"""Works out what applying an archive will change, and how to take it back, before anything is touched.

Invariant: pure but for the `read` it is given. Undoing what the controller put there and then laying the new
configuration over it is one computation, so options and files the controller dropped become pristine again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from muster_agent.archive import UCI_DIRECTORY, Member, is_uci_path
from muster_agent.errors import ConfigurationRejected
from muster_agent.merge import PackageRecord, SectionRecord, merge, unmerge, without_stock_wifi
from muster_agent.settings import ApplyMode
from muster_agent.tree import FileImage
from muster_agent.uci import Package, UciError, Value, parse, render

WIRELESS = f"{UCI_DIRECTORY}/wireless"
Json = dict[str, object]


@dataclass(frozen=True)
class WholeRecord:
    """A file the controller owns entirely; `original` is what was there before (None: nothing)."""

    original: FileImage | None


Record = WholeRecord | PackageRecord


@dataclass(frozen=True)
class Managed:
    """What the controller has put on this device: a record per file, and the directories made for them."""

    files: dict[str, Record] = field(default_factory=dict)
    directories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One file, before and after. None: the file is absent."""

    path: str
    before: FileImage | None
    after: FileImage | None


@dataclass(frozen=True)
class Transaction:
    """Everything an apply does: undo log, redo log, and the records that hold once it is committed.

    `task` and `attempt` are whom its result is told; None when it was fetched by polling.
    """

    checksum: str
    changes: tuple[Change, ...]
    managed: Managed
    new_directories: tuple[str, ...] = ()
    old_directories: tuple[str, ...] = ()
    task: str | None = None
    attempt: int | None = None

    @property
    def changed_packages(self) -> tuple[str, ...]:
        """Names of the UCI packages whose file changes: the services to reload."""
        return tuple(change.path.rsplit("/", 1)[1] for change in self.changes if is_uci_path(change.path))


def plan(
    members: Iterable[Member],
    *,
    checksum: str,
    managed: Managed,
    mode: ApplyMode,
    read: Callable[[str], FileImage | None],
    missing_parents: Callable[[str], tuple[str, ...]],
) -> Transaction:
    """The transaction that makes the tree what `members` say.

    Raises ConfigurationRejected when a file of the device that has to be merged is not valid UCI.
    """
    wanted = {member.path: member for member in members}
    paths = sorted({*wanted, *managed.files, *_stock_wifi_paths(read)})
    changes: list[Change] = []
    records: dict[str, Record] = {}
    directories: dict[str, None] = {}
    for path in paths:
        before = read(path)
        base = _undo(path, before, managed.files.get(path))
        after, record = _lay_over(path, base, wanted.get(path), mode)
        if record is not None:
            records[path] = record
        if after != before and not _same_uci(path, before, after):
            changes.append(Change(path=path, before=before, after=after))
            if after is not None:
                directories.update(dict.fromkeys(missing_parents(path)))
    new = tuple(directories)
    known = tuple(sorted({*managed.directories, *new}))
    return Transaction(
        checksum=checksum,
        changes=tuple(changes),
        managed=Managed(files=records, directories=known),
        new_directories=new,
        old_directories=tuple(sorted(managed.directories, reverse=True)),
    )


def _stock_wifi_paths(read: Callable[[str], FileImage | None]) -> tuple[str, ...]:
    """The wireless file, for the stock Wi-Fi in it. Nobody sent it, so one out of reach stops nothing."""
    try:
        return (WIRELESS,) if read(WIRELESS) is not None else ()
    except ConfigurationRejected:
        return ()


def _undo(path: str, current: FileImage | None, record: Record | None) -> FileImage | None:
    if record is None:
        return current
    if isinstance(record, WholeRecord):
        return record.original
    if current is None:
        return None
    package = unmerge(_parse_local(path, current), record=record)
    return FileImage(data=render(package), mode=current.mode) if package is not None else None


def _lay_over(
    path: str, base: FileImage | None, member: Member | None, mode: ApplyMode
) -> tuple[FileImage | None, Record | None]:
    if member is None:
        return _unmanaged(path, base), None
    if mode == "overwrite" or not member.is_uci:
        return FileImage(data=member.data, mode=member.mode), WholeRecord(original=base)
    local = None
    if base is not None:
        cleaned = _without_stock_wifi(path, base) if path == WIRELESS else base
        local = _parse_local(path, cleaned)
    merged, record = merge(local, remote=parse(member.data))
    return FileImage(data=render(merged), mode=member.mode if base is None else base.mode), record


def _unmanaged(path: str, base: FileImage | None) -> FileImage | None:
    if path != WIRELESS or base is None:
        return base
    try:
        return _without_stock_wifi(path, base)
    except ConfigurationRejected:
        # Nobody asked to change this file: a damaged one must not keep other configuration out.
        return base


def _without_stock_wifi(path: str, image: FileImage) -> FileImage:
    package = _parse_local(path, image)
    cleaned = without_stock_wifi(package)
    return image if cleaned == package else FileImage(data=render(cleaned), mode=image.mode)


def _parse_local(path: str, image: FileImage) -> Package:
    try:
        return parse(image.data)
    except UciError as error:
        raise ConfigurationRejected(f"the device's own {path} is not valid UCI: {error}") from error


def _same_uci(path: str, before: FileImage | None, after: FileImage | None) -> bool:
    """Whether two UCI files differ only in comments and spacing: then the file, and its comments, stay."""
    if before is None or after is None or before.mode != after.mode or not is_uci_path(path):
        return False
    try:
        return parse(before.data) == parse(after.data)
    except UciError:
        return False


def managed_to_json(managed: Managed) -> Json:
    """For the disk; `managed_from_json` reads it back."""
    files: Json = {}
    for path, record in managed.files.items():
        if isinstance(record, WholeRecord):
            original = record.original
            files[path] = {"whole": original.to_json() if original is not None else None}
        else:
            sections = {
                name: {"type": section.type, "options": dict(section.options)}
                for name, section in record.sections.items()
            }
            files[path] = {"existed": record.existed, "sections": sections}
    return {"files": files, "directories": list(managed.directories)}


def managed_from_json(data: Json) -> Managed:
    """Raises KeyError, TypeError or ValueError on another shape."""
    files = {path: _record_from_json(record) for path, record in _mapping(data["files"]).items()}
    directories = data["directories"]
    if not isinstance(directories, list):
        raise TypeError("directories is not a list")
    return Managed(files=files, directories=tuple(str(item) for item in directories))


def _record_from_json(data: object) -> Record:
    record = _mapping(data)
    if "whole" in record:
        return WholeRecord(original=image_from_json(record["whole"]))
    sections: dict[str, SectionRecord] = {}
    for name, value in _mapping(record["sections"]).items():
        section = _mapping(value)
        options = {option: _value(original) for option, original in _mapping(section["options"]).items()}
        kind = section["type"]
        sections[name] = SectionRecord(type=None if kind is None else str(kind), options=options)
    return PackageRecord(existed=bool(record["existed"]), sections=sections)


def image_from_json(data: object) -> FileImage | None:
    """None, or a file. Raises KeyError, TypeError or ValueError on another shape."""
    return None if data is None else FileImage.from_json(_mapping(data))


def _value(data: object) -> Value | None:
    if isinstance(data, list):
        return tuple(str(item) for item in data)
    return None if data is None else str(data)


def _mapping(data: object) -> Json:
    if not isinstance(data, dict):
        raise TypeError("expected an object")
    return data
