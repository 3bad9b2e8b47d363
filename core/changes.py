"""Changing a few fields of a row that was loaded earlier, without undoing what others wrote to it meanwhile.

Invariant: what is validated and stored is the locked row of this transaction, and only columns that differ
from it are written; the caller's object is brought up to date and is never the source of a value.
"""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import models

from core.db import locked

Row = TypeVar("Row", bound=models.Model)


def changed_row(instance: Row, changes: dict[str, Any]) -> tuple[Row, Row]:
    """Lock the stored row of `instance`; return it with `changes` applied, and as it is stored.

    Call it inside the transaction that ends with `store`. Raises the model's DoesNotExist.
    """
    return _with(locked(type(instance)._base_manager.filter(pk=instance.pk)).get(), changes)


def proposed_row(instance: Row, changes: Mapping[str, Any]) -> tuple[Row, Row]:
    """Return the stored row of `instance` with `changes` applied, and as it is stored; locks and stores nothing.

    Raises the model's DoesNotExist.
    """
    return _with(type(instance)._base_manager.get(pk=instance.pk), changes)


def _with(row: Row, changes: Mapping[str, Any]) -> tuple[Row, Row]:
    before = copy.copy(row)
    for name, value in changes.items():
        setattr(row, name, value)
    return row, before


def store(row: Row, *, before: Row, onto: Row) -> frozenset[str]:
    """Save the columns of `row` that differ from `before`, copy all onto the caller's object; returns their names."""
    fields = row._meta.concrete_fields
    changed = frozenset(
        field.name for field in fields if getattr(row, field.attname) != getattr(before, field.attname)
    )
    if changed:
        stamped = {field.name for field in fields if getattr(field, "auto_now", False)}
        row.save(update_fields=changed | stamped)
    for field in fields:
        setattr(onto, field.attname, getattr(row, field.attname))
    onto._state.fields_cache.update(row._state.fields_cache)
    return changed
