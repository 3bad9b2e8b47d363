"""One link from `hello` to its end: pings, frames in, frames out.

Invariant: everything that happens to the link goes through one bounded mailbox and is handled by one thread, so its
state needs no locks; nobody but that thread ever waits for the socket.
"""

import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from muster_agent import __version__
from muster_agent.desk import Call, Desk
from muster_agent.link_frames import (
    CAPABILITIES,
    NOT_A_REQUEST,
    PROTOCOL,
    UNKNOWN_METHOD,
    UNSUPPORTED,
    Answer,
    BadFrame,
    Id,
    Incoming,
    failure,
    notification,
    read_frame,
    request,
    success,
)
from muster_agent.link_rules import NOT_UNDERSTOOD, Ending, Uniform, jittered
from muster_agent.log import EventLog
from muster_agent.plan import Json
from muster_agent.settings import Timing

MAILBOX = 64
WAITING_MOST = 16
BAD_FRAMES_MOST = 10
FOR_MAIN = ("config.apply", "config.read")

OnAnswer = Callable[[Answer], None]


class _Over(Exception):
    """This side ends the link."""

    def __init__(self, reason: str, *, code: int = 1000, unsupported: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.unsupported = unsupported


class Conversation:
    """A `Line` for the main thread once `hello` is answered."""

    def __init__(
        self,
        connection: ClientConnection,
        *,
        desk: Desk,
        log: EventLog,
        timing: Timing,
        uniform: Uniform,
        boot: str,
    ) -> None:
        self.heartbeat = timing.link_heartbeats[1]
        self._connection = connection
        self._desk = desk
        self._log = log
        self._timing = timing
        self._uniform = uniform
        self._boot = boot
        self._mailbox: queue.Queue[Callable[[], None]] = queue.Queue(MAILBOX)
        self._ended = threading.Event()
        self._waiting: dict[int, OnAnswer] = {}
        self._number = 0
        self._bad_frames = 0
        self._unknown_methods = 0
        self._up_since: float | None = None
        self._answer_due: float | None = None
        self._ping_due: float | None = None

    # Any thread.

    def tell(self, method: str, params: Json) -> None:
        self._post(lambda: self._connection.send(notification(method, params)))

    def ask(self, method: str, params: Json, on_answer: OnAnswer) -> None:
        self._post(lambda: self._request(method, params, on_answer))

    def drop(self) -> None:
        self._post(lambda: self._end("the controller did not answer"))

    def stop(self) -> None:
        """End this link in an orderly way."""
        self._post(lambda: self._end("stopping"))

    def _post(self, action: Callable[[], None]) -> None:
        try:
            self._mailbox.put_nowait(action)
        except queue.Full:
            self._log.warning("link_congested")

    # The link's thread.

    def run(self) -> Ending:
        """Talk until the link ends, and say how it did."""
        reader = threading.Thread(target=self._read, name="link-reader", daemon=True)
        reader.start()
        try:
            self._say_hello()
            while True:
                self._next_action()()
                self._keep_time()
        except _Over as over:
            self._connection.close(over.code)
            return self._ending(str(over), unsupported=over.unsupported)
        except ConnectionClosed as closed:
            return self._closed(closed)
        finally:
            self._ended.set()
            self._desk.plug(None)

    def _next_action(self) -> Callable[[], None]:
        due = [moment for moment in (self._answer_due, self._ping_due) if moment is not None]
        timeout = max(min(due) - time.monotonic(), 0.0) if due else None
        try:
            return self._mailbox.get(timeout=timeout)
        except queue.Empty:
            return _nothing

    def _read(self) -> None:
        """The reader's thread: what arrives goes into the mailbox, and waits for room there as TCP would."""
        while not self._ended.is_set():
            try:
                frame = self._connection.recv()
            except ConnectionClosed as closed:
                self._deliver(partial(self._raise, closed))
                return
            self._deliver(partial(self._hear, frame))

    def _deliver(self, action: Callable[[], None]) -> None:
        while not self._ended.is_set():
            try:
                self._mailbox.put(action, timeout=1.0)
                return
            except queue.Full:
                continue

    def _raise(self, error: ConnectionClosed) -> None:
        raise error

    def _say_hello(self) -> None:
        params: Json = {
            "protocol": PROTOCOL,
            "agent": f"muster-agent/{__version__}",
            "boot_id": self._boot,
            "capabilities": list(CAPABILITIES),
            **self._desk.hello(),
        }
        self._request("hello", params, self._on_hello)
        self._answer_due = time.monotonic() + self._timing.link_answer

    def _on_hello(self, answer: Answer) -> None:
        result = answer.result if isinstance(answer.result, dict) else {}
        beat = result.get("heartbeat")
        if answer.code is not None:
            reason = f"hello was refused: {answer.code} {answer.message}"
            raise _Over(reason, unsupported=answer.code == UNSUPPORTED)
        if not isinstance(beat, int | float) or isinstance(beat, bool) or beat != beat:
            raise _Over("hello was answered without a heartbeat", code=NOT_UNDERSTOOD)
        low, high = self._timing.link_heartbeats
        self.heartbeat = min(max(float(beat), low), high)
        self._up_since = time.monotonic()
        self._answer_due = None
        self._plan_ping()
        self._log.info("link_up", heartbeat=self.heartbeat, wanted=str(result.get("wanted", ""))[:32])
        self._desk.plug(self)

    def _plan_ping(self) -> None:
        self._ping_due = time.monotonic() + jittered(self.heartbeat, uniform=self._uniform)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self._answer_due is not None and now >= self._answer_due:
            raise _Over("no answer to " + ("hello" if self._up_since is None else "a ping"))
        if self._ping_due is not None and now >= self._ping_due:
            self._ping_due = None
            self._answer_due = now + self.heartbeat
            self._request("ping", {}, self._on_pong)

    def _on_pong(self, answer: Answer) -> None:
        # An error proves as well as a result that somebody is there.
        self._answer_due = None
        self._plan_ping()

    def _request(self, method: str, params: Json, on_answer: OnAnswer) -> None:
        self._number += 1
        self._waiting[self._number] = on_answer
        while len(self._waiting) > WAITING_MOST:
            self._waiting.pop(next(iter(self._waiting)))
        self._connection.send(request(self._number, method, params))

    def _hear(self, frame: str | bytes) -> None:
        try:
            heard = read_frame(frame)
        except BadFrame as bad:
            self._bad_frames += 1
            self._log.warning("link_bad_frame", error=bad, times=self._bad_frames)
            if self._bad_frames >= BAD_FRAMES_MOST:
                raise _Over("the controller cannot be understood", code=NOT_UNDERSTOOD) from bad
            self._connection.send(failure(None, bad.code))
            return
        if isinstance(heard, Incoming):
            self._dispatch(heard)
        elif isinstance(heard.id, int) and heard.id in self._waiting:
            self._waiting.pop(heard.id)(heard)

    def _dispatch(self, call: Incoming) -> None:
        if call.method in FOR_MAIN:
            if call.id is not None:
                self._desk.offer(self._call(call.method, call.params, call.id))
            else:
                self._connection.send(failure(None, NOT_A_REQUEST, message=f"{call.method} needs an id"))
            return
        self._unknown_methods += 1
        self._log.warning("link_unknown_method", method=call.method[:64], times=self._unknown_methods)
        if call.id is not None:
            self._connection.send(failure(call.id, UNKNOWN_METHOD))

    def _call(self, method: str, params: object, number: Id) -> Call:
        def succeed(result: Json) -> None:
            self._post(lambda: self._connection.send(success(number, result)))

        def fail(code: int, message: str, data: Json | None) -> None:
            self._post(lambda: self._connection.send(failure(number, code, message=message, data=data)))

        return Call(method=method, params=params, succeed=succeed, fail=fail)

    def _end(self, reason: str) -> None:
        raise _Over(reason)

    def _closed(self, closed: ConnectionClosed) -> Ending:
        frame = closed.rcvd or closed.sent
        if frame is None:
            return self._ending("the connection broke")
        return self._ending(frame.reason or "closed", code=frame.code)

    def _ending(self, reason: str, *, code: int | None = None, unsupported: bool = False) -> Ending:
        lasted = time.monotonic() - self._up_since if self._up_since is not None else 0.0
        return Ending(reason, code=code, lasted=lasted, unsupported=unsupported)


def _nothing() -> None:
    """Only the time has passed."""
