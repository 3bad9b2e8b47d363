"""Takes one archive to its end on this device: plan, write, reload, test, then keep it or take it back.

Invariant: however it ends, the memory then owes the controller a report of it; polling and the link's tasks come
here alike. Source: spec/openwisp.md, 1A.9 steps 6 to 8, and docs/link-protocol.md, `config.apply`.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from muster_agent import facts
from muster_agent.apply import Applier
from muster_agent.archive import read_archive
from muster_agent.deadline import Deadline, deadline_in
from muster_agent.errors import ConfigurationRejected, TransportError
from muster_agent.hooks import run_script
from muster_agent.plan import Transaction, plan
from muster_agent.protocol import Identity, Outcome, checksum_request, error_reason
from muster_agent.session import Session
from muster_agent.tree import Tree

MOMENT = 0.1
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """Why a configuration cannot stay. `rolled_back` means that contact was lost."""

    outcome: Outcome
    reason: str


def _silent(step: str) -> None:
    """Nobody listens."""


class Installer:
    """The one that changes the tree. What a killed run left is taken up by `recover`, before anything else."""

    def __init__(self, session: Session, *, identity: Identity, tree: Tree, applier: Applier) -> None:
        self._session = session
        self._identity = identity
        self._tree = tree
        self._applier = applier

    def install(
        self,
        data: bytes,
        *,
        checksum: str,
        confirm_within: float | None = None,
        progress: Progress = _silent,
    ) -> None:
        """Apply `data`. With `confirm_within` the controller must answer that many seconds after the first change.

        Without it the test of polling decides. Raises StopRequested, or OSError when the disk refuses; then the
        journal may be open.
        """
        try:
            transaction = self._plan(data, checksum)
        except (ConfigurationRejected, OSError) as error:
            self.refuse(checksum, str(error))
            return
        deadline = deadline_in(confirm_within, now=facts.moment()) if confirm_within is not None else None
        self._applier.begin(transaction, deadline=deadline)
        self._write_and_try(transaction, deadline, progress)

    def refuse(self, checksum: str, failure: str, *, for_good: bool = True) -> None:
        """Nothing was changed: owe the controller a `failed`; `for_good`: and do not try this checksum again."""
        self._session.log.error("configuration_rejected", checksum=checksum, reason=failure)
        reason = self._reason(failure)
        memory = self._session.store.memory()
        memory = memory.owing(memory.result(checksum, "failed", reason=reason))
        if for_good:
            memory = dataclasses.replace(memory, refused=checksum, refused_reason=reason)
        self._session.store.save_memory(memory)

    def recover(self) -> None:
        """Finish or take back what a killed run left in the middle. Raises StopRequested."""
        store, log = self._session.store, self._session.log
        journal, transaction = store.journal(), store.transaction()
        if journal is None or transaction is None:
            store.clear_journal()
            return
        log.mark()
        log.warning("recovering", step=journal.step, checksum=transaction.checksum)
        if journal.step == "committing":
            self._applier.finish_commit(transaction)
        elif journal.step == "testing":
            self._resume_test(transaction, journal.deadline)
        elif journal.step == "rolling_back":
            self._applier.finish_roll_back(transaction, outcome=journal.outcome, reason=journal.reason)
            self._reload(transaction)
        else:
            self._applier.undo_interrupted(transaction)
            self._reload(transaction)
        log.info("recovered", step=journal.step)

    def _plan(self, data: bytes, checksum: str) -> Transaction:
        settings = self._session.settings
        memory = self._session.store.memory()
        cut = memory.interruptions if memory.interrupted_checksum == checksum else 0
        if cut >= settings.timing.interruptions_allowed:
            raise ConfigurationRejected(f"applying it was interrupted {cut} times in a row")
        result = memory.result(checksum, "applied")
        transaction = plan(
            read_archive(data, reserved=settings.reserved),
            checksum=checksum,
            managed=self._session.store.managed(),
            mode=settings.mode,
            read=self._tree.read,
            missing_parents=self._tree.missing_parents,
        )
        return dataclasses.replace(transaction, task=result.task, attempt=result.attempt)

    def _write_and_try(self, transaction: Transaction, deadline: Deadline | None, progress: Progress) -> None:
        log = self._session.log
        paths = " ".join(change.path for change in transaction.changes)
        log.info("applying", checksum=transaction.checksum, files=len(transaction.changes), paths=paths)
        self._session.hooks.fire("pre-reload", *transaction.changed_packages, within=_left(deadline))
        try:
            self._applier.write(transaction, deadline=deadline)
        except OSError as error:
            failure = Failure("failed", f"writing failed: {error.strerror or error}")
            self._take_back(transaction, failure, progress)
            return
        progress("written")
        self._try_out(transaction, deadline, progress)

    def _resume_test(self, transaction: Transaction, deadline: Deadline | None) -> None:
        """The files were in place when the last run ended; a reboot since then has its own clock."""
        now = facts.moment()
        if deadline is not None and deadline.boot != now.boot:
            deadline = deadline.carried(now)
            self._applier.test_until(deadline)
        self._try_out(transaction, deadline, _silent)

    def _try_out(self, transaction: Transaction, deadline: Deadline | None, progress: Progress) -> None:
        """The files are in place: reload, settle, test, then keep or take back."""
        if transaction.changes and _left(deadline) > 0:
            self._reload(transaction, deadline)
            progress("reloaded")
            self._settle(deadline)
        progress("testing")
        failure = self._test(deadline)
        if failure is not None:
            self._take_back(transaction, failure, progress)
            return
        self._applier.commit(transaction)
        self._session.log.info("applied", checksum=transaction.checksum)

    def _reload(self, transaction: Transaction, deadline: Deadline | None = None) -> None:
        for event in ("reload", "post-reload"):
            self._session.hooks.fire(event, *transaction.changed_packages, within=max(_left(deadline), 0.0))

    def _settle(self, deadline: Deadline | None) -> None:
        """Wait for services that reload in the background. A task is quick where nothing was told to reload."""
        if deadline is None or self._session.hooks.has("reload") or self._session.hooks.has("post-reload"):
            settle = self._session.settings.timing.settle
            self._session.waker.sleep(min(settle, max(_left(deadline), 0.0)))

    def _take_back(self, transaction: Transaction, failure: Failure, progress: Progress) -> None:
        self._session.log.error("apply_failed", checksum=transaction.checksum, reason=failure.reason)
        progress("restoring")
        reason = self._reason(failure.reason)
        self._applier.roll_back(transaction, outcome=failure.outcome, reason=reason)
        self._reload(transaction)
        self._session.log.info("backup_restored", checksum=transaction.checksum)

    def _reason(self, failure: str) -> str:
        """The cause first, since the cut takes the end; then the log since the download."""
        return error_reason(self._session.log.scrub("\n".join((failure, *self._session.log.lines()))))

    def _test(self, deadline: Deadline | None) -> Failure | None:
        """Why the device is not fine, or None when it is. A task is proved by the controller whatever a script says."""
        script = self._session.settings.test_script
        if script is not None:
            failure = self._run_test_script(script, deadline)
            if failure is not None or deadline is None:
                return failure
        return self._reach_controller(deadline)

    def _run_test_script(self, script: Path, deadline: Deadline | None) -> Failure | None:
        limit = min(self._session.settings.timing.hook_timeout, max(_left(deadline), 0.0))
        with self._session.waker.interruptible():
            outcome = run_script(script, env=self._session.hooks.env, limit=limit)
        if outcome.code == 0:
            self._session.log.info("test_passed", script=script.name)
            return None
        return Failure("failed", f"the test script failed (code {outcome.code}): {outcome.output}")

    def _reach_controller(self, deadline: Deadline | None) -> Failure | None:
        """Step 8, over connections opened now: by tries when polling, until its deadline for a task."""
        session, timing = self._session, self._session.settings.timing
        request = checksum_request(
            base=session.settings.url, style=session.settings.paths, identity=self._identity
        )
        error: TransportError | str = "the time is over"
        attempt = 0
        while _left(deadline) > 0 and (deadline is not None or attempt < timing.test_tries):
            attempt += 1
            if attempt > 1:
                session.waker.sleep(min(session.uniform(*timing.test_backoff), max(_left(deadline), 0.0)))
            session.transport.reset()
            try:
                response = session.send(request, within=max(_left(deadline), MOMENT))
            except TransportError as failure:
                error = failure
                session.log.warning("test_failed", attempt=attempt, error=failure)
                continue
            if deadline is None or response.is_controllers:
                session.log.info("test_passed", attempt=attempt, status=response.status)
                return None
            error = f"the answer ({response.status}) is not the controller's"
            session.log.warning("test_failed", attempt=attempt, error=error)
        return Failure("rolled_back", f"no connection to the controller after {attempt} tries: {error}")


def _left(deadline: Deadline | None) -> float:
    return deadline.remaining(facts.moment()) if deadline is not None else math.inf
