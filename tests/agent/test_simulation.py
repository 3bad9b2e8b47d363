"""The simulated fleet against the fake controller: it registers, polls, verifies, reports, counts, stops."""

import asyncio
import dataclasses
import io
import json
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest

from controller.simulation import (
    SimulationError,
    SimulationReport,
    SimulationSettings,
    check_target,
    device_of,
    format_table,
    percentile,
    report_as_json,
    settings_from_options,
    simulate,
)
from tests.agent.fake_controller import BROKEN, CUT, NOT_FOUND, SECRET, FakeController, Reply

OPTIONS: dict[str, Any] = {
    "devices": 3,
    "links": None,
    "apply_seconds": 1.0,
    "rollback_rate": 0.0,
    "silent_rate": 0.0,
    "organization": "demo",
    "secret": "",
    "url": "http://127.0.0.1:8000/",
    "cycles": None,
    "duration": None,
    "interval": 0.0,
    "concurrency": 4,
    "seed": 1,
    "error_rate": 0.0,
    "tags": "",
    "timeout": 5.0,
    "allow_remote": False,
}


def run(controller: FakeController, **changes: Any) -> SimulationReport:
    values: dict[str, Any] = {"devices": 20, "cycles": 3, "concurrency": 4, "timeout": 5.0}
    settings = SimulationSettings(secret=SECRET, url=controller.url, **(values | changes))
    return asyncio.run(simulate(settings))


def test_every_device_registers_applies_once_and_reports(controller: FakeController) -> None:
    report = run(controller, tags="mesh")
    assert (report.registered, report.new, report.applied, report.rejected, report.errors) == (
        20,
        20,
        20,
        0,
        0,
    )
    assert {row.operation: row.requests for row in report.rows} == {
        "register": 20,
        "checksum": 60,
        "download": 20,
        "report": 20,
    }
    assert report.requests == len(controller.calls) == 120
    assert all(device.reports == [("applied", "")] for device in controller.devices.values())
    assert controller.of("register")[0].form["tags"] == "mesh"


def test_a_second_run_with_the_same_seed_is_the_same_fleet(controller: FakeController) -> None:
    run(controller)
    again = run(controller)
    assert (again.registered, again.new, len(controller.devices)) == (20, 0, 20)
    assert run(controller, seed=2).new == 20


def test_the_asked_share_of_devices_reports_an_error(controller: FakeController) -> None:
    report = run(controller, error_rate=0.25)
    assert (report.applied, report.rejected, report.errors) == (15, 5, 0)
    reports = [device.reports[0] for device in controller.devices.values()]
    assert reports.count(("error", "simulated")) == 5


def test_a_change_in_the_middle_is_downloaded(controller: FakeController) -> None:
    timer = threading.Timer(0.3, lambda: controller.serve({"etc/config/x": "config a 'b'\n"}))
    timer.start()
    report = run(controller, cycles=None, duration=1.0, interval=0.1)
    timer.join()
    assert (report.applied, report.errors) == (40, 0)


@pytest.mark.parametrize(
    ("operation", "reply", "message"),
    [
        ("checksum", Reply(body=b"0" * 32, headers=()), "checksum: the answer lacks the controller's header"),
        ("checksum", Reply(body=b"hello"), "checksum: the answer is not 32 hexadecimal digits"),
        ("checksum", NOT_FOUND, "checksum: answered 404, not 200: <h1>Not Found</h1>"),
        ("checksum", BROKEN, "checksum: answered 502, not 200: bad gateway"),
        ("checksum", CUT, "checksum: connection lost: closed by the server"),
        ("download-config", Reply(body=b"other"), "download: the archive's md5 is not the checksum"),
        ("report-status", Reply(status=500), "report: answered 500, not 200:"),
        ("register", Reply(status=201, body=b"uuid: x\n"), "register: the answer lacks uuid or key"),
        ("register", Reply(status=403, body=b"no"), "register: answered 403, not 201: no"),
    ],
)
def test_every_wrong_answer_is_an_error(
    controller: FakeController, operation: str, reply: Reply, message: str
) -> None:
    controller.always[operation] = reply
    report = run(controller, devices=1, cycles=1)
    assert report.errors == 1
    assert [text.strip() for text in report.messages] == [f"1 x {message}"]


def test_an_archive_that_changes_between_two_requests_is_no_error(controller: FakeController) -> None:
    earlier = Reply(body=b"0" * 32)
    controller.script["checksum"] = [earlier]
    report = run(controller, devices=1, cycles=2)
    assert (report.errors, report.applied) == (0, 1)


def test_a_kept_connection_the_server_closed_is_replaced(controller: FakeController) -> None:
    controller.script["checksum"] = [Reply(body=controller.checksum.encode()), CUT]
    report = run(controller, devices=1, cycles=2)
    assert (report.errors, len(controller.of("checksum"))) == (0, 3)


