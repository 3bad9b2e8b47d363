"""Nothing secret reaches a log line, by whatever way it tries; and each line says to which request it belongs."""

import http.client
import json
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import shared_task
from django.db import transaction
from django.test import Client

from controller import trace
from controller.celery import app
from controller.server import Background
from core.acting import current, request_id
from core.log_redaction import HIDDEN, value_without_secrets, without_secrets
from core.wake import ring, wake
from tests.controller.processes import running_up
from tests.controller.test_logs import captured, written

SECRET = "Zq7-hunter22-Zq7"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PEM = f"-----BEGIN PRIVATE KEY-----\n{'MIIEvQ' * 9}\n-----END PRIVATE KEY-----"
heard: list[tuple[str, str, str]] = []


@shared_task(name="tests.controller.who_woke_me")
def who_woke_me() -> None:
    heard.append((request_id.get(), current().name, current().via))
    logging.getLogger("fleet").warning("woken")


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization={SECRET}",
        f"{{'Authorization': 'Basic {SECRET}', 'Accept': '*/*'}}",
        f"(b'authorization', b'Bearer {SECRET}')",
        f"Cookie: sessionid={SECRET}; csrftoken=x",
        f"X-Api-Key: abcdefgh.{SECRET}",
        f"sent Bearer {SECRET} to us",
        f"password={SECRET}",
        f'password="{SECRET}',
        f"RuntimeError: password={SECRET}",
        f'{{"password": "{SECRET}"}}',
        f"{{'wifi_psk': '{SECRET}'}}",
        f'"{{\\"key\\": \\"{SECRET}\\"}}"',
        f"shared_secret: {SECRET}",
        f"User(password='{SECRET}')",
        f"redis://:{SECRET}@127.0.0.1:6379/0 does not answer",
        f"postgres://muster:{SECRET}@db/muster",
        f"DETAIL:  Failing row contains (1, ann, {SECRET}, null).",
        f"DETAIL:  Key (organization_id, key)=(1, {SECRET}) already exists.",
        f"Traceback\n  x\nValueError: bad token={SECRET}\nparams: ['{SECRET}']",
    ],
    ids=range(20),
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    shown = without_secrets(text)
    assert SECRET not in shown
    assert HIDDEN in shown
    assert without_secrets(shown) == shown, "twice is the same as once"


@pytest.mark.parametrize(
    "text",
    [
        "Not Found: /controller/checksum/1/",
        "DETAIL:  Key (mac_address)=(02:00:00:00:00:01) already exists.",
        'Retry in 5s, status: "applied", key_length=2048',
        "KeyError: 'lost'",
        "https://example.org:8443/a",
        "request 2693cfbe226f0c377d3a8fde00000180 took 3 ms",
    ],
    ids=range(6),
)
def test_what_is_harmless_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_private_keys_are_hidden_whole_cut_off_or_escaped() -> None:
    for text in (PEM, PEM[:60], PEM.replace("\n", "\\n"), f"a\n{PEM}\nb"):
        assert "MIIEvQ" not in without_secrets(text)
    assert without_secrets(f"a {PEM} b").endswith(" b")


def test_a_long_line_takes_no_long_time() -> None:
    started = time.process_time()
    for word in (
        "a" * 200_000,
        "a=" * 50_000,
        "-----BEGIN PRIVATE KEY-----" * 500,
        "'\"" * 50_000,
        "params: [" * 5000,
    ):
        without_secrets(word)
    assert time.process_time() - started < 10


def test_bare_api_tokens_are_hidden() -> None:
    assert TOKEN not in without_secrets(f"unknown: {TOKEN}.")


def test_of_a_bare_api_key_its_id_is_shown() -> None:
    secret = "a-_9" * 10 + "xyz"
    assert without_secrets(f"unknown: Ab3dE6gh.{secret}, again") == f"unknown: Ab3dE6gh.{HIDDEN}, again"


def test_values_are_judged_by_their_names_at_any_depth() -> None:
    event = {"device": {"name": "ap", "key": SECRET, "radios": [{"psk": SECRET}]}, "password": 1234, "n": 1}
    assert value_without_secrets(event) == {
        "device": {"name": "ap", "key": HIDDEN, "radios": [{"psk": HIDDEN}]},
        "password": HIDDEN,
        "n": 1,
    }
    deep: Any = SECRET
    for _ in range(50):
        deep = [deep]
    assert SECRET not in repr(value_without_secrets(deep))


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_way_through_the_logger_leaks(style: str) -> None:
    with captured(style=style) as lines:
        log = logging.getLogger("x")
        log.warning("login with password=%s", SECRET)
        log.warning("headers %s", {"Authorization": f"Bearer {SECRET}"})
        log.warning("extra", extra={"password": SECRET})
        log.error("%s", PEM)
        try:
            raise ValueError(f"refused Authorization: Bearer {SECRET}, {PEM}")
        except ValueError:
            log.exception("failed for key=%s", SECRET)
        log.warning("unprintable %s", object())
    said = lines.getvalue()
    assert SECRET not in said and "MIIEvQ" not in said
    assert "ValueError" in said and "unprintable" in said


