"""Everything that knows which database is underneath: claims, bulk writes, constraint names."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, connections, models, transaction

from core.clock import now

# Primary keys that one statement names.
MOST_KEYS = 500


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


def let_others_write(*, after: float) -> None:
    """Leave a gap after a transaction of `after` seconds in which writers that wait for SQLite get their turn.

    They do not queue up, they look now and then: after 50 ms at most, and after 100 ms when they have waited for 228 ms
    (sqlite3.c, `sqliteDefaultBusyCallback`). One transaction after the other would let them wait for the last. Call
    it outside a transaction.
    """
    if not is_postgresql():
        time.sleep(0.05 if after < 0.22 else 0.1)


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
    """Write `fields` of many rows, each `(primary key, values)`; no row may be there twice.

    Django's `bulk_update` builds a CASE per row and field. Here PostgreSQL takes one statement for all rows, SQLite one
    for those that get equal values and a prepared one for the others.
    """
    if not rows:
        return
    columns: list[Any] = [model._meta.get_field(name) for name in fields]
    keys = _prepared(_primary(model), [key for key, _ in rows])
    given = zip(*(values for _, values in rows), strict=True)
    prepared = [_prepared(column, values) for column, values in zip(columns, given, strict=True)]
    if is_postgresql():
        _set_at_once(model, columns, keys, prepared)
    else:
        _set_alike(model, columns, keys, prepared)


def _primary(model: type[models.Model]) -> Any:
    return model._meta.pk


def _set_at_once(
    model: type[models.Model], columns: Sequence[Any], keys: list[Any], prepared: Sequence[list[Any]]
) -> None:
    quote, primary = connection.ops.quote_name, _primary(model)
    parts = [_unnested(c, values) for c, values in zip([*columns, primary], [*prepared, keys], strict=True)]
    table = ", ".join(f"{sql} AS given_{number}" for number, (sql, _) in enumerate(parts))
    assignments = ", ".join(f"{quote(c.column)} = given_{number}" for number, c in enumerate(columns))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(model._meta.db_table)} SET {assignments} FROM (SELECT {table}) AS given "  # noqa: S608
            f"WHERE {quote(primary.column)} = given_{len(columns)}",
            [parameter for _, parameter in parts],
        )


def _set_alike(
    model: type[models.Model], columns: Sequence[Any], keys: list[Any], prepared: Sequence[list[Any]]
) -> None:
    quote, primary = connection.ops.quote_name, _primary(model)
    assignments = ", ".join(f"{quote(column.column)} = %s" for column in columns)
    sql = f"UPDATE {quote(model._meta.db_table)} SET {assignments} WHERE {quote(primary.column)}"  # noqa: S608
    alike: dict[tuple[Any, ...], list[Any]] = {}
    for key, *values in zip(keys, *prepared, strict=True):
        alike.setdefault(tuple(values), []).append(key)
    with connection.cursor() as cursor:
        for given, same in alike.items():
            for start in range(0, len(same) if len(same) > 1 else 0, MOST_KEYS):
                some = same[start : start + MOST_KEYS]
                cursor.execute(f"{sql} IN ({', '.join(['%s'] * len(some))})", [*given, *some])
        if alone := [(*given, *same) for given, same in alike.items() if len(same) == 1]:
            cursor.executemany(f"{sql} = %s", alone)


def bulk_insert(model: type[models.Model], fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, each the values of `fields` (names of attributes, as `config_id`), with one statement.

    The other fields get their defaults. Django's `bulk_create` prepares every value of every row, and wants an object
    for each; here a value that many rows share is prepared once. Signals are not sent.
    """
    if not rows:
        return
    meta = model._meta
    given = dict(zip(fields, zip(*rows, strict=True), strict=True))
    # Keys that nobody names are the database's to give.
    columns: list[Any] = [
        column
        for column in meta.concrete_fields
        if column.attname in given or not isinstance(column, models.AutoField)
    ]
    if unknown := given.keys() - {column.attname for column in meta.concrete_fields}:
        raise ValueError(f"{meta.label} has no {', '.join(sorted(unknown))}")
    quote = connection.ops.quote_name
    into = f"INSERT INTO {quote(meta.db_table)} ({', '.join(quote(column.column) for column in columns)})"
    prepared = [_prepared(c, given.get(c.attname) or [_default(c)] * len(rows)) for c in columns]
    with connection.cursor() as cursor:
        if is_postgresql():
            parts = [_unnested(column, values) for column, values in zip(columns, prepared, strict=True)]
            selected = ", ".join(sql for sql, _ in parts)
            # Rows that are all the same (but for keys that the database gives) are no less of them.
            is_one = all(not sql.startswith("unnest") for sql, _ in parts)
            rest = f" FROM generate_series(1, {len(rows)})" if is_one else ""
            cursor.execute(f"{into} SELECT {selected}{rest}", [parameter for _, parameter in parts])
        else:
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"{into} VALUES ({marks})", list(zip(*prepared, strict=True)))


