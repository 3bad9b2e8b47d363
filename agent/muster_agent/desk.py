"""Where the link's thread and the main thread meet: calls one way, reports and what to say of oneself the other.

Invariant: only the main thread touches the disk and the tree; only the link's thread touches the socket. One task at a
time: while the device is occupied, whatever else the controller asks is refused at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from muster_agent.link_frames import BUSY, Answer
from muster_agent.plan import Json
from muster_agent.records import Pending

CALLS_MOST = 8


@dataclass(frozen=True)
class Standing:
    """What is on the disk: the applied checksum, the digest of what is really there, and the order that is not over.

    `owed` is the task that is over and whose result the controller has not acknowledged.
    """

    applied: str = ""
    actual: str | None = None
    order: tuple[str, int] | None = None
    owed: tuple[str, int] | None = None


@dataclass(frozen=True)
class Call:
    """A request of the controller's for the main thread. `succeed` and `fail` answer it over the link it came by."""

    method: str
    params: object = field(repr=False)
    succeed: Callable[[Json], None]
    fail: Callable[[int, str, Json | None], None]


class Line(Protocol):
    """A link that is up. Nothing here waits for the network; what finds no room is dropped."""

    heartbeat: float

    def tell(self, method: str, params: Json) -> None:
        """Send a notification."""

    def ask(self, method: str, params: Json, on_answer: Callable[[Answer], None]) -> None:
        """Send a request; `on_answer` is called from the link's thread, or never."""

    def drop(self) -> None:
        """This link seems to be dead: dial again."""


class Desk:
    """`ring` wakes the main thread."""

    def __init__(self, *, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()
        self._answers: deque[tuple[Pending, Answer]] = deque(maxlen=CALLS_MOST)
        self._occupied = False
        self._task: tuple[str, int] | None = None
        self._closed = False
        self.standing = Standing()
        self.line: Line | None = None
        # Set when the network may be another one than that in which dialling failed.
        self.redial = threading.Event()

    # The link's thread.

    def hello(self) -> Json:
        """The members of `hello` that tell what the device is at."""
        with self._lock:
            task = self._task or self.standing.order or self.standing.owed
            busy = {"task": task[0], "attempt": task[1]} if task is not None else None
            return {"applied": self.standing.applied, "actual": self.standing.actual, "busy": busy}

    def offer(self, call: Call) -> None:
        """Leave `call` for the main thread, or refuse it."""
        with self._lock:
            task = self._task or self.standing.order
            refused = self._occupied or task is not None or self._closed or len(self._calls) >= CALLS_MOST
            if not refused:
                self._calls.append(call)
        if refused:
            _refuse(call, task)
        else:
            self._wake()

    def plug(self, line: Line | None) -> None:
        """The link is up, or down."""
        self.line = line
        self._wake()

    def answered(self, pending: Pending, answer: Answer) -> None:
        """What the controller said to a report."""
        with self._lock:
            self._answers.append((pending, answer))
        self._wake()

    # The main thread.

    def take_call(self) -> Call | None:
        """The oldest call nobody has answered."""
        with self._lock:
            return self._calls.popleft() if self._calls else None

    def is_asked(self) -> bool:
        """Whether there is a call nobody has answered."""
        with self._lock:
            return bool(self._calls)

    def take_answer(self, pending: Pending) -> Answer | None:
        """The answer to the report of `pending`, if it came. Answers to other reports came too late and go."""
        with self._lock:
            found = next((answer for about, answer in self._answers if about == pending), None)
            self._answers.clear()
            return found

    @contextmanager
    def occupied(self, task: tuple[str, int] | None = None) -> Iterator[None]:
        """While inside, the device works on `task` (None: on what it fetched by polling)."""
        with self._lock:
            self._occupied, self._task = True, task
            waiting = list(self._calls)
            self._calls.clear()
        for call in waiting:
            _refuse(call, task)
        try:
            yield
        finally:
            with self._lock:
                self._occupied, self._task = False, None
            self.redial.set()

    def close(self) -> None:
        """Nobody sits here any more: `ring` is not called again."""
        with self._lock:
            self._closed = True

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                self._ring()


def _refuse(call: Call, task: tuple[str, int] | None) -> None:
    call.fail(BUSY, "", {"task": task[0] if task is not None else None})
