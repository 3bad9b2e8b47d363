"""The agent's protocol over HTTP, as a simulated device speaks it: every answer is checked as an agent would."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlencode

from controller.simulation.client import Answer, Client, ExchangeError, OperationFailed
from controller.simulation.report import Recorder
from controller.simulation.settings import SimulationSettings

BACKEND = "netjsonconfig.OpenWrt"


@dataclass(slots=True)
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


class Calls:
    """What devices ask of one server. Each raises OperationFailed; latencies and statuses go to the recorder."""

    def __init__(self, settings: SimulationSettings, *, client: Client, recorder: Recorder) -> None:
        self._settings = settings
        self._client = client
        self._recorder = recorder

    async def register(self, device: SimulatedDevice) -> None:
        """Let the device have its uuid and its key."""
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
        self._recorder.registered += 1
        self._recorder.new += values.get("is-new") == "1"

    async def checksum(self, device: SimulatedDevice) -> str:
        """Return what the device should have."""
        if not device.checksum_request:
            device.checksum_request = self._get(f"/controller/checksum/{device.uuid}/?key={device.key}")
        answer = await self._send("checksum", device.checksum_request, expected=200)
        checksum = answer.body.decode("latin-1")
        if len(checksum) != 32 or checksum.strip("0123456789abcdef"):
            raise OperationFailed("checksum", "the answer is not 32 hexadecimal digits")
        return checksum

    async def download(self, device: SimulatedDevice) -> bytes:
        """Return the archive."""
        path = f"/controller/download-config/{device.uuid}/?key={device.key}"
        return (await self._send("download", self._get(path), expected=200)).body

    async def report(self, device: SimulatedDevice) -> None:
        """Say how applying went."""
        form = {"key": device.key, "status": "error" if device.reports_error else "applied"}
        if device.reports_error:
            form["error_reason"] = "simulated"
        await self._post("report", f"/controller/report-status/{device.uuid}/", form, expected=200)

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
