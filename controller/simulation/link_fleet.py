"""Thousands of devices with links in one process: who dials when, and the run over all of them.

Invariant: no more than `concurrency` devices register or dial at a time; whoever waits for its turn, or for its
back-off to end, costs a timer at most.
"""

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl
import time
from collections.abc import Callable
from random import Random
from typing import Any, TextIO

from controller.simulation.calls import Calls, device_of
from controller.simulation.client import Client, OperationFailed
from controller.simulation.fleet import interruptible
from controller.simulation.link_report import LinkRecorder, LinkReport
from controller.simulation.links import LinkedDevice, Work, fates
from controller.simulation.report import progress_shown
from controller.simulation.settings import SimulationError, SimulationSettings
from controller.simulation.websocket import Ending

GOODBYE_SECONDS = 3.0
# What a process needs beside its links: the loop, the terminal, the modules.
OTHER_FILES = 64
# Fewer than the ports Linux hands out for one address.
PORTS = 20_000


class LinkFleet:
    """State: the devices, and the queue of those whose turn it is to dial."""

    def __init__(self, settings: SimulationSettings, *, client: Client, recorder: LinkRecorder) -> None:
        self.recorder = recorder
        self.loop = asyncio.get_running_loop()
        self.random = Random(settings.seed)  # noqa: S311  (jitter)
        self.boot_id = f"{time.time_ns():x}"
        self.is_stopping = False
        self._settings = settings
        self._client = client
        self._calls = Calls(settings, client=client, recorder=recorder)
        self._address: tuple[str, int] = ("", 0)
        self._tls = ssl.create_default_context() if client.is_tls else None
        self._due: asyncio.Queue[LinkedDevice] = asyncio.Queue()
        self._downloads: set[asyncio.Task[None]] = set()
        self.devices = [
            LinkedDevice(self, device_of(settings, index), fate) for index, fate in enumerate(fates(settings))
        ]

    async def run(self) -> None:
        """Let the devices live; ends only by an error or by being cancelled."""
        found = await self.loop.getaddrinfo(self._client.host, self._client.port, type=socket.SOCK_STREAM)
        self._address = str(found[0][4][0]), int(found[0][4][1])
        for device in self.devices:
            self._due.put_nowait(device)
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.concurrency):
                group.create_task(self._dial_forever(number))

    async def stop(self) -> None:
        """Let everyone say goodbye."""
        self.is_stopping = True
        for download in list(self._downloads):
            download.cancel()
        for device in self.devices:
            device.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while any(device.is_open for device in self.devices):
                    await asyncio.sleep(0.05)
        for device in self.devices:
            device.drop("stopped")

    # --- what devices ask of their fleet ------------------------------------------------------------------------------

    def after(self, seconds: float, work: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        """Do something later."""
        return self.loop.call_later(seconds, work, *arguments)

    def again(self, device: LinkedDevice, seconds: float) -> None:
        """Let a device dial again after its back-off."""
        self.after(seconds, self._due.put_nowait, device)

    def apply_seconds(self) -> float:
        """Return how long this time of applying takes."""
        return self._settings.apply_seconds * self.random.uniform(0.5, 1.5)

    def download(self, device: LinkedDevice, work: Work) -> None:
        """Get a device what it is to apply."""
        task = asyncio.create_task(self._download(device, work))
        self._downloads.add(task)
        task.add_done_callback(self._downloads.discard)

    async def _download(self, device: LinkedDevice, work: Work) -> None:
        try:
            archive = await self._calls.download(device.agent)
        except OperationFailed as error:
            self.recorder.failed(error.operation, str(error))
            device.lacks(work, f"download: {error}")
        else:
            device.has(work, archive)

    # --- dialling -----------------------------------------------------------------------------------------------------

    async def _dial_forever(self, number: int) -> None:
        while True:
            device = await self._due.get()
            if device.agent.uuid or await self._registered(device):
                await self._dial(device, number)

    async def _registered(self, device: LinkedDevice) -> bool:
        try:
            await self._calls.register(device.agent)
        except OperationFailed as error:
            self.recorder.failed(error.operation, str(error))
            if not error.final:
                self.again(device, device.unregistered())
            return False
        return True

    async def _dial(self, device: LinkedDevice, number: int) -> None:
        """Open a link and wait until the device is welcome, or not."""
        self.recorder.dialled()
        device.settled = self.loop.create_future()
        opened = device.dials(host=self._client.host_header, prefix=self._client.prefix)
        is_connected = False
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self.loop.create_connection(
                    lambda: opened,
                    *self._address,
                    ssl=self._tls,
                    server_hostname=self._client.host if self._tls else None,
                    local_addr=source_of(self._address[0], number=number, devices=len(self.devices)),
                )
                is_connected = True
                await device.settled
        except (OSError, TimeoutError) as error:
            if is_connected:
                device.drop(f"not welcomed within {self._settings.timeout:g} s")
            else:
                device.ended(Ending(reason=f"cannot connect: {error or 'timed out'}"))
        finally:
            device.settled = None


def source_of(host: str, *, number: int, devices: int) -> tuple[str, int] | None:
    """Return the address to dial from when one has too few ports for all: loopback has many addresses.

    >>> source_of("127.0.0.1", number=1, devices=50_000), source_of("127.0.0.1", number=1, devices=500)
    (('127.0.0.2', 0), None)
    """
    address = ipaddress.ip_address(host)
    if devices <= PORTS or address.version != 4 or not address.is_loopback:
        return None
    return f"127.0.0.{1 + number % -(-devices // PORTS)}", 0


def allow_files(count: int) -> None:
    """Let this process have `count` open files. Raises SimulationError when the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and count > hard:
        raise SimulationError(f"{count} open files are needed, and the system allows {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and count > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def simulate_links(settings: SimulationSettings, *, progress: TextIO | None = None) -> LinkReport:
    """Keep the fleet's links until the duration or SIGINT ends it. Main thread, for the signal.

    Raises SimulationError when the system has no room for so many.
    """
    allow_files(settings.devices + settings.concurrency + OTHER_FILES)
    client, recorder = Client(settings), LinkRecorder(settings.devices)
    fleet = LinkFleet(settings, client=client, recorder=recorder)
    async with interruptible() as interrupted:
        running, stop = asyncio.create_task(fleet.run()), asyncio.create_task(interrupted.wait())
        ends: set[asyncio.Future[Any]] = {running, stop}
        async with progress_shown(recorder, progress):
            await asyncio.wait(ends, timeout=settings.duration, return_when=asyncio.FIRST_COMPLETED)
        report = recorder.link_report()
        failed = running.done()
        for task in (running, stop):
            task.cancel()
        await asyncio.gather(running, stop, return_exceptions=True)
        await fleet.stop()
        if failed:
            running.result()
    client.close()
    return report
