"""One ASGI callable sends every scope to the one who answers it."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.staticfiles import finders
from pytest_django import Settings

from controller import server
from controller.asgi import application, behind_proxy
from controller.env import Environment
from controller.static_files import StaticAnswer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def test_healthz_is_answered_whatever_the_host_header_says(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"Host": "10.1.2.3"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await client.head("/healthz")).content == b""


async def test_a_page_with_a_foreign_host_header_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/docs/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "Bad request."})


async def test_static_files_are_sent_whole_and_without_a_word_outside_the_logs(
    client: httpx.AsyncClient,
) -> None:
    """Warnings are errors here: Django gives one for answers that an ASGI server cannot stream."""
    path = "vendor/vanilla-jsoneditor/standalone.js"
    source = Path(finders.find(path) or "").read_bytes()
    assert len(source) > 2 * StaticAnswer.block_size
    answer = await client.get(f"/static/{path}")
    assert (answer.status_code, answer.content) == (200, source)
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert int(answer.headers["Content-Length"]) == len(source)
    again = await client.get(
        f"/static/{path}",
        headers={
            "If-None-Match": answer.headers.get("ETag", ""),
            "If-Modified-Since": answer.headers["Last-Modified"],
        },
    )
    assert (again.status_code, again.content) == (304, b"")
    part = await client.get(f"/static/{path}", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, source[10:20])
    head = await client.head(f"/static/{path}")
    assert (head.status_code, head.content) == (200, b"")


async def test_agents_reach_their_own_application(client: httpx.AsyncClient) -> None:
    answer = await client.get("/controller/no-such-operation/")
    assert answer.status_code == 404
    assert answer.headers["X-Openwisp-Controller"] == "true"
    assert answer.headers["X-Request-ID"], "an error names its request"
    assert "Content-Security-Policy" not in answer.headers, "Django's middleware was in the way"


async def websocket_answer(path: str, *, origin: bytes) -> dict[str, Any]:
    """What the application says to a websocket handshake."""
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(b"origin", origin), (b"host", b"localhost")],
        "client": ("127.0.0.1", 4711),
        "subprotocols": [],
    }
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "websocket.connect"})
    answer: dict[str, Any] = await communicator.receive_output(5)
    await communicator.send_input({"type": "websocket.disconnect", "code": 1006})
    await communicator.wait(5)
    return answer


@pytest.mark.django_db(transaction=True)  # closes connections of the threads it runs in
async def test_an_unknown_websocket_path_is_closed_and_nothing_breaks() -> None:
    answer = await websocket_answer("/ws/nowhere/", origin=b"http://localhost")
    assert answer == {"type": "websocket.close", "code": 4404}


@pytest.mark.django_db(transaction=True)
async def test_a_websocket_from_a_foreign_page_is_refused() -> None:
    answer = await websocket_answer("/ws/nowhere/", origin=b"http://evil.example")
    assert answer["type"] == "websocket.close"
    assert answer.get("code") != 4404


@pytest.mark.django_db(transaction=True)  # the agents' application writes what it remembers
async def test_the_lifespan_makes_the_loop_known_and_forgets_it() -> None:
    communicator = ApplicationCommunicator(application, {"type": "lifespan"})
    await communicator.send_input({"type": "lifespan.startup"})
    assert await communicator.receive_output(5) == {"type": "lifespan.startup.complete"}
    assert server.loop() is asyncio.get_running_loop()
    await communicator.send_input({"type": "lifespan.shutdown"})
    assert await communicator.receive_output(5) == {"type": "lifespan.shutdown.complete"}
    await communicator.wait(5)
    assert server.loop() is None


async def test_an_unknown_kind_of_scope_is_an_error() -> None:
    async def never() -> MutableMapping[str, Any]:
        raise AssertionError("nothing to receive")

    async def nowhere(_message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing to send")

    with pytest.raises(ValueError, match="unknown scope type"):
        await application({"type": "telegram"}, never, nowhere)


def scope_from(peer: str, *, kind: str = "http", **headers: str) -> dict[str, Any]:
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "client": (peer, 4711), "scheme": "http", "headers": encoded}


def test_a_trusted_proxy_states_address_and_scheme(settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_TRUSTED_PROXIES": "10.0.0.0/8"})
    scope = behind_proxy(
        scope_from("10.0.0.1", x_forwarded_for="6.6.6.6, 9.9.9.9", x_forwarded_proto="https")
    )
    assert (scope["client"], scope["scheme"]) == (("9.9.9.9", 0), "https")
    socket = behind_proxy(scope_from("10.0.0.1", kind="websocket", x_forwarded_proto="https"))
    assert socket["scheme"] == "wss"


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
def test_anyone_else_states_nothing(settings: Settings, trusted: str) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_TRUSTED_PROXIES": trusted})
    given = scope_from("9.9.9.9", x_forwarded_for="127.0.0.1", x_forwarded_proto="https")
    assert behind_proxy(given) is given


def test_a_peer_without_an_ip_address_is_no_proxy(settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_TRUSTED_PROXIES": "10.0.0.0/8"})
    given = scope_from("unix-socket", x_forwarded_proto="https")
    assert behind_proxy(given) is given
    assert behind_proxy({**given, "client": None})["scheme"] == "http"
