"""A site with devices, and links to them: on the database alone, or through the real door."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator

from config_merge.delivery.courier import courier
from config_merge.models import Config, ConfigTask, Site, SiteDevice
from config_merge.services import places, recompute, sites
from controller.asgi import application
from devices.events import Opening
from devices.link import presence
from devices.link.registry import registry
from devices.models import Device
from tenancy.models import Organization
from tests import factories

CAPABILITIES = ("config.apply", "config.read", "archive")
SERVER = UUID(int=7)


@pytest.fixture
def organization(db: None) -> Organization:
    return factories.organization()


@pytest.fixture
def site(organization: Organization) -> Site:
    made = sites.site_create(organization=organization, name="Vilnius")
    set_site(made, "1")
    return made


def set_site(site: Site, value: str, key: str = "locale/code") -> None:
    """Change one setting of a site and compute what that changes."""
    sites.site_settings_change(site, {key: {"value": value}}, version=None)
    recompute.drain()


def placed(site: Site, count: int = 1) -> list[SiteDevice]:
    """Add devices to a site, with their first revision."""
    return [
        places.place_create(site, serial=f"sn-{uuid4().hex[:12]}", mac_address=factories.mac())
        for _ in range(count)
    ]


def config_of(place: SiteDevice) -> Config:
    return Config.objects.get(device_id=place.device_id)


def tasks_of(place: SiteDevice) -> list[tuple[int, str]]:
    """Return (revision's number, state) of a device's tasks, oldest first."""
    rows = ConfigTask.objects.filter(device_id=place.device_id).order_by("created")
    return list(rows.values_list("number", "state"))


def opening(device_id: UUID, **fields: Any) -> Opening:
    key_digest = Device.objects.values_list("key_digest", flat=True).get(pk=device_id)
    given = {"epoch": uuid4(), "capabilities": CAPABILITIES, "key_digest": key_digest, **fields}
    return Opening(device_id=device_id, **given)


def open_links(places: list[SiteDevice], *, server: UUID = SERVER, **fields: Any) -> list[presence.Welcome]:
    """Write links down, as `hello` does."""
    welcomes = presence.links_open(server, [opening(place.device_id, **fields) for place in places])
    assert all(welcomes)
    return [welcome for welcome in welcomes if welcome is not None]


# --- through the door -------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """A device at the other end of a websocket, in the very process."""

    device: Device
    key: str
    communicator: ApplicationCommunicator
    numbers: int = 0
    kept: list[dict[str, Any]] = field(default_factory=list)

    async def open(self) -> dict[str, Any]:
        """Send the handshake; returns the server's first event."""
        await self.communicator.send_input({"type": "websocket.connect"})
        return dict(await self.communicator.receive_output(5))

    async def say(self, text: str | dict[str, Any]) -> None:
        sent = text if isinstance(text, str) else json.dumps(text)
        await self.communicator.send_input({"type": "websocket.receive", "text": sent})

    async def event(self, seconds: float = 5) -> dict[str, Any]:
        return dict(await self.communicator.receive_output(seconds))

    async def frame(self, seconds: float = 5) -> dict[str, Any]:
        """Return the next frame from the controller."""
        event = await self.event(seconds)
        assert event["type"] == "websocket.send", event
        read: dict[str, Any] = json.loads(event["text"])
        return read

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the controller, and return its answer; what it asks meanwhile is kept."""
        self.numbers += 1
        await self.say({"jsonrpc": "2.0", "id": self.numbers, "method": method, "params": params})
        while (frame := await self.frame()).get("id") != self.numbers or "method" in frame:
            self.kept.append(frame)
        return frame

    async def hello(self, **params: Any) -> dict[str, Any]:
        given = {
            "protocol": 1, "agent": "test/1", "boot_id": "b", "capabilities": list(CAPABILITIES),
            "applied": "", "busy": None, "actual": None,
        }  # fmt: skip
        return await self.ask("hello", **(given | params))

    async def asked(self, seconds: float = 5) -> dict[str, Any]:
        """Return the next thing the controller asks."""
        if self.kept:
            return self.kept.pop(0)
        while "method" not in (frame := await self.frame(seconds)):
            pass
        return frame

    async def is_left_alone(self, seconds: float) -> bool:
        """Tell whether nothing comes for so long. (A receive that times out would end the application.)"""
        return not self.kept and await self.communicator.receive_nothing(seconds, 0.02)

    async def answer(self, asked: dict[str, Any], result: Any) -> None:
        await self.say({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async def refuse(self, asked: dict[str, Any], code: int, message: str = "") -> None:
        error = {"code": code, "message": message}
        await self.say({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    async def report(self, asked: dict[str, Any], status: str = "applied", **more: Any) -> dict[str, Any]:
        params = asked["params"]
        told = {name: params[name] for name in ("task", "attempt", "checksum")}
        return await self.ask("report", **(told | {"status": status} | more))

    async def hang_up(self) -> None:
        await self.communicator.send_input({"type": "websocket.disconnect", "code": 1006})
        await self.communicator.wait(5)


def line_of(device: Device, *, key: str | None = None, query: bytes = b"", path: str = "") -> Line:
    key = device.key if key is None else key
    headers = [(b"host", b"testserver")] + ([(b"x-device-key", key.encode())] if key else [])
    scope = {
        "type": "websocket", "path": path or f"/ws/device/{device.pk}/", "raw_path": b"", "query_string": query,
        "headers": headers, "client": ("127.0.0.1", 4), "subprotocols": [], "scheme": "ws",
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    return Line(device, key, ApplicationCommunicator(application, scope))


@pytest.fixture
async def dial(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    """Open links to devices; all of them end with the test."""
    lines: list[Line] = []

    async def opened(device: Device, **hello: Any) -> Line:
        line = line_of(device)
        lines.append(line)
        assert (await line.open())["type"] == "websocket.accept"
        if hello.pop("greet", True):
            await line.hello(**hello)
        return line

    yield opened
    await courier.stop()
    await registry.stop()
    for line in lines:
        line.communicator.stop(exceptions=False)


async def later(check: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a look at the database gives something true; returns it."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await sync_to_async(check)()):
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.02)
    return found
