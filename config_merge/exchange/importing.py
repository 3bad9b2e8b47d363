"""A table of devices in: all of it or nothing, with the rules of people's own edits.

Rows that are plainly in order are written many at once (`services.many`), the others by the service of one device,
which also says what is wrong with them. A rehearsal does the very same in small transactions that are undone, so it
finds what the import would be refused for without holding the database for long. What is computed from the new rows is
left to the background.

Invariant: all locks are taken before the first row is written, each kind in one order, whatever the order of the file;
a transaction the database ends in favour of another is repeated.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, ValidationError
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from config_merge import tasks
from config_merge.exchange.catalogue import Catalogue
from config_merge.exchange.columns import COLUMNS, CONFIG_PARTS
from config_merge.exchange.files import FileRefused, TableRow
from config_merge.exchange.plan import NEW, UPDATE, Plan, plan_of
from config_merge.models import Config
from config_merge.services import configs, many, recompute, stale
from core.db import in_turn, locked, lost_race
from core.errors import Conflict, Forbidden
from core.wake import wake
from devices.models import Device, FleetSettings
from tenancy import audit

ACTIONS = ("new", "update", "same", "error")
ATTEMPTS = 3
# How many rows are checked in one transaction, how many that are one by one an import may have, and after how many with
# errors the others are not looked at: all three because a row that is not plainly in order costs 20 to 40 ms.
REHEARSED = 100
MOST_SINGLE = 250
MOST_ERRORS = 250
TOO_MANY_SINGLE = (
    f"More than {MOST_SINGLE} rows move devices to another organization, or give them the name, address or key that "
    "another device has had; import those in parts."
)
MOVED = "The device has been moved to another organization meanwhile."
T = TypeVar("T")
Progress = Callable[[int], None]
_COLUMN_OF = {part: column for column, part in CONFIG_PARTS.items()}


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did or would do; `applied` tells which. Columns in `ignored` are nobody's.

    The last `unchecked` rows have only been planned, since there were too many errors before them.
    """

    applied: bool
    plans: tuple[Plan, ...]
    ignored: tuple[str, ...]
    unchecked: int = 0

    @property
    def totals(self) -> dict[str, int]:
        """How many rows come to what."""
        actions = [plan.action for plan in self.plans]
        return {action: actions.count(action) for action in ACTIONS}

    def body(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "applied": self.applied,
            "totals": self.totals,
            "unchecked": self.unchecked,
            "ignored_columns": list(self.ignored),
            "rows": [
                {
                    "row": plan.number,
                    "name": plan.name,
                    "action": plan.action,
                    "errors": plan.errors,
                    "diff": plan.diff,
                }
                for plan in self.plans
            ],
        }


class _Undo(Exception):
    """Leaves a transaction whose writes are not wanted."""


def import_devices(
    rows: Sequence[TableRow], *, user: Any, rehearse: bool, progress: Progress | None = None, name: str = ""
) -> Report:
    """Import rows, or with `rehearse` only find out what would happen. Raises FileRefused.

    One error in any row and nothing is written. `progress` is told how many rows are through. `name` is what the
    audit trail calls the table.
    """
    check_table(rows)
    tell = progress or (lambda done: None)
    return attempted(lambda: _imported(rows, user=user, rehearse=rehearse, tell=tell, name=name))


def check_table(rows: Sequence[TableRow]) -> None:
    """Refuse a table that is no list of devices, whatever its cells say. Raises FileRefused."""
    if not rows:
        raise FileRefused("There are no rows below the names of the columns.")
    known = {column for row in rows for column in row.cells}
    if not known & set(COLUMNS):
        raise FileRefused(f"None of the columns is one of a table of devices ({', '.join(COLUMNS[:3])}, …).")
    if not _suffices(known):
        raise FileRefused("The columns name, mac_address and organization (or organization_id) are needed.")


