"""Rows that the database keeps in step with other rows by itself, in the transaction of whoever writes those.

Invariant: what a trigger maintains is exact whoever writes, bulk statements and other processes included; a killed
transaction takes its effect along. Statements are in the SQL both databases speak; `OLD` and `NEW` are the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """After `event` ("INSERT", "UPDATE OF a, b", "DELETE") on a row of `table`, do `statements`.

    An update fires only when one of the columns it names differs.
    """

    name: str
    table: str
    event: str
    statements: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an update."""
        return tuple(part.strip() for part in self.event.partition(" OF ")[2].split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Tally:
    """A table of counts, `n` for each combination of `columns`.

    On PostgreSQL every change adds a row of +1 or -1, so that no two transactions wait for one another's counter;
    `merge` folds them together now and then. SQLite's one writer keeps one row for each combination.
    """

    table: str
    columns: tuple[str, ...]

    def change(self, vendor: str, values: Sequence[str], *, by: int, when: str = "1 = 1") -> tuple[str, ...]:
        """Return the statements that add `by` to the count of `values` (SQL expressions) if `when` holds."""
        names, chosen = ", ".join(self.columns), ", ".join(values)
        if vendor == "postgresql":
            return (f"INSERT INTO {self.table} ({names}, n) SELECT {chosen}, {by} WHERE {when}",)
        same = " AND ".join(f"{name} = {value}" for name, value in zip(self.columns, values, strict=True))
        count = f"UPDATE {self.table} SET n = n + ({by}) WHERE {same} AND {when}"  # noqa: S608
        begin = (
            f"INSERT INTO {self.table} ({names}, n) SELECT {chosen}, 0 WHERE {when} AND NOT EXISTS "  # noqa: S608
            f"(SELECT 1 FROM {self.table} WHERE {same})"
        )
        # Nothing is taken from what is not there: a table that is emptied whole may go before or after its counts.
        return (begin, count) if by > 0 else (count,)

    def recount(self, connection: BaseDatabaseWrapper, select: str) -> None:
        """Replace all counts by what `select` gives: the columns and `n`."""
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self.table}")  # noqa: S608
            cursor.execute(f"INSERT INTO {self.table} ({', '.join(self.columns)}, n) {select}")

    def merge(self, connection: BaseDatabaseWrapper, *, most: int = 20_000) -> int:
        """Fold rows of equal columns into one, at most so many at once; returns how many rows that saved.

        One statement: readers see the rows before or after it, never between. Two at once take different rows.
        """
        if connection.vendor != "postgresql":
            return 0
        names = ", ".join(self.columns)
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH taken AS (SELECT id FROM {self.table} WHERE ({names}) IN "  # noqa: S608
                f"(SELECT {names} FROM {self.table} GROUP BY {names} HAVING count(*) > 1) "
                f"ORDER BY id LIMIT {most} FOR UPDATE SKIP LOCKED), "
                f"gone AS (DELETE FROM {self.table} WHERE id IN (SELECT id FROM taken) RETURNING {names}, n), "
                f"kept AS (INSERT INTO {self.table} ({names}, n) SELECT {names}, sum(n) FROM gone "
                f"GROUP BY {names} HAVING sum(n) <> 0 RETURNING 1) "
                "SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM kept)"
            )
            return int(cursor.fetchone()[0])


def install(connection: BaseDatabaseWrapper, triggers: Sequence[Trigger]) -> bool:
    """Make the triggers that are not there; tells whether any was missing."""
    there = installed(connection)
    missing = [trigger for trigger in triggers if trigger.name not in there]
    with connection.cursor() as cursor:
        for trigger in missing:
            for statement in _creation(connection.vendor, trigger):
                cursor.execute(statement)
    return bool(missing)


def remove(connection: BaseDatabaseWrapper, triggers: Sequence[Trigger]) -> None:
    """Drop the triggers."""
    with connection.cursor() as cursor:
        for trigger in triggers:
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP FUNCTION IF EXISTS {trigger.name}() CASCADE")
            else:
                cursor.execute(f"DROP TRIGGER IF EXISTS {trigger.name}")


def installed(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the names of the database's triggers."""
    sql = (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        if connection.vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return frozenset(row[0] for row in cursor.fetchall())


def _creation(vendor: str, trigger: Trigger) -> list[str]:
    body = "; ".join(trigger.statements)
    if vendor == "postgresql":
        differs = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in trigger.columns)
        return [
            f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$body$ BEGIN {body}; RETURN NULL; END $body$",
            f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {trigger.table} FOR EACH ROW "
            + (f"WHEN ({differs}) " if differs else "")
            + f"EXECUTE FUNCTION {trigger.name}()",
        ]
    differs = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in trigger.columns)
    return [
        f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {trigger.table} FOR EACH ROW "
        + (f"WHEN {differs} " if differs else "")
        + f"BEGIN {body}; END"
    ]


def run(connection: BaseDatabaseWrapper, *statements: str, parameters: Any = None) -> None:
    """Execute statements."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, parameters)


def in_the_way(connection: BaseDatabaseWrapper, plan: Any) -> bool:
    """Tell whether triggers must go before the migrations of `plan` run.

    SQLite changes a table by making another, and refuses while a trigger elsewhere speaks of it; and a migration that
    is taken back drops tables that triggers write.
    """
    return bool(plan) and (
        connection.vendor != "postgresql" or any(backwards for _migration, backwards in plan)
    )
