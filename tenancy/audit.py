"""The audit trail: who did what to which object, written in the transaction that did it, and sealed into a chain.

`record` is one INSERT without a lock, so audited writers never wait for each other; `tenancy.audit_chain` seals what
has been committed (`docs/adr/0008`). Secrets never get here: what is written is their marks (`core.redaction`).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.db import models

from core.acting import current, request_id
from core.clock import now
from core.db import bulk_insert_objects
from core.redaction import is_secret_name, mark_of, redacted, redacted_text
from core.wake import wake
from tenancy import tasks
from tenancy.models import AuditEvent

NOTHING = frozenset({"modified", "created"})
# No more values than these are written of one change, and no more characters of one value.
MOST = 500
LONGEST = 2000
VARIABLES = frozenset({"context", "default_values"})
Changes = Mapping[str, tuple[Any, Any]]


def difference(before: models.Model, after: models.Model) -> dict[str, tuple[Any, Any]]:
    """Return the columns in which two states of a row differ, as (before, after); times of change do not count."""
    return {
        field.name: (getattr(before, field.attname), getattr(after, field.attname))
        for field in after._meta.concrete_fields
        if field.name not in NOTHING
        and not field.name.endswith("_digest")
        and getattr(before, field.attname) != getattr(after, field.attname)
    }


def contents(row: models.Model) -> dict[str, tuple[Any, Any]]:
    """Return a new row's columns that say anything, as changes from nothing."""
    return {
        field.name: (None, value)
        for field in row._meta.concrete_fields
        if field.name not in NOTHING
        and not field.name.endswith("_digest")
        and not field.primary_key
        and (value := getattr(row, field.attname)) not in (None, "", {}, [])
    }


def _shown(name: str, value: Any) -> Any:
    if value in (None, "", {}, []) or isinstance(value, bool):
        return value
    if is_secret_name(name) and not isinstance(value, dict | list | tuple):
        return mark_of(value)
    if isinstance(value, str):
        return value.replace("\x00", "")[:LONGEST]
    return value if isinstance(value, int | float) else str(value)


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a redacted tree by their path ("config/interfaces/0/name")."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if not entries:
        yield path, tree
        return
    for name, value in entries:
        yield from _leaves(value, f"{path}/{name}".replace("\x00", ""))


def _text_of(path: str, value: Any) -> Any:
    return redacted_text(value) if path.endswith("/contents") and isinstance(value, str) else value


def _hidden(field: str, tree: Any) -> Any:
    """Return a tree with marks; of variables all are, since any may end up in a password."""
    return redacted(tree, names=set(tree) if field in VARIABLES and isinstance(tree, dict) else set())


def _differences(field: str, old: Any, new: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield what changed of a field; of an object or a list, only the leaves that did."""
    if not (isinstance(old, dict | list | tuple) or isinstance(new, dict | list | tuple)):
        yield field, [_shown(field, old), _shown(field, new)]
        return
    before, after = (dict(_leaves(_hidden(field, tree), field)) for tree in (old, new))
    for path in dict.fromkeys((*before, *after)):
        was, is_now = before.get(path), after.get(path)
        if was != is_now and not (path == field and not was and not is_now):
            # The tree is redacted already: a secret's own name must not hide its mark once more.
            yield path, [_shown("", _text_of(path, was)), _shown("", _text_of(path, is_now))]


def _text(value: Any, length: int) -> str:
    return str(value).replace("\x00", "")[:length]


def record_change(kind: str, before: models.Model, after: models.Model, *, changes: Changes) -> None:
    """Write down that a row changed ("device" makes "device.changed"); one that moved leaves an event in both places.

    The new organization is not told where the row was, nor of what it belonged to there.
    """
    old, new = before.organization_id, after.organization_id  # type: ignore[attr-defined]
    if old != new:
        known = {field.name for field in after._meta.concrete_fields if field.is_relation}
        changes = {name: (None if name in known else was, is_now) for name, (was, is_now) in changes.items()}
        record(f"{kind}.moved_away", before, organization_id=old)
    record(f"{kind}.changed", after, organization_id=new, changes=changes)


def event(
    action: str,
    target: models.Model | None = None,
    *,
    organization_id: UUID | None,
    changes: Changes | None = None,
    name: str = "",
) -> AuditEvent:
    """Return the row that says it, not yet written; secrets in `changes` are marks (`core.redaction`)."""
    actor = current()
    differing = (_differences(field, old, new) for field, (old, new) in (changes or {}).items())
    shown = dict(itertools.islice(itertools.chain.from_iterable(differing), MOST))
    return AuditEvent(
        created=now(),
        organization_id=organization_id,
        actor_id=actor.user_id,
        actor_name=_text(actor.name, 150),
        via=actor.via,
        address=_text(actor.address, 45),
        request_id=_text(request_id.get(), 64),
        reason=_text(actor.reason, 256),
        action=action,
        target_type=target._meta.model_name or "" if target is not None else "",
        target_id=str(target.pk) if target is not None else "",
        target_name=_text(name or (target if target is not None else ""), 150),
        changes=shown,
    )


def record(
    action: str,
    target: models.Model | None = None,
    *,
    organization_id: UUID | None,
    changes: Changes | None = None,
    name: str = "",
) -> None:
    """Write down that the current actor did `action` ("device.changed") to `target`. One INSERT.

    Call it in the transaction of the change, as its last write; `name` is for targets whose `str` costs a query.
    """
    row = event(action, target, organization_id=organization_id, changes=changes, name=name)
    row.save(force_insert=True)
    # A fleet that registers does not ring once per device; the sweeper seals within two seconds.
    if row.via != "agent":
        wake(tasks.seal_audit)


def record_all(events: Iterable[AuditEvent]) -> None:
    """Write many rows at once (`event` makes them)."""
    if rows := list(events):
        bulk_insert_objects(rows)
        wake(tasks.seal_audit)
