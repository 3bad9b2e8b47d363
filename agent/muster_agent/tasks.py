"""The main thread's half of the link: takes the controller's tasks, carries them out, reports.

Invariant: an order is on disk before it is answered `running`, and leaves it in the same write that owes its report;
so a kill between any two instructions neither loses a task nor does it twice.
"""

import dataclasses
import time
from collections.abc import Callable
from hashlib import sha256

from muster_agent import facts
from muster_agent.archive import md5_of
from muster_agent.desk import Call, Desk, Line, Standing
from muster_agent.downloads import download
from muster_agent.errors import CycleFailed
from muster_agent.install import Installer
from muster_agent.inventory import Inventory
from muster_agent.link_frames import BAD_PARAMETERS, INTERNAL, Answer
from muster_agent.orders import BadParameters, Order, parse_order
from muster_agent.plan import Json
from muster_agent.protocol import Identity, task_download_request
from muster_agent.records import Pending
from muster_agent.reporting import forget_debt
from muster_agent.session import Session

OnStep = Callable[[str], None]


class Tasks:
    """What is due on the link, and when. `on_step` is told every durable step just after it is on disk."""

    def __init__(
        self,
        session: Session,
        *,
        identity: Identity,
        installer: Installer,
        inventory: Inventory,
        desk: Desk,
        on_step: OnStep,
    ) -> None:
        self._session = session
        self._identity = identity
        self._installer = installer
        self._inventory = inventory
        self._desk = desk
        self._step = on_step
        self._line: Line | None = None
        self._report_due = 0.0
        self._telemetry_due = 0.0

    @property
    def is_linked(self) -> bool:
        """Whether the link is up and everything owed has been told: then polls can be rare."""
        return self._desk.line is not None and not self._session.store.memory().owed

    def publish(self) -> None:
        """What the next `hello` and report say is what is on the disk now."""
        memory = self._session.store.memory()
        owed = [(each.task, each.attempt or 0) for each in memory.owed if each.task is not None]
        self._desk.standing = Standing(
            applied=memory.applied,
            actual=self._inventory.actual(),
            order=_key(memory.order),
            owed=owed[-1] if owed else None,
        )

    def resume(self) -> None:
        """Carry out the order that is on the disk, if there is one. Raises StopRequested, or OSError."""
        order = self._session.store.memory().order
        if order is not None:
            with self._desk.occupied(_key(order)):
                self._carry_out(order)

    def work(self) -> None:
        """Do everything that is due. Raises StopRequested, or OSError."""
        line = self._desk.line
        if line is not self._line:
            self._line = line
            self._report_due = 0.0
            self._telemetry_due = time.monotonic() + self._telemetry_interval(line)
        self.resume()
        # What is asked while a report waits for its answer rings for a thread that is awake: look again after it.
        is_asked = True
        while is_asked:
            while (call := self._desk.take_call()) is not None:
                self._answer(call)
                self.resume()
            self.report()
            is_asked = self._desk.is_asked()
        if line is not None and time.monotonic() >= self._telemetry_due:
            self._telemetry_due = time.monotonic() + self._telemetry_interval(line)
            self._send_telemetry(line)

    def due(self) -> float:
        """When `work` should be called again at the latest, on the monotonic clock."""
        if self._line is None:
            return float("inf")
        owed = self._session.store.memory().owed
        return min(self._telemetry_due, self._report_due if owed else self._telemetry_due)

    def report(self) -> None:
        """Tell over the link what is owed, the oldest first, each until it is answered or the time is over."""
        while (line := self._desk.line) is not None and time.monotonic() >= self._report_due:
            owed = self._session.store.memory().owed
            if not owed:
                return
            answer = self._ask(line, owed[0])
            if answer is not None and answer.code is None:
                self._session.log.info(
                    "reported", status=owed[0].status, checksum=owed[0].checksum, link=True
                )
                forget_debt(self._session, owed[0])
                self._step("reported")
                continue
            self._report_due = time.monotonic() + self._session.uniform(
                *self._session.settings.timing.backoff
            )
            if answer is None:
                line.drop()
            else:
                self._session.log.warning("report_refused", code=answer.code, answer=answer.message)

    def _ask(self, line: Line, pending: Pending) -> Answer | None:
        """One report. None when no answer came in time or the link went down."""
        params: Json = {
            "task": pending.task,
            "attempt": pending.attempt,
            "checksum": pending.checksum,
            "status": pending.status,
            "reason": pending.reason,
            "actual": self._desk.standing.actual,
        }
        self._desk.take_answer(pending)
        line.ask("report", params, lambda answer: self._desk.answered(pending, answer))
        until = time.monotonic() + self._session.settings.timing.link_answer
        while self._desk.line is line:
            answer = self._desk.take_answer(pending)
            left = until - time.monotonic()
            if answer is not None or left <= 0:
                return answer
            self._session.waker.rest(left, nudges=False)
        return None

    def _answer(self, call: Call) -> None:
        try:
            result = self._read() if call.method == "config.read" else self._take(call.params)
        except BadParameters as error:
            call.fail(BAD_PARAMETERS, f"bad parameters: {error}", None)
        except OSError as error:
            self._session.log.error("task_not_taken", error=error)
            call.fail(INTERNAL, "the device's disk refuses", None)
        else:
            call.succeed(result)

    def _read(self) -> Json:
        return {"files": self._inventory.texts(), "actual": self._inventory.actual()}

    def _take(self, params: object) -> Json:
        """`config.apply`: what is answered; when it is `running`, the order is on the disk."""
        order, archive = parse_order(params)
        self._installer.recover()
        store = self._session.store
        memory = store.memory()
        if not order.force and order.checksum == memory.applied:
            return {"state": "applied"}
        if not order.force and order.checksum == memory.refused:
            return {"state": "failed", "reason": memory.refused_reason}
        if archive is not None and md5_of(archive) == order.checksum:
            store.save_archive(archive)
            memory = dataclasses.replace(memory, archive_etag="")
        if order.force:
            memory = dataclasses.replace(memory, interrupted_checksum="", interruptions=0)
        store.save_memory(dataclasses.replace(memory, order=order))
        self._desk.standing = dataclasses.replace(self._desk.standing, order=_key(order))
        self._step("order taken")
        self._session.log.info("task_taken", task=order.task, attempt=order.attempt, checksum=order.checksum)
        return {"state": "running"}

    def _carry_out(self, order: Order) -> None:
        self._session.log.mark()
        try:
            data, checksum = self._archive(order)
        except CycleFailed as failure:
            self._installer.refuse(order.checksum, str(failure), for_good=False)
        else:
            self._progress(order, "downloaded")
            self._install(order, data, checksum)
        self.publish()

    def _install(self, order: Order, data: bytes, checksum: str) -> None:
        memory = self._session.store.memory()
        if checksum == memory.applied and not order.force:
            self._session.store.save_memory(memory.owing(memory.result(checksum, "applied")))
            self._step("memory saved")
            return
        if checksum == memory.refused and not order.force:
            self._installer.refuse(checksum, memory.refused_reason)
            return
        self._installer.install(
            data,
            checksum=checksum,
            confirm_within=order.confirm_within,
            progress=lambda step: self._progress(order, step),
        )

    def _archive(self, order: Order) -> tuple[bytes, str]:
        """The archive and its md5, which is another one when the controller has moved on. Raises CycleFailed."""
        store = self._session.store
        data = store.archive()
        if data is None or md5_of(data) != order.checksum:
            request = task_download_request(
                base=self._session.settings.url, identity=self._identity, url=order.url
            )
            found = download(self._session, request, kept=None)
            if found.checksum != order.checksum and not found.is_controllers:
                raise CycleFailed("what was downloaded is not the controller's")
            data = found.data
            store.save_archive(data)
            store.save_memory(dataclasses.replace(store.memory(), archive_etag=""))
            self._step("archive saved")
        checksum = md5_of(data)
        if checksum != order.checksum:
            self._session.log.info("controller_moved_on", asked=order.checksum, checksum=checksum)
        elif order.sha256 and sha256(data).hexdigest() != order.sha256:
            raise CycleFailed("the archive's sha256 is not the one it should be")
        return data, checksum

    def _progress(self, order: Order, step: str) -> None:
        if (line := self._desk.line) is not None:
            line.tell("task.progress", {"task": order.task, "attempt": order.attempt, "step": step})

    def _telemetry_interval(self, line: Line | None) -> float:
        beat = line.heartbeat if line is not None else 0.0
        return max(beat, self._session.settings.timing.telemetry_interval)

    def _send_telemetry(self, line: Line) -> None:
        before = self._desk.standing.actual
        self.publish()
        actual = self._desk.standing.actual
        if actual != before:
            self._session.log.warning("drift", actual=actual)
        params: Json = {
            "actual": actual,
            "uptime": round(facts.moment().seconds, 1),
            "load": round(facts.load_average(), 2),
        }
        memory = facts.memory_used()
        line.tell("telemetry", params if memory is None else {**params, "memory": memory})


def _key(order: Order | None) -> tuple[str, int] | None:
    return (order.task, order.attempt) if order is not None else None
