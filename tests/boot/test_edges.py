"""What the two doors must make the same of: odd paths, repeated headers, bodies without a length, broken rows."""

import io
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import httpx
import pytest
from django.core.exceptions import ValidationError
from django.core.signals import request_started
from django.db import OperationalError, connection
from django.test import RequestFactory

from boot import boots, cattlepi, services, views
from boot.messages import OK, route_of
from boot.models import BootConfig
from controller.wsgi import application as wsgi_application
from core.crypto import encrypt
from tenancy.key_rows import last_used
from tenancy.models import Organization
from tests import factories
from tests.boot.conftest import Caller, D, Door, ThinDoor, django_door, made
from tracking.models import TrackedDevice


@pytest.mark.parametrize(
    "sent",
    [b"/track/a%25FF", b"/track/%FF", b"/track/%C3%BC", b"/track/%25", b"/track/a%2Fb", b"/track/%ED%A0%80",
     b"/images/own/a%2Fb", b"/track/a%3Fb", b"/boot/a%250A/config"],
)  # fmt: skip
def test_a_wsgi_server_finds_the_routes_that_an_asgi_server_finds(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    """WSGI servers hand the path over decoded, a byte a character (PEP 3333)."""
    found: list[Any] = []

    def answer(request: Any) -> Any:
        found.append(request.route)
        return OK

    monkeypatch.setattr(views, "answer", answer)
    # Django's test client does the same: a request begins by closing old connections, the test's own too.
    monkeypatch.setattr(request_started, "receivers", [])
    environ = {
        **RequestFactory().get("/").environ, "PATH_INFO": unquote_to_bytes(sent).decode("latin-1"),
    }  # fmt: skip
    assert b"".join(wsgi_application(environ, lambda *_: None)) == OK.body
    assert found == [route_of(sent)]


@pytest.mark.parametrize("device", ["a%25FF", "%25C3", "100%25", "%25%32%35"])
def test_a_name_with_a_percent_sign_is_a_name(caller: Caller, device: str) -> None:
    assert caller.post({"config": device}, device).status == 200
    assert caller.get(device).json["config"] == device


@pytest.mark.parametrize("order", [1, -1])
def test_two_keys_are_no_key(thin: ThinDoor, org: Organization, order: int) -> None:
    caller = made(thin, org)
    headers = [("X-Api-Key", caller.text), ("X-Api-Key", "other")][::order]
    assert thin("GET", "/track", headers=headers).status == 403  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
def test_a_body_without_a_length_is_measured_for_every_method(
    thin: ThinDoor, org: Organization, method: str
) -> None:
    caller = made(thin, org)

    async def send(size: int) -> int:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(size // 1000):
                yield b" " * 1000
            yield b"{}"

        transport = httpx.ASGITransport(app=thin.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answered = await client.request(
                method, "/boot/x/config", content=parts(), headers={"X-Api-Key": caller.text}
            )
        return answered.status_code

    assert thin.loop.run_until_complete(send(5000)) == 413
    assert thin.loop.run_until_complete(send(100_000)) == 413
    assert thin.loop.run_until_complete(send(2000)) in {200, 404}


@pytest.mark.parametrize(("size", "status"), [(2000, 200), (4096, 200), (4097, 413), (100_000, 413)])
@pytest.mark.parametrize("at_once", [1, 700, 1 << 20])
def test_wsgi_reads_a_body_without_a_length_from_a_server_that_ends_it(
    org: Organization, size: int, status: int, at_once: int
) -> None:
    class Input(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, at_once))

    caller, said = made(django_door, org), list[str]()
    environ = {
        **RequestFactory().post("/boot/x/config").environ,
        "HTTP_X_API_KEY": caller.text,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Input(b"{}".rjust(size)),
        "wsgi.input_terminated": True,
    }
    del environ["CONTENT_LENGTH"]
    b"".join(wsgi_application(environ, lambda code, _headers: said.append(code)))
    assert said[0].startswith(str(status))


@pytest.mark.parametrize("depth", [99, 100, 101, 900])
def test_what_nests_deeper_than_anybody_walks_is_refused(caller: Caller, depth: int) -> None:
    body = b'{"config":' + b"[" * depth + b"]" * depth + b"}"
    answered = caller("POST", f"/boot/{D}/config", body=body)
    if depth <= 100:
        assert answered.status == 200 and b"[" * depth in caller.get().body
    else:
        # Beyond what the parser itself bears, nobody knows which member it was.
        assert answered.status == 400 and answered.json["message"].startswith("Invalid request body")


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"a": ["x\udfffy"]}', r'{"\udc00": 1}'])
def test_half_a_character_is_no_text(caller: Caller, text: str) -> None:
    answered = caller("POST", f"/boot/{D}/config", body=f'{{"config": {text}}}'.encode())
    assert answered.json == {"message": "Invalid request body: config"}
    assert caller("POST", f"/boot/{D}/config", body=b'{"config": "\\ud83d\\ude00 \\u0000"}').status == 200
    assert caller.get().json["config"] == "\U0001f600 \0"


def test_a_configuration_that_no_key_opens_is_no_other_devices_failure(
    thin: ThinDoor, org: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = made(thin, org), made(thin, org)
    for each in (one, other):
        each.post({})
    broken = encrypt(b"{}").decode()[:-8] + "AAAAAAA="
    with connection.cursor() as cursor:
        cursor.execute("UPDATE boot_bootconfig SET body = %s WHERE api_key_id = %s", [broken, _raw(one)])
    asked = [("GET", f"/boot/{D}/config", {"X-Api-Key": each.text}) for each in (one, other, one)]
    answers = thin.all(*asked)
    assert [answer.status for answer in answers] == [500, 200, 500]
    assert answers[0].json == {"message": "Internal server error"}
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def _raw(caller: Caller) -> Any:
    return BootConfig._meta.get_field("api_key").get_db_prep_value(caller.row.pk, connection)


def test_whatever_fails_is_said_in_the_dialects_words(
    door: Door, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError("of no interest to devices")

    monkeypatch.setattr(cattlepi, "key_facts", fails)
    answered = caller("GET", "/track")
    assert (answered.status, answered.json) == (500, {"message": "Internal server error"})


def test_a_repeated_transaction_counts_once(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another transaction has won is done again: neither the quota nor the track is written twice."""
    row, text = factories.api_key(factories.operator(org), org)
    lost = [True, True]

    class Deadlock(Exception):
        sqlstate = "40P01"

    def append(*arguments: Any, **options: Any) -> Any:
        found = genuine(*arguments, **options)
        if lost:
            lost.pop()
            raise OperationalError from Deadlock()
        return found

    genuine = boots.append
    monkeypatch.setattr(boots, "append", append)
    assert boots.answer_all([boots.Boot(text, D)])[0].status == 404
    assert TrackedDevice.objects.get(api_key=row).seq == 1
    assert not lost
    assert sum(1 for _ in range(70) if boots.answer_all([boots.Boot(text, D)])[0].status == 404) == 59


def test_when_a_key_was_last_used_is_of_no_importance_to_its_device(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, text = factories.api_key(factories.operator(org), org)

    class Deadlock(Exception):
        sqlstate = "40P01"

    def fails(_keys: Any) -> None:
        raise OperationalError from Deadlock()

    monkeypatch.setattr(last_used, "note", fails)
    assert boots.answer_all([boots.Boot(text, D)])[0].status == 404
    assert TrackedDevice.objects.get(api_key=row).seq == 1


def test_a_configuration_belongs_to_its_keys_organization(org: Organization) -> None:
    other = factories.organization()
    row, _ = factories.api_key(factories.operator(other), other)
    stored = services.boot_config_set(api_key_id=row.pk, device=D, document={})
    assert stored.organization_id == other.pk
    with pytest.raises(TypeError):
        services.boot_config_set(api_key_id=row.pk, organization_id=org.pk, device=D, document={})  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        services.boot_config_set(api_key_id=uuid4(), device=D, document={})


# Of SQLite alone: a pragma makes it so; with PostgreSQL and Redis the outage tests take the database away.
@pytest.mark.standalone
def test_a_database_that_only_reads_is_said_to_be_away(org: Organization) -> None:
    caller = made(django_door, org)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1")
        try:
            for answered in (caller.get(), caller.post({}), caller("POST", f"/track/{D}", {"info": "x"})):
                assert (answered.status, answered.headers["retry-after"]) == (503, "10")
            assert caller("GET", "/ping").status == 200
        finally:
            cursor.execute("PRAGMA query_only = 0")
    assert caller.get().status == 404