def bulk_insert_objects(objects: Sequence[models.Model]) -> None:
    """Insert new objects of one model, as `bulk_insert`; keys that the database gives are not read back."""
    if not objects:
        return
    model = type(objects[0])
    by_database = isinstance(model._meta.pk, models.AutoField) and objects[0].pk is None
    fields = [
        column for column in model._meta.concrete_fields if column is not model._meta.pk or not by_database
    ]
    at = now()
    for column in fields:
        if getattr(column, "auto_now", False) or getattr(column, "auto_now_add", False):
            for each in objects:
                setattr(each, column.attname, at)
    names = [column.attname for column in fields]
    bulk_insert(model, names, [[getattr(each, name) for name in names] for each in objects])
    for each in objects:
        each._state.adding, each._state.db = False, connection.alias


def _unnested(column: Any, values: list[Any]) -> tuple[str, Any]:
    """Return SQL (PostgreSQL's) of a column of values, and its parameter; what all rows share is sent once.

    The type is without its length: a cast to that would cut what is too long, where storing it is an error.
    """
    kind = column.db_type(connection).partition("(")[0]
    if len(values) > 1 and all(value is values[0] for value in values):
        return f"%s::{kind}", values[0]
    return f"unnest(%s::{kind}[])", values


def _default(column: Any) -> Any:
    """Return what a column that nobody names holds in a new row."""
    if getattr(column, "auto_now", False) or getattr(column, "auto_now_add", False):
        return now()
    return column.get_default()


def _prepared(column: Any, values: Sequence[Any]) -> list[Any]:
    """Return a column's values as the driver wants them."""
    # The connection itself: its proxy asks for the thread at every look.
    real = connections[connection.alias]
    is_native = real.features.has_native_uuid_field
    known: dict[int, Any] = {}
    out = []
    for value in values:
        if type(value) is UUID:
            out.append(value if is_native else value.hex)
            continue
        # By identity: `values` keeps the objects, so no two of them have one id.
        if id(value) not in known:
            known[id(value)] = column.get_db_prep_save(value, real)
        out.append(known[id(value)])
    return out


def greatest(left: str, right: str) -> str:
    """Return SQL of the greater of two expressions, which are not null."""
    return f"{'GREATEST' if is_postgresql() else 'MAX'}({left}, {right})"


def least(left: str, right: str) -> str:
    """Return SQL of the smaller of two expressions, which are not null."""
    return f"{'LEAST' if is_postgresql() else 'MIN'}({left}, {right})"


def rows_of(rows: int, columns: int) -> str:
    """Return SQL of a table of parameters, whose columns are named `column1`, `column2` and so on."""
    row = f"({', '.join(['%s'] * columns)})"
    return f"(VALUES {', '.join([row] * rows)})"


def time_parameter(value: Any) -> Any:
    """Return an aware time as the driver wants it in raw SQL (SQLite stores text)."""
    return connection.ops.adapt_datetimefield_value(value)


# Making a field costs more than what is asked of it.
_UUID: Any = models.UUIDField()


def uuid_parameter(value: Any) -> Any:
    """Return a UUID as the driver wants it in raw SQL (SQLite stores 32 hex digits)."""
    return _UUID.get_db_prep_value(value, connection)


def uuid_value(raw: Any) -> UUID | None:
    """Return what raw SQL gave for a UUID column as a UUID."""
    return raw if raw is None or isinstance(raw, UUID) else UUID(raw)
