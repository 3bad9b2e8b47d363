"""Sleeping that signals and the link can end: SIGUSR1 polls now, SIGUSR2 re-applies now, SIGTERM and SIGINT stop.

Invariant: what arrives while nobody sleeps is not lost; the next sleep returns at once. No locks are
taken in a handler (a byte is written to a pipe), so a signal can never dead-lock the loop.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from muster_agent.errors import StopRequested


class Waker:
    """Installs its handlers when made, puts the earlier ones back at `close`. Main thread only."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)
        self._stop = False
        self._force = False
        self._poll = False
        self._rung = False
        self._interruptible = False
        handlers = {
            signal.SIGUSR1: self._on_poll,
            signal.SIGUSR2: self._on_force,
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
        }
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def sleep(self, seconds: float, *, nudges: bool = False) -> bool:
        """Wait; with `nudges`, SIGUSR1 and SIGUSR2 end the wait. Returns whether one did.

        Raises StopRequested when asked to stop.
        """
        self._wait(seconds, lambda: nudges and self._poll)
        return nudges and self.take_poll()

    def rest(self, seconds: float, *, nudges: bool = True) -> None:
        """Wait for `ring`, and with `nudges` for a signal, which `take_poll` then tells. Raises StopRequested."""
        self._wait(seconds, lambda: self._rung or (nudges and self._poll))
        self._rung = False

    def ring(self) -> None:
        """End a `rest`. Any thread may call this."""
        self._rung = True
        self._wake()

    def take_poll(self) -> bool:
        """Whether SIGUSR1 or SIGUSR2 arrived since the last call."""
        poll, self._poll = self._poll, False
        return poll

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while True:
            self.check()
            left = until - time.monotonic()
            if is_over() or left <= 0:
                return
            ready, _, _ = select.select([self._reader], [], [], left)
            if ready:
                self._drain()

    def check(self) -> None:
        """Raises StopRequested when asked to stop."""
        if self._stop:
            raise StopRequested

    def take_force(self) -> bool:
        """Whether SIGUSR2 arrived since the last call."""
        force, self._force = self._force, False
        return force

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While inside, a stop raises StopRequested at once: for calls that change nothing on disk."""
        self.check()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _drain(self) -> None:
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            return

    def _wake(self) -> None:
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            return  # the pipe is full, so the sleeper wakes anyway

    def _on_poll(self, number: int, frame: FrameType | None) -> None:
        self._poll = True
        self._wake()

    def _on_force(self, number: int, frame: FrameType | None) -> None:
        self._force = self._poll = True
        self._wake()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        self._wake()
        if self._interruptible:
            raise StopRequested