def test_an_error_of_ours_shows_its_id_where_one_looks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError(f"password={SECRET}")

    client.raise_request_exception = False
    monkeypatch.setattr("controller.health.probe.report", broken)
    with captured() as lines:
        page = client.get("/readyz", headers={"X-Request-ID": "abc-43"})
    assert page.status_code == 500
    assert page.content == b"500 Internal server error. Request abc-43\n"
    assert page["X-Request-ID"] == "abc-43"
    assert SECRET not in lines.getvalue()
    assert {line["request_id"] for line in written(lines)} == {"abc-43"}


@pytest.mark.django_db
def test_an_error_of_ours_in_the_api_shows_its_id_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("lost")

    client.raise_request_exception = False
    monkeypatch.setattr("tenancy.api.entry.door.password_check", broken)
    answer = client.post(
        "/api/v1/users/token/", {"username": "a", "password": "b"}, headers={"X-Request-ID": "abc-44"}
    )
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal server error.", "request_id": "abc-44"}
    assert client.get("/api/v1/users/organization/").json().keys() == {"detail"}, "other errors are DRF's own"


@pytest.mark.django_db(transaction=True)
def test_a_task_carries_the_id_of_the_request_that_woke_it() -> None:
    app.control.purge()
    heard.clear()
    assert trace.WORKER.via == "worker"
    background = Background(threads=1)
    background.start()
    token = request_id.set("abc-45")
    try:
        with transaction.atomic():
            wake(who_woke_me)
        request_id.set("")
        ring(who_woke_me)
        deadline = time.monotonic() + 20
        while len(heard) < 2:
            assert time.monotonic() < deadline, heard
            time.sleep(0.02)
    finally:
        request_id.reset(token)
        assert background.stop(seconds=10)
    assert heard[0] == ("abc-45", "worker", "worker")
    assert heard[1][0] not in ("", "abc-45")
    assert heard[1][1:] == ("worker", "worker")


def send(
    url: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers=named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.slow
@pytest.mark.standalone
def test_a_real_server_writes_no_secret_that_callers_send(tmp_path: Path) -> None:
    secrets = [SECRET, TOKEN, "0f" * 16]
    with running_up(
        tmp_path / "data", MUSTER_ADMIN_PASSWORD=SECRET, MUSTER_LOG_LEVEL="DEBUG", MUSTER_LOG_FORMAT="json"
    ) as up:
        form = {"Content_Type": "application/json"}
        right = json.dumps({"username": "admin", "password": SECRET}).encode()
        assert send(up.url, "POST", "/api/v1/users/token/", right, **form)[0] == 200
        wrong = json.dumps({"username": SECRET, "password": TOKEN}).encode()
        assert send(up.url, "POST", "/api/v1/users/token/", wrong, **form)[0] == 400
        assert send(up.url, "GET", "/api/v1/users/organization/", Authorization=f"Bearer {TOKEN}")[0] == 401
        assert send(up.url, "GET", f"/no-such-page?key={SECRET}", Cookie=f"sessionid={SECRET}")[0] == 404
        status, headers = send(up.url, "GET", f"/controller/checksum/{'0' * 32}/?key={secrets[2]}")
        assert status == 404 and headers["x-request-id"]
        status, headers = send(up.url, "GET", "/controller/no-such/", X_Request_ID="abc-46")
        assert headers["x-request-id"] == "abc-46"
        register = f"secret={SECRET}&key={secrets[2]}&name=x&mac_address=nonsense&backend=x".encode()
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        assert send(up.url, "POST", "/controller/register/", register, **kind)[0] in (400, 403, 404)
        assert (
            send(up.url, "POST", "/admin/login/", b"username=admin&password=" + SECRET.encode(), **kind)[0]
            == 403
        )
        assert up.stop() == 0
        for secret in secrets:
            assert secret not in up.printed, [line for line in up.printed.splitlines() if secret in line]
        assert "sign-in refused" in up.printed
