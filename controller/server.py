"""HTTP server, task worker and beat in one process: what `manage.py up` runs.

Invariant: everything started here is stopped here, in the reverse order, within GRACE_SECONDS of SIGTERM or
SIGINT; tasks in flight finish. What cannot finish in time is in the database and is taken up again at the
next start.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop
from celery.beat import Scheduler, Service
from celery.worker import state as worker_state
from celery.worker.consumer import Consumer
from celery.worker.loops import synloop

from controller.celery import app as celery_app
from controller.tasks import heartbeat
from core.wake import ring

logger = logging.getLogger(__name__)
GRACE_SECONDS = 8.0
REQUEST_GRACE_SECONDS = 3
BUSY_SECONDS = 0.02
# A device whose cable is pulled says nothing more: the kernel asks whether it is there, and ends the connection after
# 25 s without an answer. (Connections take this over from the socket that listens.)
KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))

_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop | None:
    """The loop that serves our connections, for `asyncio.run_coroutine_threadsafe` from worker threads.

    None where nothing is served: in a separate worker process a message goes through the channel layer
    instead.
    """
    return _loop


def set_loop(running: asyncio.AbstractEventLoop | None) -> None:
    """Told by the lifespan of `controller.asgi`, whichever server runs it."""
    global _loop
    _loop = running


def listen(*, host: str, port: int) -> socket.socket:
    """A bound socket, before anything slow starts; raises OSError when the port is taken or not allowed."""
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """uvicorn with our signals: they end it quietly instead of being raised again after the last request."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into an orderly end; a second one stops waiting for open requests."""
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                running.remove_signal_handler(number)
                # The rest of the way out must not be cut short by an impatient second Ctrl-C.
                signal.signal(number, signal.SIG_IGN)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_started()


class _Watched:
    """A broker connection that is asked again soon while every thread has a task.

    Over Redis nothing wakes the polling loop when a task ends: it would sleep for two seconds with free threads and
    messages waiting, and take one message a second for each thread.
    """

    def __init__(self, connection: Any, qos: Any) -> None:
        self._connection, self._qos = connection, qos

    def drain_events(self, timeout: float) -> None:
        """Take a message, waiting for one if there is a thread for it. Raises TimeoutError."""
        self._connection.drain_events(timeout=timeout if self._qos.can_consume() else BUSY_SECONDS)


class _Consumer(Consumer):  # type: ignore[misc]
    """Celery's consumer with that connection in its polling loop."""

    @staticmethod
    def loop(consumer: Any, connection: Any, tasks: Any, *rest: Any, **named: Any) -> None:
        """Consume until the worker stops."""
        synloop(consumer, _Watched(connection, tasks.channel.qos), tasks, *rest, **named)


class Background:
    """The task worker and beat as threads of this process."""

    def __init__(self, *, threads: int) -> None:
        worker_state.should_stop = worker_state.should_terminate = None
        self._worker = celery_app.WorkController(
            pool="threads",
            concurrency=threads,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            # The polling loop: Celery's own event loop would want the main thread.
            use_eventloop=False,
            consumer_cls=_Consumer,
            hostname=f"up@{socket.gethostname()}",
        )
        self._beat = Service(celery_app, max_interval=1, scheduler_cls=Scheduler)
        self._worker_thread = threading.Thread(target=self._worker.start, name="worker", daemon=True)
        self._beat_thread = threading.Thread(target=self._beat.start, name="beat", daemon=True)

    def start(self) -> None:
        """Start both threads."""
        self._worker_thread.start()
        self._beat_thread.start()

    def stop(self, *, seconds: float) -> bool:
        """Ask both to end, let tasks in flight finish; False when the worker needs longer than `seconds`."""
        self._beat.stop()
        worker_state.should_stop = 0
        # The worker looks at that only between messages, waiting up to two seconds for each of two: give it
        # two.
        ring(heartbeat)
        ring(heartbeat)
        self._worker_thread.join(seconds)
        return not self._worker_thread.is_alive()


def serve(listener: socket.socket, *, threads: int, on_started: Callable[[], None]) -> bool:
    """Serve until SIGTERM or SIGINT; returns whether everything ended in time.

    `on_started` is called once, in the loop's thread, when requests are being answered.
    """
    config = uvicorn.Config(
        "controller.asgi:application",
        loop="none",
        http="httptools",
        ws="websockets-sansio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # controller.asgi does this itself, for trusted proxies only.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=REQUEST_GRACE_SECONDS,
        ws_max_size=1 << 20,
    )
    background = Background(threads=threads)
    server = Server(config, on_started=on_started)
    background.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server, listener))
    finally:
        in_time = background.stop(seconds=GRACE_SECONDS - REQUEST_GRACE_SECONDS)
    return in_time


async def _serve(server: Server, listener: socket.socket) -> Any:
    return await server.serve(sockets=[listener])
