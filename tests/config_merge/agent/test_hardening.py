"""What strangers and failing databases do to the agent protocol: always an answer, never a guess, bounded memory."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import Client
from pytest_django import Settings

from config_merge.agent import asgi, endpoints, messages, presence
from config_merge.agent.asgi import Unread
from config_merge.agent.forms import parse_form
from config_merge.models import Config, Status
from controller.env import Environment
from core import rows
from core.rows import PostgresqlReader, SqliteReader, libpq_parameters
from tenancy.models import Organization
from tests.config_merge.agent.conftest import Agent, ThinDoor, django_door

HEADER = "x-openwisp-controller"
RAW = (
    psycopg.OperationalError("gone"),
    sqlite3.OperationalError("disk I/O error"),
    InterfaceError("closed"),
    OperationalError("locked"),
)


def failing(error: Exception, *, on: str) -> Callable[..., Any]:
    """Return a wrapper of a connection's statements that raises for those that contain `on`."""

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if on in sql:
            raise error
        return execute(sql, params, many, context)

    return wrapper


class OneThreadDoor(ThinDoor):
    """The thin application with one thread, on whose connection a test can put wrappers."""

    def __init__(self) -> None:
        super().__init__()
        self.application._threads._pool.shutdown()
        self.application._threads._pool = ThreadPoolExecutor(max_workers=1)

    def wrap(self, *wrappers: Callable[..., Any]) -> None:
        """Let the thread's statements go through these wrappers only."""

        def put() -> None:
            connection.execute_wrappers[:] = wrappers

        self.application._threads._pool.submit(put).result()


@pytest.fixture
def door(organization: Organization) -> Iterator[OneThreadDoor]:
    opened = OneThreadDoor()
    yield opened
    opened.wrap()
    opened.close()
    connections.close_all()


@pytest.fixture
def thin(door: OneThreadDoor, organization: Organization) -> Agent:
    """A registered agent at the thin door."""
    agent = Agent(door, organization)
    assert agent.register().status == 201
    return agent


def scope_of(*forwarded: str, peer: str = "127.0.0.1") -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    path = f"/controller/checksum/{uuid4().hex}/"
    return {"method": "GET", "path": path, "query_string": b"", "headers": headers, "client": (peer, 1)}


