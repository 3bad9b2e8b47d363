"""Finding rows by a part of a word, without reading the others: trigram indexes of both databases.

SQLite: a full-text table (FTS5, trigrams) beside the searched table, kept by triggers. PostgreSQL: pg_trgm, a trusted
extension; where even that is refused, searches work by reading the (narrow) table, and the next `migrate` tries again.
Terms of one or two letters have no trigram: they are looked for in the narrow table, row by row.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Any

from django.db import DatabaseError, connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from core import triggers

logger = logging.getLogger(__name__)
SHORTEST = 3
# No column is longer, and databases refuse patterns beyond some length.
LONGEST = 1000


def _index_of(table: str) -> str:
    return f"{table}_trigrams"


def _triggers(table: str, columns: Sequence[str]) -> list[triggers.Trigger]:
    """Return what keeps the full-text table: it must be told the old text to forget it."""
    index, names = _index_of(table), ", ".join(columns)
    old = ", ".join(f"OLD.{name}" for name in columns)
    new = ", ".join(f"NEW.{name}" for name in columns)
    forget = f"INSERT INTO {index} ({index}, rowid, {names}) VALUES ('delete', OLD.id, {old})"  # noqa: S608
    learn = f"INSERT INTO {index} (rowid, {names}) VALUES (NEW.id, {new})"  # noqa: S608
    events = (("INSERT", (learn,)), ("DELETE", (forget,)), (f"UPDATE OF {names}", (forget, learn)))
    return [
        triggers.Trigger(
            name=f"{index}_{event.split()[0].lower()}", table=table, event=event, statements=statements
        )
        for event, statements in events
    ]


def install(connection: BaseDatabaseWrapper, *, table: str, columns: Sequence[str]) -> None:
    """Index text `columns` of `table` (whose key `id` is an integer), unless that is done."""
    if connection.vendor == "postgresql":
        _install_postgresql(connection, table=table, columns=columns)
        return
    index = _index_of(table)
    triggers.run(
        connection,
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {index} USING fts5({', '.join(columns)}, "
        f"content='{table}', content_rowid='id', tokenize='trigram', columnsize=0)",
    )
    if triggers.install(connection, _triggers(table, columns)):
        triggers.run(connection, f"INSERT INTO {index} ({index}) VALUES ('rebuild')")  # noqa: S608


def _install_postgresql(connection: BaseDatabaseWrapper, *, table: str, columns: Sequence[str]) -> None:
    operators = ", ".join(f"{name} gin_trgm_ops" for name in columns)
    try:
        with transaction.atomic(using=connection.alias):
            triggers.run(
                connection,
                "CREATE EXTENSION IF NOT EXISTS pg_trgm",
                f"CREATE INDEX IF NOT EXISTS {_index_of(table)} ON {table} USING gin ({operators})",
            )
    except DatabaseError as error:
        logger.warning("searches will read whole tables, pg_trgm cannot be used: %s", str(error).strip())


def remove(connection: BaseDatabaseWrapper, *, table: str, columns: Sequence[str]) -> None:
    """Drop the index."""
    if connection.vendor == "postgresql":
        triggers.run(connection, f"DROP INDEX IF EXISTS {_index_of(table)}")
        return
    triggers.remove(connection, _triggers(table, columns))
    triggers.run(connection, f"DROP TABLE IF EXISTS {_index_of(table)}")


Wanted = Sequence[tuple[Sequence[str], Sequence[str]]]


def containing(
    rows: models.QuerySet[Any], wanted: Wanted, *, narrow: bool = False, tested: bool = False
) -> models.QuerySet[Any]:
    """Keep the rows that have, for each of `wanted`, any of its terms (lower case) in any of its indexed columns.

    `narrow` says that other conditions leave few rows, which then are read instead of the index; `tested` that the
    caller comes to the rows one by one (SQLite would look up all that match before the first).
    """
    if narrow and connection.vendor == "postgresql":
        # A word that nearly every row has would be looked up first: how many rows it leaves is only guessed there.
        plain = {name: f"plain_{name}" for columns, _ in wanted for name in columns}
        rows = rows.alias(
            **{alias: Coalesce(models.F(name), models.F(name)) for name, alias in plain.items()}
        )
        wanted = [([plain[name] for name in columns], terms) for columns, terms in wanted]
    if any(len(term) > LONGEST for _, terms in wanted for term in terms):
        return rows.none()
    indexed: list[str] = []
    for columns, terms in wanted:
        # Without the index only ASCII letters are compared without regard to case.
        read = (narrow or tested) and all(term.isascii() for term in terms)
        if connection.vendor == "postgresql" or read or min(map(len, terms)) < SHORTEST:
            rows = rows.filter(_read(columns, terms))
        else:
            words = " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)
            indexed.append(f"({{{' '.join(columns)}}} : ({words}))")
    if indexed:
        index = _index_of(rows.model._meta.db_table)
        match = f"SELECT rowid FROM {index} WHERE {index} MATCH %s"  # noqa: S608 - a name of our own
        rows = rows.filter(pk__in=RawSQL(match, [" AND ".join(indexed)]))  # noqa: S611
    return rows


def among(
    rows: models.QuerySet[Any], column: str, values: Collection[Any], *, narrow: bool = False
) -> models.QuerySet[Any]:
    """Keep the rows of `containing` whose `column` is one of `values`.

    Unless that leaves few, SQLite must not begin with them: it knows nothing of how many the words leave.
    """
    if narrow or connection.vendor == "postgresql":
        return rows.filter(**{f"{column}__in": values})
    return rows.alias(found=Coalesce(models.F(column), models.F(column))).filter(found__in=values)


def _read(columns: Sequence[str], terms: Sequence[str]) -> Q:
    wanted = Q()
    for name in columns:
        for term in terms:
            wanted |= Q(**{f"{name}__contains": term})
    return wanted
