"""One turn of the main loop: ask for the checksum, and when it changed download, apply, test and report.

Invariant: a configuration is applied at most once per checksum (unless forced), and the controller is told
the result of each apply at least once, across restarts. Source: spec/openwisp.md, 1A.9 steps 4 to 10.
"""

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from muster_agent.apply import Applier
from muster_agent.archive import md5_of, read_archive
from muster_agent.errors import AgentExit, ConfigurationRejected, CycleFailed, ExitCode, TransportError
from muster_agent.hooks import run_script
from muster_agent.plan import Transaction, plan
from muster_agent.protocol import (
    Identity,
    MalformedAnswer,
    Response,
    checksum_request,
    download_request,
    error_reason,
    parse_checksum,
    poll_hint,
    report_request,
)
from muster_agent.session import Session
from muster_agent.state import Pending
from muster_agent.tree import Tree


class CycleResult(Enum):
    """How a turn ended. REJECTED: this device cannot run what the controller wants, and has said so."""

    IN_SYNC = "in_sync"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Poll:
    """The controller's current checksum and the seconds it would like us to wait."""

    checksum: str
    hint: float | None


class Cycle:
    """Keeps what lasts from turn to turn within one process: the rejected checksum and the poll hint."""

    def __init__(self, session: Session, *, identity: Identity, tree: Tree, applier: Applier) -> None:
        self._session = session
        self._identity = identity
        self._tree = tree
        self._applier = applier
        self._rejected = ""
        self._not_found = 0
        self.hint: float | None = None

    def turn(self, *, announce_address: bool) -> CycleResult:
        """Steps 4 to 9. Raises CycleFailed, AgentExit, StopRequested, or OSError when the disk refuses.

        After an OSError the journal may be open, so every turn begins with recovery.
        """
        session = self._session
        self.recover()
        self.hint = None
        address = session.management_ip(patient=True) if announce_address else ""
        poll = self._poll(address)
        self.hint = poll.hint
        if poll.checksum != self._rejected:
            # The controller has moved on; should it come back to that configuration, it wants another try.
            self._rejected = ""
        self._settle_debt(poll.checksum)
        memory = session.store.memory()
        if poll.checksum == memory.applied:
            session.log.debug("unchanged", checksum=poll.checksum)
            return CycleResult.IN_SYNC
        if poll.checksum == self._rejected:
            session.log.debug("still_rejected", checksum=poll.checksum)
            return CycleResult.REJECTED
        session.log.mark()
        session.log.info("configuration_changed", checksum=poll.checksum, applied=memory.applied or "none")
        data = self._download(poll.checksum, address)
        try:
            transaction = self._plan(data, poll.checksum)
        except (ConfigurationRejected, OSError) as error:
            self._owe_error(poll.checksum, str(error))
        else:
            self._applier.begin(transaction)
            self._write_and_try(transaction)
        self._settle_debt(poll.checksum)
        return CycleResult.REJECTED if self._rejected == poll.checksum else CycleResult.IN_SYNC

    def force(self) -> None:
        """Forget what was applied and rejected: the next turn applies again. Survives a kill."""
        self._rejected = ""
        memory = self._session.store.memory()
        memory = dataclasses.replace(
            memory, applied="", checksum_etag="", interrupted_checksum="", interruptions=0
        )
        self._session.store.save_memory(memory)
        self._session.log.info("reapply_forced")

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
            self._try_out(transaction)
        elif journal.step == "rolling_back":
            self._applier.finish_roll_back(transaction, reason=journal.reason)
            self._reload(transaction)
        else:
            self._applier.undo_interrupted(transaction)
            self._reload(transaction)
        log.info("recovered", step=journal.step)

    def _poll(self, address: str) -> Poll:
        session, timing = self._session, self._session.settings.timing
        memory = session.store.memory()
        request = checksum_request(
            base=session.settings.url,
            style=session.settings.paths,
            identity=self._identity,
            management_ip=address,
            etag=memory.checksum_etag,
        )
        waited = True
        for attempt in range(1, timing.tries + 1):
            if not waited:
                session.back_off(timing.backoff)
            waited = False
            response = session.try_send(request, what="checksum", attempt=attempt)
            if response is not None and response.status == 404:
                self._count_not_found()
                waited = True
                continue
            self._not_found = 0
            checksum = self._read_checksum(response, memory.checksum_seen)
            if response is not None and checksum:
                return Poll(checksum=checksum, hint=poll_hint(response, longest=timing.poll_hint_max))
        raise CycleFailed("no checksum from the controller")

    def _count_not_found(self) -> None:
        self._not_found += 1
        if self._not_found >= self._session.settings.timing.not_found_limit:
            raise AgentExit(ExitCode.OK, "the controller does not know this device any more")
        self._session.log.warning("device_not_found", times=self._not_found)
        self._session.waker.sleep(self._session.settings.timing.not_found_wait)

    def _read_checksum(self, response: Response | None, seen: str) -> str:
        if response is None:
            return ""
        if response.status == 304 and seen:
            return seen
        if response.status != 200:
            self._session.log.warning("checksum_refused", status=response.status)
            return ""
        self._session.require_controller(response, what="checksum")
        try:
            checksum = parse_checksum(response)
        except MalformedAnswer as error:
            self._session.log.warning("checksum_malformed", error=error)
            return ""
        etag = response.headers.get("etag", "")
        memory = self._session.store.memory()
        if etag != memory.checksum_etag or checksum != memory.checksum_seen:
            memory = dataclasses.replace(memory, checksum_etag=etag, checksum_seen=checksum if etag else "")
            self._session.store.save_memory(memory)
        return checksum

    def _download(self, checksum: str, address: str) -> bytes:
        """The archive, whole and with the right md5. Raises CycleFailed."""
        session, timing = self._session, self._session.settings.timing
        kept = session.store.archive()
        request = download_request(
            base=session.settings.url,
            style=session.settings.paths,
            identity=self._identity,
            management_ip=address,
            etag=session.store.memory().archive_etag if kept is not None else "",
        )
        for attempt in range(1, timing.tries + 1):
            if attempt > 1:
                session.back_off(timing.backoff)
            response = session.try_send(request, what="download", attempt=attempt)
            if response is None:
                continue
            if response.status == 304 and kept is not None:
                return self._verified(kept, checksum, etag=None)
            if 200 <= response.status < 300:
                return self._verified(response.body, checksum, etag=response.headers.get("etag", ""))
            session.log.warning("download_refused", status=response.status)
        raise CycleFailed("no configuration from the controller")

    def _verified(self, data: bytes, checksum: str, *, etag: str | None) -> bytes:
        store = self._session.store
        found = md5_of(data)
        if found != checksum:
            memory = dataclasses.replace(store.memory(), checksum_etag="", checksum_seen="", archive_etag="")
            store.save_memory(memory)
            raise CycleFailed(f"the archive's md5 is {found}, not {checksum}")
        if etag is not None:
            store.save_archive(data)
            store.save_memory(dataclasses.replace(store.memory(), archive_etag=etag))
        self._session.log.info("downloaded", checksum=checksum, bytes=len(data))
        return data

    def _plan(self, data: bytes, checksum: str) -> Transaction:
        settings = self._session.settings
        memory = self._session.store.memory()
        cut = memory.interruptions if memory.interrupted_checksum == checksum else 0
        if cut >= settings.timing.interruptions_allowed:
            raise ConfigurationRejected(f"applying it was interrupted {cut} times in a row")
        root, state = settings.root.resolve(), settings.state_path.resolve()
        reserved = state.relative_to(root).as_posix() if state.is_relative_to(root) else ""
        return plan(
            read_archive(data, reserved=reserved),
            checksum=checksum,
            managed=self._session.store.managed(),
            mode=settings.mode,
            read=self._tree.read,
            missing_parents=self._tree.missing_parents,
        )

    def _write_and_try(self, transaction: Transaction) -> None:
        log = self._session.log
        paths = " ".join(change.path for change in transaction.changes)
        log.info("applying", checksum=transaction.checksum, files=len(transaction.changes), paths=paths)
        self._session.hooks.fire("pre-reload", *transaction.changed_packages)
        try:
            self._applier.write(transaction)
        except OSError as error:
            self._take_back(transaction, f"writing failed: {error.strerror or error}")
            return
        self._try_out(transaction)

    def _try_out(self, transaction: Transaction) -> None:
        """The files are in place: reload, settle, test, then keep or take back."""
        if transaction.changes:
            self._reload(transaction)
            self._session.waker.sleep(self._session.settings.timing.settle)
        failure = self._test()
        if failure is not None:
            self._take_back(transaction, failure)
            return
        self._applier.commit(transaction)
        self._session.log.info("applied", checksum=transaction.checksum)

    def _reload(self, transaction: Transaction) -> None:
        self._session.hooks.fire("reload", *transaction.changed_packages)
        self._session.hooks.fire("post-reload", *transaction.changed_packages)

    def _take_back(self, transaction: Transaction, failure: str) -> None:
        self._session.log.error("apply_failed", checksum=transaction.checksum, reason=failure)
        self._rejected = transaction.checksum
        self._applier.roll_back(transaction, reason=self._reason(failure))
        self._reload(transaction)
        self._session.log.info("backup_restored", checksum=transaction.checksum)

    def _owe_error(self, checksum: str, failure: str) -> None:
        self._session.log.error("configuration_rejected", checksum=checksum, reason=failure)
        self._rejected = checksum
        pending = Pending(checksum=checksum, status="error", reason=self._reason(failure))
        self._session.store.save_memory(dataclasses.replace(self._session.store.memory(), pending=pending))

    def _reason(self, failure: str) -> str:
        """The cause first, since the cut takes the end; then the log since the download."""
        return error_reason(self._session.log.scrub("\n".join((failure, *self._session.log.lines()))))

    def _test(self) -> str | None:
        """Step 8: why the device is cut off, or None when it is not."""
        if self._session.settings.test_script is not None:
            return self._run_test_script(self._session.settings.test_script)
        session, timing = self._session, self._session.settings.timing
        request = checksum_request(
            base=session.settings.url, style=session.settings.paths, identity=self._identity
        )
        error: TransportError | None = None
        for attempt in range(1, timing.test_tries + 1):
            if attempt > 1:
                session.back_off(timing.test_backoff)
            session.transport.reset()
            try:
                response = session.send(request)
            except TransportError as failure:
                error = failure
                session.log.warning("test_failed", attempt=attempt, error=failure)
                continue
            session.log.info("test_passed", attempt=attempt, status=response.status)
            return None
        return f"no connection to the controller after {timing.test_tries} tries: {error}"

    def _run_test_script(self, script: Path) -> str | None:
        with self._session.waker.interruptible():
            limit = self._session.settings.timing.hook_timeout
            outcome = run_script(script, env=self._session.hooks.env, limit=limit)
        if outcome.code == 0:
            self._session.log.info("test_passed", script=script.name)
            return None
        return f"the test script failed (code {outcome.code}): {outcome.output}"

    def _settle_debt(self, current: str) -> None:
        """Report a result the controller has not acknowledged, if it is still about what it wants now.

        Raises CycleFailed when the controller does not take it; then only the report is repeated next time.
        """
        memory = self._session.store.memory()
        pending = memory.pending
        if pending is None:
            return
        if pending.checksum == current:
            if pending.status == "error":
                self._rejected = current
            self._report(pending)
        self._session.store.save_memory(dataclasses.replace(self._session.store.memory(), pending=None))

    def _report(self, pending: Pending) -> None:
        session, timing = self._session, self._session.settings.timing
        request = report_request(
            base=session.settings.url,
            style=session.settings.paths,
            identity=self._identity,
            status=pending.status,
            checksum=pending.checksum,
            reason=pending.reason,
        )
        for attempt in range(1, timing.tries + 1):
            if attempt > 1:
                session.back_off(timing.backoff)
            response = session.try_send(request, what="report", attempt=attempt)
            if response is not None and response.status == 200 and response.is_controllers:
                session.log.info("reported", status=pending.status, checksum=pending.checksum)
                return
            if response is not None:
                session.log.warning("report_refused", status=response.status, attempt=attempt)
        raise CycleFailed("the controller did not take the report")
