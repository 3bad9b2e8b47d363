"""An agent to drive the protocol with, through either door: Django's handler or the thin ASGI application."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.db import connections
from django.test import Client

from config_merge.agent.asgi import AgentApplication
from config_merge.models import Config
from devices.models import Device
from tenancy.models import Organization
from tenancy.services import organization_create

MAC = "00:11:22:AA:44:55"


@dataclass
class Answer:
    """What came back, whichever door it came through."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """The body's lines."""
        return self.body.decode().split("\n")


Door = Callable[..., Answer]


def django_door(
    method: str, path: str, *, data: dict[str, str] | None, headers: dict[str, str], ip: str
) -> Answer:
    """Send a request through Django's whole handler."""
    extra: dict[str, Any] = {"REMOTE_ADDR": ip, "headers": headers}
    client = Client(raise_request_exception=True)
    if method in ("GET", "HEAD"):
        answered = getattr(client, method.lower())(path, data or {}, **extra)
    else:
        body, kind = urlencode(data or {}), "application/x-www-form-urlencoded"
        answered = client.generic(method, path, body, content_type=kind, **extra)
    return Answer(answered.status_code, answered.content, {k.lower(): v for k, v in answered.headers.items()})


class ThinDoor:
    """Sends requests through the ASGI application on one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.application = AgentApplication()

    def __call__(
        self, method: str, path: str, *, data: dict[str, str] | None, headers: dict[str, str], ip: str
    ) -> Answer:
        """Send one request."""
        return self.loop.run_until_complete(self._send(method, path, data, headers, ip))

    async def _send(
        self, method: str, path: str, data: dict[str, str] | None, headers: dict[str, str], ip: str
    ) -> Answer:
        transport = httpx.ASGITransport(app=self.application, client=(ip, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            where = {"params": data} if method in ("GET", "HEAD") else {"data": data}
            answered = await client.request(method, path, headers=headers, **where)
        return Answer(answered.status_code, answered.content, dict(answered.headers))

    def close(self) -> None:
        """Stop the application and let its threads' connections go."""
        self.loop.run_until_complete(self.application.shutdown())
        self.application.close()
        self.loop.close()


@dataclass
class Agent:
    """A device as the protocol sees it."""

    door: Door
    organization: Organization
    id: str = ""
    key: str = ""
    ip: str = "10.9.9.9"
    sent: dict[str, str] = field(default_factory=dict)

    def send(
        self,
        method: str,
        path: str,
        data: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send anything."""
        return self.door(method, path, data=data, headers=headers or {}, ip=self.ip)

    def register(self, **changes: str | None) -> Answer:
        """Register, and remember id and key when it works; None leaves a parameter out."""
        data: dict[str, Any] = {
            "secret": self.organization.fleet_settings.shared_secret,
            "name": MAC,
            "mac_address": MAC,
            "backend": "netjsonconfig.OpenWrt",
        } | changes
        answered = self.send(
            "POST", "/controller/register/", {k: v for k, v in data.items() if v is not None}
        )
        if answered.status == 201:
            said = dict(line.split(": ", 1) for line in answered.lines if line)
            self.id, self.key = said["uuid"], said["key"]
        return answered

    def get(self, what: str, *, prefix: str = "/controller/", **query: str) -> Answer:
        """GET with the key."""
        return self.send("GET", f"{prefix}{what}/{self.id}/", {"key": self.key} | query)

    def post(self, what: str, **form: str) -> Answer:
        """POST with the key."""
        return self.send("POST", f"/controller/{what}/{self.id}/", {"key": self.key} | form)

    @property
    def device(self) -> Device:
        """The device's row."""
        return Device.objects.get(pk=self.id)

    @property
    def config(self) -> Config:
        """The configuration's row."""
        return Config.objects.get(device_id=self.id)


@pytest.fixture
def organization(transactional_db: None) -> Organization:
    """An organization with its settings."""
    return organization_create(slug="acme", name="Acme")


@pytest.fixture(params=["django", "thin"])
def agent(request: pytest.FixtureRequest, organization: Organization) -> Iterator[Agent]:
    """An unregistered agent, once per door."""
    if request.param == "django":
        yield Agent(django_door, organization)
        return
    door = ThinDoor()
    yield Agent(door, organization)
    door.close()
    connections.close_all()


@pytest.fixture
def registered(agent: Agent) -> Agent:
    """A registered agent."""
    assert agent.register().status == 201
    return agent
