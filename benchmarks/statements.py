"""Counts the SQL statements of a piece of work on Django's connection."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection
from django.test.utils import CaptureQueriesContext

_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
_WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(slots=True)
class Statements:
    """`total` leaves out what only frames a transaction; `writing` is part of it."""

    total: int = 0
    writing: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Statements]:
    """Yield a count that is right once the block has ended."""
    counts = Statements()
    with CaptureQueriesContext(connection) as captured:
        yield counts
    texts = [query["sql"].lstrip().upper() for query in captured.captured_queries]
    counts.total = sum(not text.startswith(_TRANSACTION) for text in texts)
    counts.writing = sum(text.startswith(_WRITES) for text in texts)
