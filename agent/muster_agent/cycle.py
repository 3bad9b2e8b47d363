"""One turn of the main loop: ask for the checksum, and when it changed download, apply, test and report.

Invariant: a configuration is applied at most once per checksum (unless forced), and the controller is told
the result of each apply at least once, across restarts. Source: spec/openwisp.md, 1A.9 steps 4 to 10.
"""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum

from muster_agent.downloads import Download, download
from muster_agent.errors import AgentExit, CycleFailed, ExitCode
from muster_agent.install import Installer
from muster_agent.protocol import (
    Identity,
    MalformedAnswer,
    Response,
    checksum_request,
    download_request,
    parse_checksum,
    poll_hint,
)
from muster_agent.reporting import settle_debts
from muster_agent.session import Session


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
    """Keeps what lasts from turn to turn within one process: how often it was unknown, and the poll hint.

    `occupied` surrounds everything that changes the tree.
    """

    def __init__(
        self,
        session: Session,
        *,
        identity: Identity,
        installer: Installer,
        occupied: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._session = session
        self._identity = identity
        self._installer = installer
        self._occupied = occupied
        self._not_found = 0
        self.hint: float | None = None

    def turn(self, *, announce_address: bool) -> CycleResult:
        """Steps 4 to 9. Raises CycleFailed, AgentExit, StopRequested, or OSError when the disk refuses.

        After an OSError the journal may be open, so every turn begins with recovery.
        """
        session = self._session
        self._installer.recover()
        self.hint = None
        address = session.management_ip(patient=True) if announce_address else ""
        poll = self._poll(address)
        self.hint = poll.hint
        self._reconsider(poll.checksum)
        settle_debts(session, self._identity, current=poll.checksum)
        memory = session.store.memory()
        if poll.checksum == memory.applied:
            session.log.debug("unchanged", checksum=poll.checksum)
            return CycleResult.IN_SYNC
        if poll.checksum == memory.refused:
            session.log.debug("still_rejected", checksum=poll.checksum)
            return CycleResult.REJECTED
        session.log.mark()
        session.log.info("configuration_changed", checksum=poll.checksum, applied=memory.applied or "none")
        with self._occupied():
            self._installer.install(self._download(poll.checksum, address), checksum=poll.checksum)
        settle_debts(session, self._identity, current=poll.checksum)
        refused = session.store.memory().refused == poll.checksum
        return CycleResult.REJECTED if refused else CycleResult.IN_SYNC

    def force(self) -> None:
        """Forget what was applied and refused: the next turn applies again. Survives a kill."""
        memory = self._session.store.memory()
        memory = dataclasses.replace(
            memory,
            applied="",
            refused="",
            refused_reason="",
            checksum_etag="",
            interrupted_checksum="",
            interruptions=0,
        )
        self._session.store.save_memory(memory)
        self._session.log.info("reapply_forced")

    def _reconsider(self, checksum: str) -> None:
        """The controller has moved on: should it come back to what was refused, it wants another try."""
        memory = self._session.store.memory()
        if memory.refused and memory.refused != checksum:
            memory = dataclasses.replace(memory, refused="", refused_reason="")
            self._session.store.save_memory(memory)

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
        session = self._session
        kept = session.store.archive()
        request = download_request(
            base=session.settings.url,
            style=session.settings.paths,
            identity=self._identity,
            management_ip=address,
            etag=session.store.memory().archive_etag if kept is not None else "",
        )
        return self._verified(download(session, request, kept=kept), checksum)

    def _verified(self, found: Download, checksum: str) -> bytes:
        store = self._session.store
        if found.checksum != checksum:
            memory = dataclasses.replace(store.memory(), checksum_etag="", checksum_seen="", archive_etag="")
            store.save_memory(memory)
            raise CycleFailed(f"the archive's md5 is {found.checksum}, not {checksum}")
        if found.etag is not None:
            store.save_archive(found.data)
            store.save_memory(dataclasses.replace(store.memory(), archive_etag=found.etag))
        self._session.log.info("downloaded", checksum=checksum, bytes=len(found.data))
        return found.data
