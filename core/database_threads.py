"""Database work of the event loop, on a few threads of its own.

Django's connections belong to threads. What answers before Django does (`config_merge.agent.asgi`, the device link)
hands its writes to this pool; things that arrive together are written together (`Together`).
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from django.db import close_old_connections, connections

from core.db import is_postgresql
from core.request_ids import needed_request_id

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
THREADS = 8
# SQLite admits one writer: more of them would only wait for each other, and it waits by sleeping.
SQLITE_THREADS = 1


def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run database work on a pool thread. Connections go back to PostgreSQL's pool; SQLite's stays open.

    Opening one costs SQLite more than the work itself, and there is no server that could drop it.
    """
    if not is_postgresql():
        return work(*args)
    close_old_connections()
    try:
        return work(*args)
    finally:
        close_old_connections()


class DatabaseThreads:
    """State: a small pool of threads that keep their connections."""

    def __init__(self, name: str) -> None:
        threads = THREADS if is_postgresql() else SQLITE_THREADS
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run `work` on a thread. Its log lines and audit rows belong to the request at hand."""
        needed_request_id()
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, context.run, _in_thread, work, *args
        )

    def close(self) -> None:
        """End the threads, when nothing needs them any more."""
        self._pool.submit(connections.close_all).result()
        self._pool.shutdown()


class Together(Generic[Item, Answer]):
    """Hands items that arrive while the last ones are being worked on to the next call, all at once.

    `work` takes a list of items and returns as many answers, in order; what it raises is raised to everyone who waits
    for that call.
    """

    def __init__(
        self, threads: DatabaseThreads, work: Callable[[list[Item]], Sequence[Answer]], *, most: int = 200
    ) -> None:
        self._threads = threads
        self._work = work
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Answer:
        """Return the answer to one item, after the commit of the call it went with."""
        return await self.soon(item)

    def soon(self, item: Item) -> "asyncio.Future[Answer]":
        """Let an item be worked on; who does not wait for the future passes over its answer, never its error."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._working is None:
            self._working = asyncio.create_task(self._work_off())
        return future

    async def idle(self) -> None:
        """Wait until nothing is left to do."""
        while (working := self._working) is not None:
            await asyncio.wait([working])

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    answers = await self._threads.run(self._work, [item for item, _ in batch])
                    answered = list(zip(batch, answers, strict=True))
                except asyncio.CancelledError:
                    for _, waiting in batch + self._waiting:
                        waiting.cancel()
                    self._waiting = []
                    raise
                except Exception as error:  # noqa: BLE001 - it is raised in everyone who waits for this batch
                    for _, waiting in batch:
                        if not waiting.done():
                            waiting.set_exception(error)
                    continue
                for (_, waiting), answer in answered:
                    if not waiting.done():
                        waiting.set_result(answer)
        finally:
            self._working = None