def test_chunked_answers_and_answers_without_a_length_are_read() -> None:
    body = b"registration-result: success\nuuid: 1\nkey: 2\nis-new: 1\n"
    mark = b"X-Openwisp-Controller: true\r\n"
    checksum = b"d41d8cd98f00b204e9800998ecf8427e"
    answers = {
        b"POST /controller/register/": b"HTTP/1.1 201 Created\r\n"
        + mark
        + b"Transfer-Encoding: chunked\r\n\r\n"
        b"5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n",
        b"GET /controller/checksum/": b"HTTP/1.1 200 OK\r\n" + mark + b"Connection: close\r\n\r\n" + checksum,
        b"GET /controller/download": b"HTTP/1.1 200 OK\r\n" + mark + b"Content-Length: 0\r\n\r\n",
        b"POST /controller/report": b"HTTP/1.1 200 OK\r\n" + mark + b"Content-Length: 2\r\n\r\nok",
    }

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line[15:] for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            answer = next(answer for start, answer in answers.items() if head.startswith(start))
            for position in range(0, len(answer), 7):
                writer.write(answer[position : position + 7])
                await asyncio.sleep(0)
            if b"Connection: close" in answer:
                return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer_all(reader, writer)
        except asyncio.IncompleteReadError:
            return  # the client is done
        finally:
            writer.close()

    async def scenario() -> SimulationReport:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = SimulationSettings(devices=1, secret="s", url=f"http://127.0.0.1:{port}", cycles=1)
            return await simulate(settings)

    report = asyncio.run(scenario())
    assert (report.messages, report.applied) == ((), 1)


def test_a_silent_server_is_an_error_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = SimulationSettings(devices=1, secret="s", url=url, cycles=1, timeout=0.2)
        report = asyncio.run(simulate(settings))
    assert report.messages == ("1 x register: no answer within 0.2 s",)


def test_duration_and_interrupt_end_a_run_without_cycles(controller: FakeController) -> None:
    started = time.monotonic()
    report = run(controller, cycles=None, duration=0.3)
    assert report.errors == 0
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    report = run(controller, cycles=None)
    timer.join()
    assert report.errors == 0
    assert report.requests > 20
    assert time.monotonic() - started < 25


def test_progress_and_table_tell_the_figures(controller: FakeController) -> None:
    stream = io.StringIO()
    settings = SimulationSettings(devices=2, secret=SECRET, url=controller.url, cycles=3, interval=0.6)
    report = asyncio.run(simulate(settings, progress=stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 2
    assert "2/2 registered" in lines[-1]
    assert "applied 2  errors 0" in lines[-1]
    table = format_table(report)
    assert table.startswith("2 of 2 devices registered (2 new), 2 applied and 0 reported an error, in ")
    checksum = next(line for line in table.splitlines() if line.startswith("checksum")).split()
    assert (checksum[1], checksum[3], checksum[-1]) == ("6", "0", "200:6")
    data = json.loads(report_as_json(report))
    assert [row["operation"] for row in data["operations"]] == ["register", "checksum", "download", "report"]
    assert data["requests"] == 12
    assert SECRET not in repr(settings)


def test_the_fleet_is_deterministic_and_its_macs_are_local() -> None:
    settings = SimulationSettings(devices=1, secret="s", seed=7)
    macs = [device_of(settings, index).mac for index in range(1000)]
    assert len(set(macs)) == 1000
    assert all(mac.startswith("02:") for mac in macs)
    assert device_of(settings, 5) == device_of(dataclasses.replace(settings, devices=9), 5)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)]
)
def test_percentiles_are_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share=share) == expected


def test_the_secret_comes_from_the_organization_unless_given() -> None:
    asked: list[str] = []

    def secret_of(slug: str) -> str:
        asked.append(slug)
        return "from the database"

    settings = settings_from_options(OPTIONS, secret_of=secret_of)
    assert (settings.secret, settings.cycles, settings.url) == (
        "from the database",
        3,
        "http://127.0.0.1:8000",
    )
    assert (
        settings_from_options(OPTIONS | {"secret": "x", "duration": 2.0}, secret_of=secret_of).cycles is None
    )
    assert asked == ["demo"]


@pytest.mark.parametrize(
    "changes",
    [
        {"devices": 0},
        {"concurrency": 0},
        {"interval": -1},
        {"error_rate": 1.5},
        {"cycles": 0},
        {"duration": 0.0},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SimulationError):
        settings_from_options(OPTIONS | changes, secret_of=str)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "http://[2001:db8::1]:80", "ftp://127.0.0.1", "127.0.0.1"]
)
def test_only_loopback_is_loaded_unless_allowed(url: str) -> None:
    with pytest.raises(SimulationError):
        check_target(url, allow_remote=False)
    check_target("http://127.0.0.1:1", allow_remote=False)
    check_target("http://[::1]:1", allow_remote=False)
    check_target("http://192.0.2.1", allow_remote=True)
