"""The links of this process, and what it does for all of them together.

Invariant: one subscription to the channel layer per process, however many links it holds; what every link needs from
the database is read and written for many links at once. Losing a message costs at most `LOOK_SECONDS`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from channels.layers import InMemoryChannelLayer, get_channel_layer
from redis.exceptions import RedisError

from core import metrics
from core.database_threads import DatabaseThreads, Together
from core.rows import DATABASE_ERRORS, RowReader, row_reader
from devices.events import Opening
from devices.link import presence
from devices.link.door import door
from devices.link.presence import Telemetry, Welcome

if TYPE_CHECKING:
    from devices.link.consumer import LinkConsumer

logger = logging.getLogger(__name__)
GROUP = "muster.links"
HEARTBEAT = 30
SILENT_BEATS = 2.5
VERDICT_SECONDS = 4.0
SEEN_SECONDS = 30.0
JOIN_SECONDS = 10.0
REPLACED, NOT_SERVED, SILENT, STOPPING = 4000, 4003, 4010, 1012
CHANNEL_ERRORS = (RedisError, OSError)


def shared_layer() -> Any | None:
    """Return the channel layer that reaches other processes, or None where there is none."""
    layer = get_channel_layer()
    return None if layer is None or isinstance(layer, InMemoryChannelLayer) else layer


class Registry:
    """State: the links by device, the pool of threads, and the background work of the process."""

    def __init__(self) -> None:
        self.server_id = uuid4()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.links: dict[UUID, LinkConsumer] = {}
        self.heard: set[UUID] = set()
        self.on_look: list[Callable[[], None]] = []
        self.is_stopping = False
        self._reader: RowReader | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.threads = DatabaseThreads("links")
        self.opening: Together[Opening, Welcome | None] = Together(
            self.threads, lambda openings: presence.links_open(self.server_id, openings)
        )
        self.closing: Together[UUID, int] = Together(
            self.threads, lambda epochs: [presence.links_close(epochs)] * len(epochs), most=500
        )
        self.telemetry: Together[Telemetry, None] = Together(self.threads, presence.telemetry_write)

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the background work, on the loop that serves the links."""
        if self.loop is not None:
            return
        self.loop = asyncio.get_running_loop()
        work = [self._beat(), self._judge(), self._note_seen()]
        if shared_layer() is not None:
            work.append(self._listen())
        self._tasks = [asyncio.create_task(each) for each in work]

    async def stop(self) -> None:
        """Close every link, and write down that they are gone."""
        self.is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(link.close(STOPPING) for link in list(self.links.values())))
        await self.opening.idle()
        await self.closing.idle()
        with contextlib.suppress(*DATABASE_ERRORS):
            await self.threads.run(presence.server_close, self.server_id)
        if self._reader is not None:
            await self._reader.close()
        self.loop, self._reader, self._tasks = None, None, []
        self.links.clear()
        self.is_stopping = False

    # --- links --------------------------------------------------------------------------------------------------------

    async def row(self, device_id: UUID) -> tuple[Any, ...] | None:
        """Return the row the door decides from (one indexed read)."""
        if self._reader is None:
            self._reader = row_reader(columns=door().columns, source=door().source, key=door().key)
        return await self._reader.get(device_id)

    async def add(self, link: "LinkConsumer", opening: Opening) -> Mapping[str, Any] | None:
        """Write a link down and hold it; None when its device is gone. The one it replaces is closed.

        Raises one of DATABASE_ERRORS.
        """
        welcome = await self.opening.do(opening)
        if welcome is None:
            return None
        if link.is_closed:
            self.closing.soon(opening.epoch)
            return welcome.answer
        if welcome.replaced == opening.epoch:
            # A newer link of the device came with the same batch.
            await link.close(REPLACED)
            return welcome.answer
        held = self.links.get(opening.device_id)
        self.links[opening.device_id] = link
        if held is not None and held is not link:
            await held.close(REPLACED)
        elif welcome.replaced is not None:
            await self.tell_others(
                {"type": "links.replaced", "epoch": welcome.replaced.hex, "device": opening.device_id.hex}
            )
        return welcome.answer

    def remove(self, link: "LinkConsumer") -> None:
        """Forget a link that is closed."""
        if self.links.get(link.device_id) is link:
            del self.links[link.device_id]
            self.heard.discard(link.device_id)
        if link.is_written and not self.is_stopping:
            self.closing.soon(link.epoch)

    def look(self) -> None:
        """Let those who deliver look for work."""
        for listener in self.on_look:
            listener()

    def hear(self, message: Mapping[str, Any]) -> None:
        """Act on a message of another process or thread (on the loop)."""
        kind = message.get("type")
        if kind == "links.look":
            self.look()
        elif kind == "links.replaced":
            link = self.links.get(UUID(message["device"]))
            if link is not None and link.epoch.hex == message["epoch"]:
                self._spawn(link.close(REPLACED))
        elif kind == "links.call":
            link = self.links.get(UUID(message["device"]))
            if link is not None:
                self._spawn(self._call(link, message))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _call(self, link: "LinkConsumer", message: Mapping[str, Any]) -> None:
        """Ask a device what another process wants to know, and send the answer there."""
        told = await link.outcome(message["method"], message["params"], seconds=message["seconds"])
        layer = shared_layer()
        if layer is not None:
            with contextlib.suppress(*CHANNEL_ERRORS):
                await layer.send(message["reply"], {"type": "links.answer", **told})

    async def tell_others(self, message: Mapping[str, Any]) -> None:
        """Send a message to all other processes that hold links; it may get lost."""
        layer = shared_layer()
        if layer is None:
            return
        try:
            await layer.group_send(GROUP, {**message, "from": self.server_id.hex})
        except CHANNEL_ERRORS:
            logger.warning("the channel layer cannot be reached; links will be found at the next look")

    # --- background work ----------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Say that this process lives; when it was given up, write its links down anew."""
        while True:
            await asyncio.sleep(presence.BEAT_SECONDS)
            if not self.links:
                continue
            try:
                if not await self.threads.run(presence.server_beat, self.server_id):
                    await self._write_again()
            except DATABASE_ERRORS:
                logger.warning("this process could not say that it lives", exc_info=True)

    async def _write_again(self) -> None:
        """After a pause in which this process was given up: its devices are still linked."""
        openings = [link.opening for link in self.links.values() if link.opening is not None]
        for start in range(0, len(openings), 200):
            await self.threads.run(presence.links_open, self.server_id, openings[start : start + 200])

    async def _judge(self) -> None:
        """Close links that were replaced elsewhere, of devices not served any more, and silent ones."""
        while True:
            await asyncio.sleep(VERDICT_SECONDS)
            silent_since = time.monotonic() - HEARTBEAT * SILENT_BEATS
            for link in [link for link in self.links.values() if link.heard_at < silent_since]:
                await link.close(SILENT)
            if not self.links:
                continue
            held = {device_id: link.epoch for device_id, link in self.links.items() if link.is_written}
            try:
                found = await self.threads.run(presence.verdicts, self.server_id)
            except DATABASE_ERRORS:
                logger.warning("links could not be compared with the database", exc_info=True)
                continue
            for device_id, epoch in held.items():
                current = self.links.get(device_id)
                if current is None or current.epoch != epoch:
                    continue
                if device_id in found.unserved:
                    await current.close(NOT_SERVED)
                elif found.epochs.get(device_id) != epoch:
                    await self._missing(current)

    async def _missing(self, link: "LinkConsumer") -> None:
        """A link that the database does not have: the device is gone, or linked elsewhere."""
        row = await self.row(link.device_id)
        served = row is not None and door().admits(row) is not None
        await link.close(REPLACED if served else NOT_SERVED)

    async def _note_seen(self) -> None:
        """Write now and then which linked devices were heard."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            heard, self.heard = self.heard, set()
            try:
                await self.threads.run(presence.seen, sorted(heard))
            except DATABASE_ERRORS:
                logger.warning("who was heard could not be written", exc_info=True)

    async def _listen(self) -> None:
        """Hear what other processes say, also after the channel layer was away."""
        while True:
            layer = shared_layer()
            if layer is None:
                return
            try:
                channel = await layer.new_channel("muster-links")
                joined = -JOIN_SECONDS
                while True:
                    if time.monotonic() - joined >= JOIN_SECONDS:
                        await layer.group_add(GROUP, channel)
                        joined = time.monotonic()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(JOIN_SECONDS):
                            message = await layer.receive(channel)
                            if message.get("from") != self.server_id.hex:
                                self.hear(message)
            except CHANNEL_ERRORS:
                logger.warning("the channel layer cannot be reached; trying again")
                await asyncio.sleep(1)


registry = Registry()
metrics.gauge(
    "muster_links", "Device links that this process holds.", lambda: {(): float(len(registry.links))}
)