@pytest.fixture
def behind_proxy(settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8"})


def test_a_configuration_that_was_never_computed_is_503_not_an_empty_checksum(registered: Agent) -> None:
    registered.get("checksum")
    Config.objects.filter(device_id=registered.id).update(revision=None, checksum="")
    for what in ("checksum", "download-config"):
        answered = registered.get(what)
        assert (answered.status, answered.headers["retry-after"]) == (503, "60")


def test_long_input_is_not_remembered(behind_proxy: None) -> None:
    asgi._client_address.cache_clear()
    messages._operation_of.cache_clear()
    endpoints._address.cache_clear()
    for number in range(3):
        said = f"{number}, " * 100 + "1.2.3.4"
        assert asgi._request_of(scope_of(said), b"").client == "1.2.3.4"
        assert messages.operation_of("checksum/" + f"{number}" * 100) is None
        request = asgi._request_of(scope_of(), b"")._replace(fields={"management_ip": f"{number}" * 5000})
        assert endpoints.addresses_of(request)[1] is None
    assert endpoints._address.cache_info().currsize == 0
    # The forwarded ones have left nothing; what is there are the peer and the path of the scope itself.
    assert asgi._client_address.cache_info().currsize == 1
    assert messages._operation_of.cache_info().currsize == 6


def test_what_a_stranger_forwards_is_neither_believed_nor_remembered(behind_proxy: None) -> None:
    asgi._client_address.cache_clear()
    for number in range(5):
        request = asgi._request_of(scope_of(f"1.2.3.{number}", peer="9.9.9.9"), b"")
        assert request.client == "9.9.9.9"
    assert asgi._client_address.cache_info().currsize == 1


def test_repeated_forwarded_headers_are_one_list(behind_proxy: None) -> None:
    assert asgi._request_of(scope_of("6.6.6.6, 1.2.3.4", "10.0.0.9"), b"").client == "1.2.3.4"
    assert asgi._request_of(scope_of("1.2.3.4", "garbage"), b"").client == "127.0.0.1"


@pytest.mark.parametrize(("extra", "parts"), [("", 1010), ('; filename="f"', 110)])
def test_a_form_of_countless_parts_has_no_fields(registered: Agent, extra: str, parts: int) -> None:
    part = f'--b\r\nContent-Disposition: form-data; name="k"{extra}\r\n\r\n1\r\n'
    body, kind = (part * parts + "--b--\r\n").encode(), "multipart/form-data; boundary=b"
    assert parse_form(body, kind) == {}
    path = f"/controller/report-status/{registered.id}/"
    if isinstance(registered.door, ThinDoor):
        scope = scope_of() | {"method": "POST", "path": path, "headers": [(b"content-type", kind.encode())]}
        request = asgi._request_of(scope, body)
        status = registered.door.loop.run_until_complete(
            registered.door.application._run(endpoints.answer, request)
        ).status
    else:
        answered = Client().generic("POST", path, body, content_type=kind)
        assert answered.headers[HEADER] == "true"
        status = answered.status_code
    assert status == 400


def test_a_request_whose_client_left_in_the_middle_is_abandoned(thin: Agent, door: OneThreadDoor) -> None:
    sent: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = [
        {"type": "http.request", "body": f"key={thin.key}&status=applied".encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return said.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of() | {"method": "POST", "path": f"/controller/report-status/{thin.id}/"}
    door.loop.run_until_complete(door.application(scope, receive, send))
    assert (sent, said) == ([], [])
    assert thin.config.status != Status.APPLIED


async def test_a_body_without_end_is_too_large() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    assert await asgi._body(receive) is Unread.TOO_LARGE


def test_a_driver_s_own_error_while_reading_is_503(thin: Agent, door: OneThreadDoor) -> None:
    door.loop.run_until_complete(door.application.shutdown())
    door.application._reader = SqliteReader(columns="nothing", source="nowhere", key="id")
    for answered in (thin.get("checksum"), thin.post("report-status", status="applied")):
        assert (answered.status, answered.headers[HEADER], answered.headers["retry-after"]) == (
            503,
            "true",
            "10",
        )


@pytest.mark.parametrize("error", [*RAW, RuntimeError("anything")], ids=lambda error: type(error).__module__)
def test_reports_that_could_not_be_written_are_answered_and_later_ones_are_taken(
    thin: Agent, door: OneThreadDoor, error: Exception
) -> None:
    door.wrap(failing(error, on="UPDATE"))

    async def together() -> list[Any]:
        form = {"key": thin.key, "status": "applied"}
        path = f"/controller/report-status/{thin.id}/"
        asked = [door._send("POST", path, form, {}, thin.ip) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)

    answers = door.loop.run_until_complete(together())
    if isinstance(error, RuntimeError):
        assert answers == [error] * 3
    else:
        assert [answered.status for answered in answers] == [503] * 3
    door.wrap()
    assert thin.post("report-status", status="applied").status == 200
    assert thin.config.status == Status.APPLIED


@pytest.mark.parametrize("error", RAW, ids=lambda error: type(error).__module__)
def test_the_flusher_survives_whatever_the_database_says(
    thin: Agent, door: OneThreadDoor, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "FLUSH_SECONDS", 0.01)
    refused = asyncio.Event()

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        door.loop.call_soon_threadsafe(refused.set)
        raise error

    async def flushes() -> bool:
        await door.application.startup()
        presence.note(thin.id)
        await asyncio.wait_for(refused.wait(), 10)
        await asyncio.sleep(0.1)
        flusher = door.application._flusher
        assert flusher is not None
        return flusher.done()

    door.wrap(wrapper)
    assert not door.loop.run_until_complete(flushes())


@pytest.mark.parametrize("error", RAW, ids=lambda error: type(error).__module__)
def test_django_s_door_answers_503_when_the_database_fails(
    organization: Organization, error: Exception
) -> None:
    agent = Agent(django_door, organization)
    agent.register()
    with connection.execute_wrapper(failing(error, on="devices_device")):
        answered = agent.get("checksum")
    assert (answered.status, answered.headers[HEADER], answered.headers["retry-after"]) == (503, "true", "10")


def test_a_flush_that_fails_does_not_spoil_an_answer(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(django_door, organization)
    agent.register()
    agent.get("checksum")
    monkeypatch.setattr(presence, "FLUSH_SECONDS", -1.0)
    with connection.execute_wrapper(failing(OperationalError("locked"), on="UPDATE")):
        assert agent.get("checksum").status == 200
    assert agent.device.pk in presence._seen


def postgresql(**changes: Any) -> DatabaseWrapper:
    """Return Django's wrapper of a server; it connects to nothing by itself."""
    return DatabaseWrapper(
        connections.settings["default"] | {"USER": "", "PASSWORD": "", "OPTIONS": {}} | changes
    )


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"NAME": "x", "HOST": "127.0.0.1", "PORT": "1"}, psycopg.OperationalError),
        ({"NAME": "x", "OPTIONS": {"no_such_parameter": "x"}}, psycopg.ProgrammingError),
        ({"NAME": ""}, ImproperlyConfigured),
    ],
)
async def test_everyone_who_waits_for_a_failing_query_hears_of_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], error: type[Exception]
) -> None:
    monkeypatch.setattr(rows, "connection", postgresql(**given))
    reader = PostgresqlReader(columns="id", source="t", key="id")
    for _ in range(2):
        asked = [reader.get(uuid4()) for _ in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
        assert [type(answered) for answered in answers] == [error] * 3


async def test_a_stopped_reader_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    monkeypatch.setattr(rows, "connection", postgresql(NAME="x", HOST="127.0.0.1", PORT=port))
    reader = PostgresqlReader(columns="id", source="t", key="id")
    asked = asyncio.create_task(reader.get(uuid4()))
    for _ in range(3):
        await asyncio.sleep(0)
    assert reader._running is not None
    reader._running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asked, 10)
    server.close()


def test_the_reader_connects_with_every_parameter_of_the_server() -> None:
    options: dict[str, Any] = {
        "sslmode": "verify-full",
        "sslcert": "/c.pem",
        "sslkey": "/k.pem",
        "options": "-c search_path=muster",
        "target_session_attrs": "read-write",
        "pool": {"min_size": 1},
        "server_side_binding": True,
        "prepare_threshold": 5,
    }
    wrapper = postgresql(NAME="muster", USER="u", PASSWORD="p", HOST="db", PORT="5433", OPTIONS=options)
    parameters = libpq_parameters(wrapper.get_connection_params())
    expected = {name: options[name] for name in list(options)[:5]}
    assert parameters == expected | {
        "dbname": "muster",
        "user": "u",
        "password": "p",
        "host": "db",
        "port": "5433",
        "client_encoding": "UTF8",
    }
