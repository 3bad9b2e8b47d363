"""The websocket of pages that show devices and tasks, `/ws/presence/`: the page names them, and is told what changes.

The page sends `{"devices": [id, …], "tasks": [id, …], "kinds": ["seen", …]}`, at most `MOST_SHOWN` of each, as often as
it shows others; it gets `{"parts": {"seen:<id>": html, …}}`. Invariant: a part goes only to who may see its
organization at that moment, and whose page named it. All sockets of a process share one poll of two queries.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from typing import Any
from uuid import UUID

from config_merge import consumers
from config_merge.consumers import AFTER_AN_ERROR_SECONDS, TOO_BIG, TOO_MANY, DashboardConsumer, asked
from config_merge.figures import Organizations
from config_merge.live_devices import KINDS, STATE, Now, Parts, current, seen_by
from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
# A poll that took a second is followed by two of rest.
REST = 2
MOST_SHOWN = 200
MOST_WATCHED = 10_000
LONGEST_FRAME = 20_000
# A page that asks for others more often than this is no page of ours.
MOST_ASKED, ASKED_WITHIN = 20, 10.0
NOT_UNDERSTOOD = 4400


class Board:
    """The poller of this process, alive while somebody looks."""

    def __init__(self) -> None:
        self.sockets: set[PresenceConsumer] = set()
        self.people: Counter[UUID] = Counter()
        self.task: asyncio.Task[None] | None = None
        self.changed: asyncio.Event | None = None

    def admits(self, person: UUID) -> bool:
        """Tell whether there is room for another socket of this person."""
        return (
            self.people.total() < consumers.MOST_SOCKETS
            and self.people[person] < consumers.MOST_OF_ONE_PERSON
        )

    def has_room(self, socket: "PresenceConsumer", devices: set[UUID], tasks: set[UUID]) -> bool:
        """Tell whether these can be watched beside all others."""
        others = self.sockets - {socket}
        return (
            len(devices.union(*(each.devices for each in others))) <= MOST_WATCHED
            and len(tasks.union(*(each.tasks for each in others))) <= MOST_WATCHED
        )

    def join(self, socket: "PresenceConsumer", person: UUID) -> None:
        """Let a socket be told what it names."""
        self.people[person] += 1
        self.sockets.add(socket)
        if self.task is None:
            self.changed = asyncio.Event()
            self.task = asyncio.create_task(self._run(self.changed))

    def leave(self, socket: "PresenceConsumer", person: UUID) -> None:
        """Take a socket away; with the last one the poller ends."""
        self.people[person] -= 1
        if self.people[person] <= 0:
            del self.people[person]
        self.sockets.discard(socket)
        if not self.sockets and self.task is not None:
            self.task.cancel()
            self.task = self.changed = None

    def look(self) -> None:
        """Look now: a page has named something new."""
        if self.changed is not None:
            self.changed.set()

    async def _run(self, changed: asyncio.Event) -> None:
        while True:
            changed.clear()
            devices = set[UUID]().union(*(socket.devices for socket in self.sockets))
            tasks = set[UUID]().union(*(socket.tasks for socket in self.sockets))
            begun = time.monotonic()
            pause = EVERY_SECONDS
            if devices or tasks:
                try:
                    now = await asked(current, devices, tasks)
                except DATABASE_ERRORS:
                    logger.warning("What pages show of devices could not be read.", exc_info=True)
                    await asyncio.sleep(AFTER_AN_ERROR_SECONDS)
                    continue
                for socket in list(self.sockets):
                    socket.take(now)
                pause = max(EVERY_SECONDS, REST * (time.monotonic() - begun))
            try:
                async with asyncio.timeout(pause):
                    await changed.wait()
            except TimeoutError:
                continue


board = Board()


class PresenceConsumer(DashboardConsumer):
    """One open page."""

    devices: frozenset[UUID] = frozenset()
    tasks: frozenset[UUID] = frozenset()
    kinds: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told: dict[str, str] = {}
        self._asked: list[float] = []

    def _admits(self, person: UUID) -> bool:
        return board.admits(person)

    def _join(self, person: UUID, organizations: Organizations) -> None:
        self.person, self.organizations = person, organizations
        board.join(self, person)

    def _leave(self) -> None:
        if self.person is not None:
            board.leave(self, self.person)
            self.person = None

    def take(self, now: Now) -> None:
        """Keep what changed of what the page shows, for who may see it, until it can be sent."""
        parts: dict[str, str] = {}
        for device_id in self.devices:
            parts |= self._news(device_id, now.devices.get(device_id), self.kinds)
        for task_id in self.tasks:
            parts |= self._news(task_id, now.tasks.get(task_id), {STATE})
        self.told |= parts
        self.offer(parts)

    def _news(self, pk: UUID, parts: Parts | None, kinds: set[str] | frozenset[str]) -> dict[str, str]:
        if parts is None or not (self.organizations is None or parts.organization_id in self.organizations):
            return {}
        named = {f"{kind}:{pk}": text for kind, text in parts.texts.items() if kind in kinds}
        return {name: text for name, text in named.items() if self.told.get(name) != text}

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take in what the page shows from now on."""
        text = text_data or ""
        if bytes_data or len(text) > LONGEST_FRAME:
            await self.close(code=TOO_BIG)
            return
        at = time.monotonic()
        self._asked = [moment for moment in self._asked if at - moment < ASKED_WITHIN] + [at]
        if len(self._asked) > MOST_ASKED:
            await self.close(code=TOO_MANY)
            return
        shown = named(text)
        if shown is None:
            await self.close(code=NOT_UNDERSTOOD)
            return
        devices, tasks, kinds = shown
        try:
            devices, tasks = await asked(seen_by, self.organizations, devices, tasks)
        except DATABASE_ERRORS:
            # The page asks again when it is connected anew.
            await self.close(code=consumers.TOO_SLOW)
            return
        if self.person is None:
            return
        if not board.has_room(self, devices, tasks):
            self._leave()
            await self.close(code=TOO_MANY)
            return
        self.devices, self.tasks, self.kinds = frozenset(devices), frozenset(tasks), frozenset(kinds)
        self.told = {}
        board.look()


def named(text: str) -> tuple[set[UUID], set[UUID], set[str]] | None:
    """Return which devices, tasks and kinds of parts a page names; None for what no page of ours says.

    >>> named('{"devices": ["00000000-0000-0000-0000-000000000001"], "kinds": ["seen", "x"]}')
    ({UUID('00000000-0000-0000-0000-000000000001')}, set(), {'seen'})
    >>> named("[]") is None, named('{"devices": ["x"]}') is None
    (True, True)
    """
    try:
        said = json.loads(text)
        lists = [said.get(name, []) for name in ("devices", "tasks", "kinds")]
        if any(not isinstance(each, list) or len(each) > MOST_SHOWN for each in lists):
            return None
        devices, tasks = ({UUID(pk) for pk in each} for each in lists[:2])
        return devices, tasks, {str(kind) for kind in lists[2]} & set(KINDS)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
