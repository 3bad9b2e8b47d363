"""Sending what was claimed over the links of this process, on the loop that serves them.

Invariant: the courier holds nothing that matters. It looks when it is rung, and every `LOOK_SECONDS` in any case; what
it has claimed and not sent comes back when the lease ends.
"""

import asyncio
import contextlib
import logging
import time
from functools import partial
from itertools import takewhile
from typing import Any

from django.conf import settings

from config_merge.delivery import answers, claims
from config_merge.delivery.answers import Answer, Said
from config_merge.delivery.claims import Push
from config_merge.delivery.outcomes import Step
from config_merge.delivery.words import words
from core.database_threads import Together
from core.rows import DATABASE_ERRORS
from devices.link import rpc
from devices.link.registry import Registry, registry

logger = logging.getLogger(__name__)
Asked = asyncio.Future[rpc.Response]
LOOK_SECONDS = 1.0
REASON_LENGTH = 1023
DOWNLOAD = "/controller/download-config/{}/"


class Courier:
    """State: the bell, the loop's task, and until when this process waits for the answers to its pushes."""

    def __init__(self, links: Registry) -> None:
        self._links = links
        self._bell: asyncio.Event | None = None
        self._looking: asyncio.Task[None] | None = None
        self._unanswered: dict[Asked, float] = {}
        self.answers: Together[Answer, None] = Together(links.threads, answers.take)
        links.on_look.append(self.ring)

    def ring(self) -> None:
        """Look for work now (on the loop)."""
        if self._bell is None or self._looking is None or self._looking.done():
            self._bell = asyncio.Event()
            self._looking = asyncio.create_task(self._look_forever(self._bell))
        self._bell.set()

    async def stop(self) -> None:
        """Stop looking; what was sent is not waited for."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        for asked in list(self._unanswered):
            asked.cancel()
        self._looking = self._bell = None

    async def _look_forever(self, bell: asyncio.Event) -> None:
        while self._links.loop is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await bell.wait()
            bell.clear()
            self._forget_late()
            if not self._links.links:
                continue
            try:
                await self._send_due()
            except DATABASE_ERRORS:
                logger.warning("due tasks could not be claimed; trying again", exc_info=True)
                await asyncio.sleep(LOOK_SECONDS)

    async def _send_due(self) -> None:
        """Claim and send until nothing is due, or as much as may be is under way."""
        while (room := settings.MUSTER.push_at_once - len(self._unanswered)) > 0:
            pushes = await self._links.threads.run(claims.claimed, self._links.server_id, room)
            for push in pushes:
                self._push(push)
            if len(pushes) < min(room, claims.CHUNK):
                return

    def _push(self, push: Push) -> None:
        """Send one task; what the device answers is written down when it comes."""
        link = self._links.links.get(push.device_id)
        if link is None or link.epoch != push.epoch:
            self._write(push, Said.GONE)
            return
        identifier = f"{push.task_id.hex}:{push.attempt}"
        try:
            asked = link.request("config.apply", apply_params(push), id=identifier)
        except ConnectionError:
            self._write(push, Said.GONE)
        except rpc.RpcError as error:
            self._refused(push, error)
        else:
            self._unanswered[asked] = time.monotonic() + claims.ANSWER_SECONDS
            asked.add_done_callback(partial(self._heard, push))

    def _forget_late(self) -> None:
        """Wait no longer for answers that are late: the device may have it and say so, or the lease ends."""
        at = time.monotonic()
        # The oldest come first.
        for asked in list(takewhile(lambda each: self._unanswered[each] < at, self._unanswered)):
            asked.cancel()

    def _heard(self, push: Push, asked: Asked) -> None:
        """Write down what a device answered. No answer: the lease takes the task back."""
        self._unanswered.pop(asked, None)
        if asked.cancelled() or asked.exception() is not None:
            return
        answer = asked.result()
        if answer.error is not None:
            self._refused(push, answer.error)
        else:
            self._answered(push, answer.result if isinstance(answer.result, dict) else {})

    def _refused(self, push: Push, error: rpc.RpcError) -> None:
        self._write(push, Said.BUSY if error.code == rpc.BUSY else Said.ERROR, error.message)

    def _answered(self, push: Push, answer: dict[str, object]) -> None:
        reason = answer.get("reason")
        told = reason[:REASON_LENGTH] if isinstance(reason, str) else ""
        match answer.get("state"):
            case "running":
                seconds = settings.MUSTER.confirm_seconds
                step = Step(push.task_id, push.device_id, push.attempt, "accepted", "", True, seconds)
                words.soon(step).add_done_callback(_written)
            case "applied":
                self._write(push, Said.APPLIED)
            case "failed":
                self._write(push, Said.FAILED, told)
            case _:
                self._write(push, Said.ERROR, "The device's answer has no known state.")

    def _write(self, push: Push, said: Said, reason: str = "") -> None:
        """Write an answer down; when the database is away, the lease says the same later."""
        answer = Answer(push.task_id, push.device_id, push.attempt, push.checksum, said, reason)
        self.answers.soon(answer).add_done_callback(_written)


def _written(written: "asyncio.Future[Any]") -> None:
    """Nobody waits for what was written down, so what went wrong is said here."""
    error = None if written.cancelled() else written.exception()
    if error is not None:
        logger.warning("what a device said could not be written", exc_info=error)


def apply_params(push: Push) -> dict[str, object]:
    """Return the parameters of `config.apply` (docs/link-protocol.md)."""
    params: dict[str, object] = {
        "task": str(push.task_id),
        "attempt": push.attempt,
        "revision": push.number,
        "checksum": push.checksum,
        "sha256": push.sha256,
        "url": DOWNLOAD.format(push.device_id),
        "confirm_within": settings.MUSTER.confirm_seconds,
    }
    if push.force:
        params["force"] = True
    if push.archive is not None:
        params["archive"] = push.archive
    return params


courier = Courier(registry)
