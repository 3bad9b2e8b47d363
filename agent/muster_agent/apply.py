"""Carries a planned transaction out on the tree so that a kill at any instant is recoverable.

Invariant: while a file of the tree may differ from "all before" and "all after", the journal on disk says
`applying` or `rolling_back`, and `recover` brings the tree to one of the two.

    transaction.json written          nothing changed yet; without a journal it is thrown away
    journal: applying      files -> after      recovery: files -> before
    journal: testing       all files on disk   recovery: reload and test again
    journal: committing    test passed         recovery: records, memory, journal removed
    journal: rolling_back  test failed         recovery: files -> before, memory, journal removed

Before all of them `memory.json` may hold the controller's order; the write that ends an apply takes it out.
"""

import dataclasses
from collections.abc import Callable

from muster_agent.deadline import Deadline
from muster_agent.plan import Transaction
from muster_agent.protocol import Outcome, error_reason
from muster_agent.records import Journal, Memory, Pending
from muster_agent.state import Store
from muster_agent.tree import Tree

OnStep = Callable[[str], None]


class Applier:
    """Tree and store together. `on_step` is told every durable step just after it is on disk."""

    def __init__(self, *, tree: Tree, store: Store, on_step: OnStep) -> None:
        self._tree = tree
        self._store = store
        self._step = on_step

    def begin(self, transaction: Transaction, *, deadline: Deadline | None) -> None:
        """Write both logs; from here on the apply survives a kill."""
        self._store.save_transaction(transaction)
        self._step("planned")
        self._store.save_journal(Journal(step="applying", deadline=deadline))
        self._step("applying")

    def write(self, transaction: Transaction, *, deadline: Deadline | None) -> None:
        """Files to their new state, then the journal says `testing`. OSError: the caller rolls back."""
        for change in transaction.changes:
            self._tree.put(change.path, change.after)
            self._step(f"wrote {change.path}")
        self.test_until(deadline)

    def test_until(self, deadline: Deadline | None) -> None:
        """All files are in place, and `deadline` is when the test must have passed."""
        self._store.save_journal(Journal(step="testing", deadline=deadline))
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
        self._store.keep_applied_archive(transaction.checksum)
        self._step("archive kept")
        memory = self._store.memory().owing(_result(transaction, "applied", reason=""))
        self._remember(memory, applied=transaction.checksum, refused="", reason="")
        self._step("memory saved")
        self._store.clear_journal()
        self._step("committed")

    def roll_back(self, transaction: Transaction, *, outcome: Outcome, reason: str) -> None:
        """Files to what they were; owe the controller `outcome` with `reason`."""
        reason = error_reason(reason)
        self._store.save_journal(Journal(step="rolling_back", outcome=outcome, reason=reason))
        self._step("rolling back")
        self.finish_roll_back(transaction, outcome=outcome, reason=reason)

    def finish_roll_back(self, transaction: Transaction, *, outcome: Outcome, reason: str) -> None:
        """The part of `roll_back` that is repeated after a kill."""
        self._restore(transaction)
        memory = self._store.memory().owing(_result(transaction, outcome, reason=reason))
        self._remember(memory, applied=memory.applied, refused=transaction.checksum, reason=reason)
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

    def _remember(self, memory: Memory, *, applied: str, refused: str, reason: str) -> None:
        memory = dataclasses.replace(
            memory,
            applied=applied,
            refused=refused,
            refused_reason=reason,
            interrupted_checksum="",
            interruptions=0,
        )
        self._store.save_memory(memory)


def _result(transaction: Transaction, outcome: Outcome, *, reason: str) -> Pending:
    """From the transaction, not from the order at hand: after a kill the order may be over already."""
    return Pending(
        checksum=transaction.checksum,
        status=outcome,
        reason=reason,
        task=transaction.task,
        attempt=transaction.attempt,
    )
