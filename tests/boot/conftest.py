"""A client of the boot API, through either door: Django's handler or the thin ASGI application."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from django.db import connections
from django.test import Client

from boot.asgi import BootApplication
from core import quotas
from core.net import SENT_PATH
from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tests.boot.hours import stay_in_this_hour

D = "b8:27:eb:00:00:01"


@dataclass
class Answer:
    """What came back, whichever door it came through."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


Door = Callable[..., Answer]


def django_door(
    method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None, ip: str = "192.0.2.1"
) -> Answer:
    """Send a request through Django's whole handler, as `controller.wsgi` does."""
    client = Client(raise_request_exception=True)
    sent: dict[str, Any] = {SENT_PATH: unquote_to_bytes(path.partition("?")[0]).decode("latin-1")}
    answered = client.generic(
        method, path, body, content_type="application/json", headers=headers or {}, REMOTE_ADDR=ip, **sent
    )
    return Answer(answered.status_code, answered.content, {k.lower(): v for k, v in answered.headers.items()})


class ThinDoor:
    """Sends requests through the ASGI application on one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.application = BootApplication()

    def __call__(self, method: str, path: str, **sent: Any) -> Answer:
        """Send one request."""
        return self.loop.run_until_complete(self.send(method, path, **sent))

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        ip: str = "192.0.2.1",
    ) -> Answer:
        """Send one request, beside others."""
        transport = httpx.ASGITransport(app=self.application, client=(ip, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answered = await client.request(method, path, headers=headers, content=body)
        return Answer(answered.status_code, answered.content, dict(answered.headers))

    def all(self, *requests: tuple[Any, ...]) -> list[Answer]:
        """Send requests at once; each is a method, a path and headers."""

        async def together() -> list[Answer]:
            return await asyncio.gather(*(self.send(m, p, headers=h) for m, p, h in requests))

        return self.loop.run_until_complete(together())

    def close(self) -> None:
        """Stop the application and let its threads' connections go."""
        self.loop.run_until_complete(self.application.shutdown())
        self.application.close()
        self.loop.close()


@dataclass
class Caller:
    """Somebody with a key."""

    door: Door
    row: ApiKey
    text: str

    def __call__(self, method: str, path: str, sent: Any = None, **more: Any) -> Answer:
        """Send a request with the key; `sent` goes as JSON."""
        headers = {"X-Api-Key": self.text} | more.pop("headers", {})
        body = more.pop("body", json.dumps(sent).encode() if sent is not None else b"")
        return self.door(method, path, body=body, headers=headers, **more)

    def get(self, device: str = D) -> Answer:
        """Read a device's boot configuration."""
        return self("GET", f"/boot/{device}/config")

    def post(self, sent: Any, device: str = D) -> Answer:
        """Write a device's boot configuration."""
        return self("POST", f"/boot/{device}/config", sent)

    def track(self, device: str = D) -> Any:
        """Read a device's track."""
        answered = self("GET", f"/track/{device}")
        assert answered.status == 200, answered
        return answered.json


@pytest.fixture(autouse=True)
def _one_hour() -> None:
    stay_in_this_hour(20)


@pytest.fixture
def thin(transactional_db: None) -> Iterator[ThinDoor]:
    door = ThinDoor()
    yield door
    door.close()
    connections.close_all()


@pytest.fixture(params=["django", "thin"])
def door(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Door]:
    """Either way in."""
    quotas.windows().storage.reset()
    if request.param == "django":
        yield django_door
        return
    thin = ThinDoor()
    yield thin
    thin.close()


def made(door: Door, organization: Organization, **fields: Any) -> Caller:
    """Return somebody with a new key to an organization."""
    role = fields.pop("role", Role.OPERATOR)
    user = factories.user(role=role, organization=organization)
    row, text = factories.api_key(user, organization, **fields)
    return Caller(door, row, text)


@pytest.fixture
def org(transactional_db: None) -> Organization:
    return factories.organization()


@pytest.fixture
def caller(door: Door, org: Organization) -> Caller:
    return made(door, org)
