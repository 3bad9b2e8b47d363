"""The dashboard's websocket, `/ws/dashboard/`: a snapshot when it opens, then whatever changed.

Invariant: a socket shows what its person may see, and that is asked again every `RECHECK_SECONDS`: who signs out, loses
the staff flag or leaves an organization is cut off from it. All sockets of a process that look at the same
organizations share one poller; a socket keeps at most the latest form of each part, so a slow reader costs no memory,
and is dropped. Nothing that is received is acted upon.

The database is asked rather than an event awaited: any process, or a person with a database shell, may have changed it.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import connections
from django.http import HttpRequest

from config_merge.figures import Organizations
from config_merge.live import EVERY_SECONDS, current_parts, organizations_looked_at_by
from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)
T = TypeVar("T")

RECHECK_SECONDS = 20.0
SEND_SECONDS = 10.0
AFTER_AN_ERROR_SECONDS = 10.0
LONGEST_FRAME = 1024
MOST_SOCKETS = 1000
MOST_OF_ONE_PERSON = 20

# Close codes: ours for the application, RFC 6455 section 7.4.1 for the rest.
REFUSED = 4403
TOO_MANY = 4429
TOO_BIG = 1009
TOO_SLOW = 1008


async def asked(question: Callable[..., T], *arguments: Any) -> T:
    """Run a question to the database in a thread, and leave no connection behind in it."""

    def run() -> T:
        try:
            return question(*arguments)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


def viewer(session_key: str | None) -> tuple[UUID, Organizations] | None:
    """Return who a session belongs to and the organizations they may look at; None when it may not look at all."""
    if not session_key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user: Any = get_user(request)
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return None
    return user.pk, organizations_looked_at_by(user)


class Watch:
    """The poller for one set of organizations, alive while somebody looks."""

    def __init__(self, organizations: Organizations) -> None:
        self.organizations = organizations
        self.parts: dict[str, str] = {}
        self.sockets: set[DashboardConsumer] = set()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                parts = await asked(current_parts, self.organizations)
            except DATABASE_ERRORS:
                logger.warning("The dashboard's numbers could not be read.", exc_info=True)
                await asyncio.sleep(AFTER_AN_ERROR_SECONDS)
                continue
            changed = {name: html for name, html in parts.items() if self.parts.get(name) != html}
            self.parts = parts
            if changed:
                for socket in self.sockets:
                    socket.offer(changed)
            await asyncio.sleep(EVERY_SECONDS)


class Watches:
    """The pollers of this process, by the organizations they look at."""

    def __init__(self) -> None:
        self._watches: dict[Organizations, Watch] = {}
        self._people: Counter[UUID] = Counter()

    def admits(self, person: UUID) -> bool:
        """Tell whether there is room for another socket of this person."""
        return self._people.total() < MOST_SOCKETS and self._people[person] < MOST_OF_ONE_PERSON

    def join(self, socket: "DashboardConsumer", *, person: UUID, organizations: Organizations) -> None:
        """Let a socket look at organizations; it is offered everything known of them."""
        self._people[person] += 1
        watch = self._watches.get(organizations)
        if watch is None:
            watch = self._watches[organizations] = Watch(organizations)
        watch.sockets.add(socket)
        socket.offer(watch.parts)

    def leave(self, socket: "DashboardConsumer", *, person: UUID, organizations: Organizations) -> None:
        """Take a socket away; with the last one its poller ends."""
        self._people[person] -= 1
        if self._people[person] <= 0:
            del self._people[person]
        watch = self._watches[organizations]
        watch.sockets.discard(socket)
        if not watch.sockets:
            watch.task.cancel()
            del self._watches[organizations]


watches = Watches()


class DashboardConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open dashboard."""

    person: UUID | None = None
    organizations: Organizations = frozenset()
    sender: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Admit staff who are signed in; others are refused before the handshake ends."""
        self.pending: dict[str, str] = {}
        self.news = asyncio.Event()
        found = await asked(viewer, self._session_key())
        if found is None:
            await self.close(code=REFUSED)
            return
        if not self._admits(found[0]):
            await self.close(code=TOO_MANY)
            return
        await self.accept()
        self._join(*found)
        self.sender = asyncio.create_task(self._send_news())

    def _session_key(self) -> str | None:
        session = self.scope.get("session")
        return session.session_key if session is not None else None

    def offer(self, parts: dict[str, str]) -> None:
        """Keep the newest form of each part until it can be sent."""
        self.pending |= parts
        if self.pending:
            self.news.set()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing is asked over this socket; whoever sends much is at the wrong door."""
        if len(text_data or bytes_data or "") > LONGEST_FRAME:
            await self.close(code=TOO_BIG)

    async def disconnect(self, code: int) -> None:
        """Stop sending and watching."""
        if self.sender is not None:
            self.sender.cancel()
            self.sender = None
        self._leave()

    def _admits(self, person: UUID) -> bool:
        return watches.admits(person)

    def _join(self, person: UUID, organizations: Organizations) -> None:
        self.person, self.organizations = person, organizations
        watches.join(self, person=person, organizations=organizations)

    def _leave(self) -> None:
        if self.person is not None:
            watches.leave(self, person=self.person, organizations=self.organizations)
            self.person = None

    async def _send_news(self) -> None:
        checked = time.monotonic()
        while True:
            left = RECHECK_SECONDS - (time.monotonic() - checked)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), max(left, 0.01))
            if time.monotonic() - checked >= RECHECK_SECONDS:
                if not await self._may_stay():
                    return
                checked = time.monotonic()
            if self.news.is_set() and not await self._send_pending():
                return

    async def _may_stay(self) -> bool:
        """Ask again who this is; other organizations are looked at by another poller."""
        try:
            found = await asked(viewer, self._session_key())
        except DATABASE_ERRORS:
            return True
        if found is None or found[0] != self.person:
            self._leave()
            await self.close(code=REFUSED)
            return False
        if found[1] != self.organizations:
            self._leave()
            self.pending.clear()
            self._join(*found)
        return True

    async def _send_pending(self) -> bool:
        """Send what is kept; False when the reader is gone or does not keep up."""
        self.news.clear()
        parts, self.pending = self.pending, {}
        try:
            await asyncio.wait_for(self.send(text_data=json.dumps({"parts": parts})), SEND_SECONDS)
        except TimeoutError:
            self._leave()
            await self.close(code=TOO_SLOW)
            return False
        except OSError:
            return False
        return True
