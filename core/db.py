"""Everything that knows which database is underneath: claims, bulk writes, constraint names."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, models, transaction


def is_postgresql() -> bool:
    """Tell whether the default database is PostgreSQL."""
    return connection.vendor == "postgresql"


# What PostgreSQL calls a serialization failure and a deadlock (its manual, appendix A).
_LOST_RACES = frozenset({"40001", "40P01"})


def lost_race(error: OperationalError) -> bool:
    """Tell whether the database ended a transaction in favour of another one, so that it can simply be repeated."""
    return getattr(error.__cause__, "sqlstate", None) in _LOST_RACES


@contextlib.contextmanager
def claiming() -> Iterator[None]:
    """Hold what `claim` returned until the block ends.

    On PostgreSQL the block is a transaction and the claim is its row locks, so that a killed worker's rows are
    free at once. SQLite has a single writer for the whole database: there the block holds nothing and the
    writes inside must compare-and-set, which they do anyway.
    """
    if is_postgresql():
        with transaction.atomic():
            yield
    else:
        yield


def claim(queryset: models.QuerySet[Any], *, wait: bool = False) -> models.QuerySet[Any]:
    """Lock the rows of `queryset` for this worker; without `wait`, rows another worker holds are passed over."""
    if is_postgresql():
        return queryset.select_for_update(skip_locked=not wait, of=("self",), no_key=True)
    return queryset


def locked(queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """Lock rows until the transaction ends. SQLite's IMMEDIATE transaction has locked everything already."""
    if is_postgresql():
        return queryset.select_for_update(of=("self",), no_key=True)
    return queryset


def in_turn(name: str, *, shared: bool = False) -> None:
    """Wait for every other transaction that called this with `name`; with `shared`, for those without it only.

    Statements that touch many rows lock them in no particular order; two of them at once could each hold what the
    other needs. SQLite's single writer has settled that already. Call it inside a transaction.
    """
    if is_postgresql():
        with connection.cursor() as cursor:
            function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            cursor.execute(f"SELECT {function}(hashtext(%s))", [name])


def bulk_set(
    model: type[models.Model], fields: Sequence[str], rows: Sequence[tuple[Any, Sequence[Any]]]
) -> None:
    """Write `fields` of many rows, each `(primary key, values)`, in one prepared round trip.

    Django's `bulk_update` builds a CASE per row and field; a prepared statement costs a tenth of it.
    """
    if not rows:
        return
    meta = model._meta
    columns: list[Any] = [meta.get_field(name) for name in fields]
    primary: Any = meta.pk
    quote = connection.ops.quote_name
    assignments = ", ".join(f"{quote(column.column)} = %s" for column in columns)
    sql = f"UPDATE {quote(meta.db_table)} SET {assignments} WHERE {quote(primary.column)} = %s"  # noqa: S608
    parameters = [
        [column.get_db_prep_save(value, connection) for column, value in zip(columns, values, strict=True)]
        + [primary.get_db_prep_value(key, connection)]
        for key, values in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, parameters)


def uuid_parameter(value: Any) -> Any:
    """Return a UUID as the driver wants it in raw SQL (SQLite stores 32 hex digits)."""
    return models.UUIDField().get_db_prep_value(value, connection)


def uuid_value(raw: Any) -> UUID | None:
    """Return what raw SQL gave for a UUID column as a UUID."""
    return raw if raw is None or isinstance(raw, UUID) else UUID(raw)
