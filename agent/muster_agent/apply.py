"""Carries a planned transaction out on the tree so that a kill at any instant is recoverable.

Invariant: while a file of the tree may differ from "all before" and "all after", the journal on disk says
`applying` or `rolling_back`, and `recover` brings the tree to one of the two.

    transaction.json written          nothing changed yet; without a journal it is thrown away
    journal: applying      files -> after      recovery: files -> before
    journal: testing       all files on disk   recovery: reload and test again
    journal: committing    test passed         recovery: records, memory, journal removed
    journal: rolling_back  test failed         recovery: files -> before, memory, journal removed
"""

import dataclasses
from collections.abc import Callable

from muster_agent.plan import Transaction
from muster_agent.protocol import error_reason
from muster_agent.state import Journal, Memory, Pending, Store
from muster_agent.tree import Tree

OnStep = Callable[[str], None]


class Applier:
    """Tree and store together. `on_step` is told every durable step just after it is on disk."""

    def __init__(self, *, tree: Tree, store: Store, on_step: OnStep) -> None:
        self._tree = tree
        self._store = store
        self._step = on_step

    def begin(self, transaction: Transaction) -> None:
        """Write both logs; from here on the apply survives a kill."""
        self._store.save_transaction(transaction)
        self._step("planned")
        self._store.save_journal(Journal(step="applying"))
        self._step("applying")

    def write(self, transaction: Transaction) -> None:
        """Files to their new state, then the journal says `testing`. OSError: the caller rolls back."""
        for change in transaction.changes:
            self._tree.put(change.path, change.after)
            self._step(f"wrote {change.path}")
        self._store.save_journal(Journal(step="testing"))
        self._step("testing")

    def commit(self, transaction: Transaction) -> None:
        """The configuration is good: keep its records, owe the controller an `applied`, forget the backup."""
        self._store.save_journal(Journal(step="committing"))
        self._step("committing")
        self.finish_commit(transaction)

    def finish_commit(self, transaction: Transaction) -> None:
        """The part of `commit` that is repeated after a kill."""
        for directory in transaction.old_directories:
            self._tree.drop_directory(directory)
        self._store.save_managed(transaction.managed)
        self._step("records saved")
        pending = Pending(checksum=transaction.checksum, status="applied")
        self._remember(applied=transaction.checksum, pending=pending)
        self._step("memory saved")
        self._store.clear_journal()
        self._step("committed")

    def roll_back(self, transaction: Transaction, *, reason: str) -> None:
        """Files to what they were; owe the controller an `error` with `reason`."""
        self._store.save_journal(Journal(step="rolling_back", reason=error_reason(reason)))
        self._step("rolling back")
        self.finish_roll_back(transaction, reason=reason)

    def finish_roll_back(self, transaction: Transaction, *, reason: str) -> None:
        """The part of `roll_back` that is repeated after a kill."""
        self._restore(transaction)
        pending = Pending(checksum=transaction.checksum, status="error", reason=error_reason(reason))
        self._remember(applied=self._store.memory().applied, pending=pending)
        self._step("memory saved")
        self._store.clear_journal()
        self._step("rolled back")

    def undo_interrupted(self, transaction: Transaction) -> Memory:
        """The apply was cut while writing: files to what they were, and one interruption counted.

        Returns the memory, whose `interruptions` tells how often this checksum was cut in a row.
        """
        self._restore(transaction)
        memory = self._store.memory()
        again = memory.interrupted_checksum == transaction.checksum
        memory = dataclasses.replace(
            memory,
            interrupted_checksum=transaction.checksum,
            interruptions=memory.interruptions + 1 if again else 1,
        )
        self._store.save_memory(memory)
        self._step("interruption counted")
        self._store.clear_journal()
        self._step("undone")
        return memory

    def _restore(self, transaction: Transaction) -> None:
        for change in transaction.changes:
            self._tree.drop_temp(change.path)
            self._tree.put(change.path, change.before)
            self._step(f"restored {change.path}")
        for directory in reversed(transaction.new_directories):
            self._tree.drop_directory(directory)

    def _remember(self, *, applied: str, pending: Pending) -> None:
        memory = dataclasses.replace(
            self._store.memory(), applied=applied, pending=pending, interrupted_checksum="", interruptions=0
        )
        self._store.save_memory(memory)