def attempted(work: Callable[[], T]) -> T:
    """Do `work`, again when its transaction lost to another one; inside a transaction that is its caller's business."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except OperationalError as error:
            if attempt == ATTEMPTS or connection.in_atomic_block or not lost_race(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _imported(rows: Sequence[TableRow], *, user: Any, rehearse: bool, tell: Progress, name: str) -> Report:
    catalogue = Catalogue(user=user, rows=rows)
    plans = [plan_of(row, catalogue) for row in rows]
    _check_together(plans, catalogue)
    ignored = tuple(sorted({column[:64] for row in rows for column in row.cells.keys() - set(COLUMNS)}))
    if rehearse or any(plan.errors for plan in plans):
        unchecked = _rehearse(plans, user=user, tell=tell)
        return Report(False, tuple(plans), ignored, unchecked)
    try:
        with transaction.atomic(), recompute.computed_later():
            _wait_for_other_imports(plans)
            _lock_rows(plans)
            single = 0
            for start in range(0, len(plans), many.BATCH):
                single += _carry_out(plans[start : start + many.BATCH], user=user)
                _check_single(single)
                tell(min(start + many.BATCH, len(plans)))
            if any(plan.errors for plan in plans):
                raise _Undo
            _audit(plans, name=name)
            wake(tasks.recompute_stale)
    except _Undo:
        return Report(False, tuple(plans), ignored)
    return Report(True, tuple(plans), ignored)


def _suffices(columns: set[str]) -> bool:
    named = {"name", "mac_address"} <= columns and bool({"organization", "organization_id"} & columns)
    return named or "id" in columns


def _rehearse(plans: Sequence[Plan], *, user: Any, tell: Progress) -> int:
    """Write the rows and undo it, some at a time; returns how many at the end were left out. Raises FileRefused."""
    single = errors = 0
    for start in range(0, len(plans), REHEARSED):
        part = plans[start : start + REHEARSED]
        try:
            with transaction.atomic(), recompute.computed_later():
                _lock_rows(part)
                single += _carry_out(part, user=user)
                raise _Undo
        except _Undo:
            tell(start + len(part))
        _check_single(single)
        errors += sum(bool(plan.errors) for plan in part)
        if errors > MOST_ERRORS:
            return len(plans) - start - len(part)
    return 0


def _check_single(count: int) -> None:
    if count > MOST_SINGLE:
        raise FileRefused(TOO_MANY_SINGLE)


def _wait_for_other_imports(plans: Sequence[Plan]) -> None:
    """Let one import at a time into each organization; nothing else that is awaited is held meanwhile."""
    places = {plan.organization.pk for plan in plans if plan.organization is not None}
    places |= {plan.device.organization_id for plan in plans if plan.device is not None}
    for pk in sorted(places):
        in_turn(f"config_merge.import.{pk}")


def _lock_rows(plans: Sequence[Plan]) -> None:
    """Lock what the plans change: devices, limits, configurations, as every single edit does, each kind by its key.

    A device that has been moved since it was planned is refused: the person may have no say where it is now.
    """
    stale.reading_templates()
    touched = {plan.device.pk: plan for plan in plans if plan.action == UPDATE and plan.device is not None}
    joining = {plan.organization.pk for plan in plans if plan.organization and "organization" in plan.fields}
    devices = locked(Device.objects.filter(pk__in=touched).order_by("pk"))
    places = dict(devices.values_list("pk", "organization_id"))
    limited = FleetSettings.objects.filter(pk__in=joining).exclude(device_limit=0).order_by("pk")
    list(locked(limited).values_list("pk"))
    list(locked(Config.objects.filter(device_id__in=touched).order_by("pk")).values_list("pk"))
    for pk, plan in touched.items():
        if (
            plan.device is not None
            and places.get(pk, plan.device.organization_id) != plan.device.organization_id
        ):
            plan.refuse(NON_FIELD_ERRORS, MOVED)


def _carry_out(plans: Sequence[Plan], *, user: Any) -> int:
    """Write many rows at once; those that are not plainly in order go to the service of one device.

    What that refuses becomes the row's errors. Returns how many rows it wrote.
    """
    asked = {
        many.Wanted(plan.fields, plan.config, plan.device.pk if plan.device is not None else None): plan
        for plan in plans
        if plan.action in (NEW, UPDATE)
    }
    left = [asked[item] for item in many.managed_devices_write(list(asked), actor_id=user.pk)]
    for plan in left:
        for column, messages in _refusals(plan, user=user):
            plan.refuse(column, *messages)
    return sum(not plan.errors for plan in left)


def _refusals(plan: Plan, *, user: Any) -> Iterator[tuple[str, list[str]]]:
    config = dict(plan.config) or None
    try:
        if plan.device is None:
            configs.managed_device_create(config=config, actor_id=user.pk, **plan.fields)
        else:
            configs.managed_device_update(plan.device, config=config, actor_id=user.pk, **plan.fields)
    except configs.ConfigInvalid as error:
        found = error.error.message_dict if hasattr(error.error, "error_dict") else {}
        for part, messages in (found or {NON_FIELD_ERRORS: error.error.messages}).items():
            yield _COLUMN_OF.get(part, "config_data"), messages
    except ValidationError as error:
        if hasattr(error, "error_dict"):
            yield from error.message_dict.items()
        else:
            yield NON_FIELD_ERRORS, error.messages
    except (Forbidden, Conflict) as error:
        yield NON_FIELD_ERRORS, [str(error)]
    except IntegrityError:
        yield NON_FIELD_ERRORS, ["It conflicts with another object."]
    except DataError:
        yield NON_FIELD_ERRORS, ["A value cannot be stored."]
    except ObjectDoesNotExist:
        yield NON_FIELD_ERRORS, ["The device does not exist any more."]


def _check_together(plans: Sequence[Plan], catalogue: Catalogue) -> None:
    """Find what only shows when rows are looked at together: repetitions, and limits they exceed jointly."""
    seen: dict[tuple[Any, ...], int] = {}
    joining: dict[UUID, list[Plan]] = defaultdict(list)
    for plan in plans:
        if plan.errors or plan.organization is None:
            continue
        organization_id = plan.organization.pk
        values = {
            name: str(plan.fields.get(name) or getattr(plan.device, name, ""))
            for name in ("name", "mac_address")
        }
        places: list[tuple[str, tuple[Any, ...]]] = [
            ("name", ("name", organization_id, values["name"].lower())),
            ("mac_address", ("mac_address", organization_id, values["mac_address"].upper())),
        ]
        if plan.device is not None:
            places.append(("id", ("id", plan.device.pk)))
        if plan.fields.get("key"):
            places.append(("key", ("key", plan.fields["key"])))
        for column, place in places:
            first = seen.setdefault(place, plan.number)
            if first != plan.number:
                plan.refuse(column, f"Row {first} says the same.")
        if "organization" in plan.fields and not plan.errors:
            joining[organization_id].append(plan)
    for organization_id, room in catalogue.room(joining).items():
        if room is not None:
            for plan in joining[organization_id][room:]:
                assert plan.organization is not None  # noqa: S101 - only such rows join
                plan.refuse(
                    NON_FIELD_ERRORS,
                    f"The maximum number of devices allowed for {plan.organization.name} has been reached.",
                )


def _audit(plans: Sequence[Plan], *, name: str) -> None:
    """Write one line per organization beside those the services write per device."""
    counts: dict[UUID, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ACTIONS, 0))
    for plan in plans:
        if plan.organization is not None:
            counts[plan.organization.pk][plan.action] += 1
    for organization_id, found in counts.items():
        changes = {action: (None, count) for action, count in found.items() if count}
        audit.record("devices.imported", organization_id=organization_id, changes=changes, name=name)
