"""What a test needs that not every database has."""

import pytest

from core.db import is_postgresql

needs_row_locks = pytest.mark.skipif(
    not is_postgresql(),
    reason="SQLite locks no rows: it has one writer at a time, which settles who waits (make test-services runs it)",
)
