"""Reading one row by its key on the event loop: the data path of endpoints that answer before Django does.

Every request asks the database, so a change in any process is seen by the next request of every process; there is
no cache to invalidate. On SQLite the read is a direct call of a few microseconds on a read-only connection. On
PostgreSQL everyone who asks while a query is under way shares the next one (`key = ANY(...)`).
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import psycopg
from django.db import Error, connection

Row = tuple[Any, ...]
# Readers use the drivers themselves, whose errors are not Django's.
DATABASE_ERRORS: tuple[type[Exception], ...] = (Error, psycopg.Error, sqlite3.Error)
# What Django adds to the connection's own parameters, and what the reader decides itself.
_NOT_PARAMETERS = frozenset(
    {
        "pool",
        "server_side_binding",
        "isolation_level",
        "assume_role",
        "cursor_factory",
        "context",
        "prepare_threshold",
        "autocommit",
        "row_factory",
    }
)


class RowReader(Protocol):
    """Reads the row whose first column is the key; raises one of DATABASE_ERRORS."""

    async def get(self, key: UUID) -> Row | None:
        """Return the row, or None."""

    async def close(self) -> None:
        """Give back what is held."""


class SqliteReader:
    """A read-only connection of its own, used on the event loop's thread only.

    Requests that became ready together share one read transaction, which spares each of them the file locks. It ends
    with that turn of the loop, before any request that arrives later is looked at, so nobody reads older rows than
    there were when it asked.
    """

    def __init__(self, *, columns: str, source: str, key: str) -> None:
        self._sql = f"SELECT {columns} FROM {source} WHERE {key} = ?"  # noqa: S608 - constants of our own
        self._connection: sqlite3.Connection | None = None
        self._turn_of: asyncio.AbstractEventLoop | None = None

    async def get(self, key: UUID) -> Row | None:
        """Return the row, or None."""
        try:
            return self._read(key)
        except sqlite3.Error:
            # Whatever is wrong with the connection is not wrong with the next one.
            self._drop()
            raise

    def _read(self, key: UUID) -> Row | None:
        loop = asyncio.get_running_loop()
        if self._turn_of is not loop:
            # A loop that was closed in the middle of a turn has left its transaction behind.
            self._end()
        if self._connection is None:
            self._connection = self._open()
        if self._turn_of is not loop:
            self._connection.execute("BEGIN")
            self._turn_of = loop
            loop.call_soon(self._end)
        row: Row | None = self._connection.execute(self._sql, (key.hex,)).fetchone()
        return row

    def _end(self) -> None:
        self._turn_of = None
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                # It was a transaction of reads: nothing is lost with it.
                self._drop()

    def _drop(self) -> None:
        held, self._connection = self._connection, None
        self._turn_of = None
        if held is not None:
            with contextlib.suppress(sqlite3.Error):
                held.close()

    def _open(self) -> sqlite3.Connection:
        name = str(connection.settings_dict["NAME"])
        opened = sqlite3.connect(name, uri=name.startswith("file:"), timeout=5, isolation_level=None)
        opened.execute("PRAGMA query_only = 1")
        # As for Django's own connections (controller.databases): the rows that are asked for stay in memory.
        opened.execute("PRAGMA cache_size = -65536")
        opened.execute("PRAGMA mmap_size = 268435456")
        return opened

    async def close(self) -> None:
        """Close the connection."""
        self._drop()


class PostgresqlReader:
    """One asynchronous connection; requests that arrive during a query are answered together by the next."""

    def __init__(self, *, columns: str, source: str, key: str) -> None:
        self._sql = f"SELECT {columns} FROM {source} WHERE {key} = ANY(%s)"  # noqa: S608 - constants of our own
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._waiting: dict[UUID, asyncio.Future[Row | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: UUID) -> Row | None:
        """Return the row, or None."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._running is None:
                self._running = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                await self._answer(batch)
        finally:
            self._running = None

    async def _answer(self, batch: dict[UUID, "asyncio.Future[Row | None]"]) -> None:
        try:
            rows = {row[0]: row for row in await self._fetch(list(batch))}
        except asyncio.CancelledError:
            for future in batch.values():
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised in every request that waits for this query
            for future in batch.values():
                future.set_exception(error)
                future.exception()
            await self.close()
            return
        for key, future in batch.items():
            future.set_result(rows.get(key))

    async def _fetch(self, keys: Sequence[UUID]) -> list[Row]:
        """Ask once more on a new connection when the old one turns out to be dead."""
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = await self._open()
            try:
                cursor = await self._connection.execute(self._sql, (list(keys),), prepare=True)
                return await cursor.fetchall()
            except psycopg.OperationalError:
                await self.close()
                if attempt == 2:
                    raise
        return []

    async def _open(self) -> "psycopg.AsyncConnection[Row]":
        wanted = libpq_parameters(connection.get_connection_params())
        return await psycopg.AsyncConnection.connect(**wanted, autocommit=True)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            held, self._connection = self._connection, None
            with contextlib.suppress(psycopg.Error, OSError):
                await held.close()


def libpq_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of Django's connection that are the server's or libpq's, such as `sslcert`.

    >>> libpq_parameters({"host": "db", "options": "-c jit=off", "prepare_threshold": None})
    {'host': 'db', 'options': '-c jit=off'}
    """
    return {name: value for name, value in parameters.items() if name not in _NOT_PARAMETERS}


def row_reader(*, columns: str, source: str, key: str) -> RowReader:
    """Return the reader for the database in use; `columns` must begin with the key (SQL fragments, trusted)."""
    kind = PostgresqlReader if connection.vendor == "postgresql" else SqliteReader
    return kind(columns=columns, source=source, key=key)
