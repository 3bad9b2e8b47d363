"""Devices that poll, and the run over all of them."""

import asyncio
import contextlib
import hashlib
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TextIO

from controller.simulation.calls import Calls, SimulatedDevice, device_of
from controller.simulation.client import Client, OperationFailed
from controller.simulation.report import Recorder, SimulationReport, progress_shown
from controller.simulation.settings import SimulationSettings


class Fleet:
    """The devices' lives against one server."""

    def __init__(self, settings: SimulationSettings, *, client: Client, recorder: Recorder) -> None:
        self._settings = settings
        self._calls = Calls(settings, client=client, recorder=recorder)
        self._recorder = recorder

    async def live(self, device: SimulatedDevice, *, random_source: random.Random) -> None:
        """Register, then poll until the cycles are over. Failures are counted; a refusal ends this device."""
        if not await self._survived(self._calls.register(device)) or not device.uuid:
            return
        cycle = 0
        while True:
            if not await self._survived(self._cycle(device)):
                return
            cycle += 1
            if self._settings.cycles is not None and cycle >= self._settings.cycles:
                return
            # Without jitter a fleet that registered in one second would poll in one second for ever.
            await asyncio.sleep(self._settings.interval * random_source.uniform(0.9, 1.1))

    async def _survived(self, step: Coroutine[Any, Any, None]) -> bool:
        """Whether the device may go on after `step`; its failure is counted."""
        try:
            await step
        except OperationFailed as error:
            self._recorder.failed(error.operation, str(error))
            return not error.final
        return True

    async def _cycle(self, device: SimulatedDevice) -> None:
        checksum = await self._calls.checksum(device)
        if checksum == device.checksum:
            return
        archive = await self._calls.download(device)
        if hashlib.md5(archive, usedforsecurity=False).hexdigest() != checksum:
            if await self._calls.checksum(device) == checksum:
                raise OperationFailed("download", "the archive's md5 is not the checksum")
            return  # it changed between the two requests: an agent starts over at its next cycle
        await self._calls.report(device)
        device.checksum = checksum
        if device.reports_error:
            self._recorder.rejected += 1
        else:
            self._recorder.applied += 1


async def simulate(settings: SimulationSettings, *, progress: TextIO | None = None) -> SimulationReport:
    """Run the fleet until its cycles, its duration or SIGINT ends it. Main thread, for the signal."""
    client, recorder = Client(settings), Recorder(settings.devices)
    fleet = Fleet(settings, client=client, recorder=recorder)
    async with interruptible() as interrupted, progress_shown(recorder, progress):
        lives = [
            asyncio.create_task(
                fleet.live(
                    device_of(settings, index),
                    random_source=random.Random(f"{settings.seed}:{index}"),  # noqa: S311  (jitter)
                )
            )
            for index in range(settings.devices)
        ]
        finished = asyncio.gather(*lives)
        stop = asyncio.create_task(interrupted.wait())
        ends: set[asyncio.Future[Any]] = {finished, stop}
        await asyncio.wait(ends, timeout=settings.duration, return_when=asyncio.FIRST_COMPLETED)
        report = recorder.report()
        stop.cancel()
        if finished.done():
            finished.result()
        else:
            finished.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await finished
    client.close()
    return report


@contextlib.asynccontextmanager
async def interruptible() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGINT sets, in place of the traceback."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
