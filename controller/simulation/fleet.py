"""The simulated devices themselves and the run over all of them."""

import asyncio
import contextlib
import hashlib
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TextIO
from urllib.parse import urlencode

from controller.simulation.client import Answer, Client, ExchangeError, OperationFailed
from controller.simulation.report import Recorder, SimulationReport, progress_shown
from controller.simulation.settings import SimulationSettings

BACKEND = "netjsonconfig.OpenWrt"


@dataclass
class SimulatedDevice:
    """One agent's memory. Its MAC, key and behaviour follow from seed and index alone."""

    mac: str
    key: str
    reports_error: bool
    uuid: str = ""
    checksum: str = ""
    checksum_request: bytes = b""


def device_of(settings: SimulationSettings, index: int) -> SimulatedDevice:
    """Device number `index`: locally administered MAC, consistent key as spec/openwisp.md 1A.8 has it.

    >>> device_of(SimulationSettings(devices=1, secret="s", seed=7), 0).mac
    '02:DD:27:B8:F2:33'
    """
    digest = hashlib.md5(f"{settings.seed}:{index}".encode(), usedforsecurity=False).digest()
    mac = ":".join(f"{byte:02X}" for byte in (2, *digest[:5]))
    key = hashlib.md5(f"{mac}+{settings.secret}".encode(), usedforsecurity=False).hexdigest()
    # Spread evenly: exactly the asked share (rounded) of every run of devices reports an error.
    rate = settings.error_rate
    return SimulatedDevice(mac=mac, key=key, reports_error=int((index + 1) * rate) > int(index * rate))


class Fleet:
    """The devices' lives against one server."""

    def __init__(self, settings: SimulationSettings, *, client: Client, recorder: Recorder) -> None:
        self._settings = settings
        self._client = client
        self._recorder = recorder

    async def live(self, device: SimulatedDevice, *, random_source: random.Random) -> None:
        """Register, then poll until the cycles are over. Failures are counted; a refusal ends this device."""
        if not await self._survived(self._register(device)) or not device.uuid:
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

    async def _register(self, device: SimulatedDevice) -> None:
        form = {
            "backend": BACKEND,
            "key": device.key,
            "secret": self._settings.secret,
            "name": device.mac,
            "mac_address": device.mac,
            "model": "Simulated device",
            "os": "OpenWrt 23.05 (simulated)",
            "system": "muster simulate",
        }
        if self._settings.tags:
            form["tags"] = self._settings.tags
        answer = await self._post("register", "/controller/register/", form, expected=201)
        values = dict(
            line.partition(": ")[::2] for line in answer.body.decode("utf-8", "replace").splitlines()
        )
        if not values.get("uuid") or not values.get("key"):
            raise OperationFailed("register", "the answer lacks uuid or key")
        device.uuid, device.key = values["uuid"], values["key"]
        device.checksum_request = self._get(f"/controller/checksum/{device.uuid}/?key={device.key}")
        self._recorder.registered += 1
        self._recorder.new += values.get("is-new") == "1"

    async def _cycle(self, device: SimulatedDevice) -> None:
        checksum = await self._checksum(device)
        if checksum == device.checksum:
            return
        path = f"/controller/download-config/{device.uuid}/?key={device.key}"
        answer = await self._send("download", self._get(path), expected=200)
        if hashlib.md5(answer.body, usedforsecurity=False).hexdigest() != checksum:
            if await self._checksum(device) == checksum:
                raise OperationFailed("download", "the archive's md5 is not the checksum")
            return  # it changed between the two requests: an agent starts over at its next cycle
        form = {"key": device.key, "status": "error" if device.reports_error else "applied"}
        if device.reports_error:
            form["error_reason"] = "simulated"
        await self._post("report", f"/controller/report-status/{device.uuid}/", form, expected=200)
        device.checksum = checksum
        if device.reports_error:
            self._recorder.rejected += 1
        else:
            self._recorder.applied += 1

    async def _checksum(self, device: SimulatedDevice) -> str:
        answer = await self._send("checksum", device.checksum_request, expected=200)
        checksum = answer.body.decode("latin-1")
        if len(checksum) != 32 or checksum.strip("0123456789abcdef"):
            raise OperationFailed("checksum", "the answer is not 32 hexadecimal digits")
        return checksum

    async def _post(self, operation: str, path: str, form: dict[str, str], *, expected: int) -> Answer:
        body = urlencode(form)
        request = (
            f"POST {self._client.prefix}{path} HTTP/1.1\r\nHost: {self._client.host_header}\r\n"
            "User-Agent: muster-simulate\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        return await self._send(operation, request.encode(), expected=expected)

    def _get(self, path: str) -> bytes:
        return (
            f"GET {self._client.prefix}{path} HTTP/1.1\r\nHost: {self._client.host_header}\r\n"
            "User-Agent: muster-simulate\r\nAccept: */*\r\n\r\n"
        ).encode()

    async def _send(self, operation: str, request: bytes, *, expected: int) -> Answer:
        try:
            answer, latency = await self._client.exchange(request)
        except ExchangeError as error:
            raise OperationFailed(operation, str(error)) from error
        self._recorder.answered(operation, status=answer.status, latency=latency)
        if answer.status != expected:
            said = answer.body[:120].decode("utf-8", "replace").strip()
            message = f"answered {answer.status}, not {expected}: {said}"
            raise OperationFailed(operation, message, final=answer.status in (403, 404))
        if answer.headers.get("x-openwisp-controller", "").lower() != "true":
            raise OperationFailed(operation, "the answer lacks the controller's header")
        return answer


async def simulate(settings: SimulationSettings, *, progress: TextIO | None = None) -> SimulationReport:
    """Run the fleet until its cycles, its duration or SIGINT ends it. Main thread, for the signal."""
    client, recorder = Client(settings), Recorder(settings.devices)
    fleet = Fleet(settings, client=client, recorder=recorder)
    async with _interruptible() as interrupted, progress_shown(recorder, progress):
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
async def _interruptible() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT sets, in place of the traceback."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
