"""Simulated devices with links: the websocket against the `websockets` package, the protocol against a scripted
controller, and a fleet of them against a real server in a process of its own.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from controller.simulation import SimulationError, SimulationSettings, format_links, settings_from_options
from controller.simulation.client import Client
from controller.simulation.link_fleet import LinkFleet, allow_files, source_of
from controller.simulation.link_report import LinkRecorder
from controller.simulation.links import BackOff, Fate, fates
from controller.simulation.websocket import MOST_BYTES, PING, TEXT, Ending, WebSocket, frame
from tests.agent.test_simulation import OPTIONS
from tests.controller.processes import ROOT, Up, plain_environment, running_up

ARCHIVE = b"not looked into"
CHECKSUM = hashlib.md5(ARCHIVE).hexdigest()
UUID = "0b1a2c3d-0000-4000-8000-00000000000{}"
Handler = Callable[[ServerConnection], Awaitable[None]]


# --- the websocket ----------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def opened(self) -> None:
        self.events.append("opened")

    def received(self, text: bytes) -> None:
        self.events.append(text)

    def ended(self, ending: Ending) -> None:
        self.events.append(ending)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def taken(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data


@contextlib.contextmanager
def opened() -> Iterator[tuple[WebSocket, Heard, Wire, ServerProtocol]]:
    """A websocket whose handshake the `websockets` package has accepted."""
    heard, wire, server = Heard(), Wire(), ServerProtocol()
    ours = WebSocket(heard, host="h", path="/ws/device/1/", headers={"X-Device-Key": "k"})
    ours.connection_made(wire)
    server.receive_data(wire.taken())
    (request,) = server.events_received()
    assert (request.path, request.headers["x-device-key"]) == ("/ws/device/1/", "k")
    server.send_response(server.accept(request))
    ours.data_received(b"".join(server.data_to_send()))
    assert heard.events.pop() == "opened"
    yield ours, heard, wire, server


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 65_535, 65_536, 200_000])
def test_texts_of_every_length_arrive_both_ways(size: int) -> None:
    with opened() as (ours, heard, wire, server):
        text = "".join(chr(97 + n % 26) for n in range(size))
        ours.send(text)
        server.receive_data(wire.taken())
        (event,) = server.events_received()
        assert (event.opcode, bytes(event.data).decode()) == (Opcode.TEXT, text)
        server.send_text(text.encode())
        server.send_text(b"next")
        data = b"".join(server.data_to_send())
        for start in range(0, len(data), 50_001):
            ours.data_received(data[start : start + 50_001])
        assert heard.events == [text.encode(), b"next"]


def test_frames_cut_anywhere_and_messages_in_fragments_are_put_together() -> None:
    with opened() as (ours, heard, _wire, server):
        server.send_text(b"one ", fin=False)
        server.send_ping(b"in between")
        server.send_continuation(b"message", fin=True)
        for byte in b"".join(server.data_to_send()):
            ours.data_received(bytes([byte]))
        assert heard.events == [b"one message"]


def test_pings_are_answered_and_a_goodbye_is_returned() -> None:
    with opened() as (ours, heard, wire, server):
        server.send_ping(b"there?")
        ours.data_received(b"".join(server.data_to_send()))
        server.receive_data(wire.taken())
        (pong,) = server.events_received()
        assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"there?")
        server.send_close(4008, "slow")
        ours.data_received(b"".join(server.data_to_send()))
        server.receive_data(wire.taken())
        assert server.close_rcvd is not None
        assert server.close_rcvd.code == 4008
        ours.connection_lost(None)
        assert heard.events == [Ending(code=4008, reason="slow")]
        assert wire.is_closed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x81\x81mask", "a frame that breaks RFC 6455"),
        (b"\xc1\x00", "a frame that breaks RFC 6455"),
        (b"\x81\x7f" + (MOST_BYTES + 1).to_bytes(8), "a frame that breaks RFC 6455"),
        (b"\x82\x00", "a frame of the kind 2"),
    ],
)
def test_what_breaks_the_protocol_ends_it(data: bytes, reason: str) -> None:
    with opened() as (ours, heard, wire, server):
        ours.data_received(data)
        server.receive_data(wire.taken())
        assert server.close_rcvd is not None
        assert server.close_rcvd.code == 1002
        ours.connection_lost(None)
        assert heard.events == [Ending(code=1002, reason=reason)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Ending(status=403)),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 10\r\n\r\n", Ending(status=503, retry_after=10)),
        (
            b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: other\r\n\r\n",
            Ending(code=1002, status=0, reason="the answer to the handshake is another one's"),
        ),
        (b"SSH-2.0\r\n\r\n", Ending(code=1002, status=0, reason="the answer to the handshake is not HTTP")),
        (
            b"x" * 20_000,
            Ending(code=1002, status=0, reason="the answer to the handshake does not end"),
        ),
    ],
)
def test_a_handshake_that_is_not_accepted_ends_it(answer: bytes, expected: Ending) -> None:
    heard, wire = Heard(), Wire()
    ours = WebSocket(heard, host="h", path="/", headers={})
    ours.connection_made(wire)
    ours.data_received(answer)
    ours.connection_lost(None)
    ours.send("nobody hears this")
    assert heard.events == [expected]


def test_every_frame_has_a_mask_of_its_own() -> None:
    assert len({frame(TEXT, b"same")[2:6] for _ in range(50)}) > 40
    assert frame(PING, b"")[:2] == b"\x89\x80"


# --- the protocol, against a scripted controller ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def fleet_at(handler: Handler, **changes: Any) -> AsyncIterator[tuple[LinkFleet, LinkRecorder]]:
    """Registered devices that dial a controller which treats each link as `handler` does."""
    failures: list[BaseException] = []

    async def handle(connection: ServerConnection) -> None:
        try:
            await handler(connection)
        except ConnectionClosed:
            pass
        except BaseException as error:
            failures.append(error)
            raise

    values: dict[str, Any] = {"devices": 1, "links": True, "apply_seconds": 0.0, "timeout": 20.0}
    async with serve(handle, "127.0.0.1", 0, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        settings = SimulationSettings(secret="s", url=f"http://127.0.0.1:{port}", **(values | changes))
        client, recorder = Client(settings), LinkRecorder(settings.devices)
        fleet = LinkFleet(settings, client=client, recorder=recorder)
        for number, device in enumerate(fleet.devices):
            device.agent.uuid = UUID.format(number)
        running = asyncio.create_task(fleet.run())
        try:
            yield fleet, recorder
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await fleet.stop()
            client.close()
    assert failures == []


async def heard(connection: ServerConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        found: dict[str, Any] = json.loads(await connection.recv())
    return found


async def welcomed(connection: ServerConnection, *, heartbeat: float = 30) -> dict[str, Any]:
    """Answer `hello`; returns its parameters."""
    hello = await heard(connection)
    assert (hello["jsonrpc"], hello["method"]) == ("2.0", "hello")
    result = {"protocol": 1, "link": "x", "heartbeat": heartbeat, "wanted": CHECKSUM}
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": hello["id"], "result": result}))
    params: dict[str, Any] = hello["params"]
    return params


async def asked(connection: ServerConnection, task: str = "t1", **changes: Any) -> dict[str, Any]:
    """Ask for `config.apply`; returns the answer."""
    archive = base64.b64encode(ARCHIVE).decode()
    params = {"task": task, "attempt": 1, "checksum": CHECKSUM, "archive": archive} | changes
    request = {"jsonrpc": "2.0", "id": f"{task}:1", "method": "config.apply", "params": params}
    await connection.send(json.dumps(request))
    answer = await heard(connection)
    assert answer["id"] == f"{task}:1"
    return answer


async def reported(connection: ServerConnection, *, answered: bool = True) -> dict[str, Any]:
    report = await heard(connection)
    assert report["method"] == "report"
    if answered:
        result = {"status": "applied", "wanted": CHECKSUM}
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": report["id"], "result": result}))
    params: dict[str, Any] = report["params"]
    return params


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_device_says_hello_and_beats() -> None:
    said: list[Any] = []

    async def controller(connection: ServerConnection) -> None:
        assert connection.request is not None
        said.append((connection.request.path, connection.request.headers["X-Device-Key"]))
        said.append(await welcomed(connection, heartbeat=0.5))
        for _ in range(3):
            ping = await heard(connection)
            said.append(ping["method"])
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": ping["id"], "result": {}}))
        await connection.wait_closed()

    async with fleet_at(controller) as (fleet, recorder):
        await until(lambda: recorder.requests >= 5)
        (path, key), hello, *beats = said
        agent = fleet.devices[0].agent
        assert (path, key) == (f"/ws/device/{agent.uuid}/", agent.key)
        assert (hello["protocol"], hello["applied"], hello["busy"]) == (1, "", None)
        assert "config.apply" in hello["capabilities"]
        assert beats == ["ping"] * 3
        report = recorder.link_report()
    assert (report.held, report.most_held, report.opened, report.errors) == (1, 1, 1, 0)
    assert {row.operation: row.requests for row in report.rows if row.requests} == {
        "handshake": 1,
        "hello": 1,
        "ping": 3,
    }


async def test_a_configuration_is_applied_once_unless_it_is_forced() -> None:
    done = asyncio.Event()

    async def controller(connection: ServerConnection) -> None:
        await welcomed(connection)
        assert (await asked(connection))["result"] == {"state": "running"}
        assert await reported(connection) == {
            "task": "t1",
            "attempt": 1,
            "checksum": CHECKSUM,
            "status": "applied",
            "reason": "",
            "actual": None,
        }
        assert (await asked(connection, "t2"))["result"] == {"state": "applied"}
        assert (await asked(connection, "t3", force=True))["result"] == {"state": "running"}
        assert (await reported(connection))["task"] == "t3"
        done.set()
        await connection.wait_closed()

    async with fleet_at(controller) as (fleet, recorder):
        await until(done.is_set)
        await until(lambda: recorder.applied == 2)
        assert fleet.devices[0].agent.checksum == CHECKSUM
        report = recorder.link_report()
    assert (report.asked, report.applied, report.errors) == (3, 2, 0)
    assert "3 configurations asked for: 2 applied, 0 failed" in format_links(report)


@pytest.mark.parametrize(
    ("rates", "status"), [({"error_rate": 1.0}, "failed"), ({"rollback_rate": 1.0}, "rolled_back")]
)
async def test_what_was_refused_once_is_refused_again_without_trying(
    rates: dict[str, float], status: str
) -> None:
    done = asyncio.Event()

    async def controller(connection: ServerConnection) -> None:
        await welcomed(connection)
        await asked(connection)
        told = await reported(connection)
        assert (told["status"], told["reason"]) == (status, "simulated")
        assert (await asked(connection, "t2"))["result"]["state"] == "failed"
        done.set()
        await connection.wait_closed()

    async with fleet_at(controller, **rates) as (fleet, recorder):
        await until(done.is_set)
        assert fleet.devices[0].agent.checksum == ""
        assert (recorder.failed_applies + recorder.rolled_back, recorder.applied, recorder.errors) == (
            1,
            0,
            0,
        )


async def test_a_busy_device_takes_a_new_attempt_of_its_task_and_refuses_another() -> None:
    done = asyncio.Event()

    async def controller(connection: ServerConnection) -> None:
        await welcomed(connection)
        await asked(connection)
        error = (await asked(connection, "t2"))["error"]
        assert (error["code"], error["data"]) == (-32010, {"task": "t1"})
        assert (await asked(connection, "t1", attempt=2))["result"] == {"state": "running"}
        await connection.send('{"jsonrpc": "2.0", "id": 9, "method": "command.run", "params": {}}')
        assert (await heard(connection))["error"]["code"] == -32601
        assert (await reported(connection))["attempt"] == 2
        done.set()
        await connection.wait_closed()

    async with fleet_at(controller, apply_seconds=0.5):
        await until(done.is_set)


async def test_a_report_without_an_answer_is_repeated_over_the_next_link() -> None:
    links: list[dict[str, Any]] = []
    reports: list[dict[str, Any]] = []

    async def controller(connection: ServerConnection) -> None:
        links.append(await welcomed(connection))
        if len(links) == 1:
            await asked(connection)
            reports.append(await reported(connection, answered=False))
            await connection.close(4010)
        else:
            reports.append(await reported(connection))
            await connection.wait_closed()

    async with fleet_at(controller) as (_fleet, recorder):
        await until(lambda: recorder.applied)
        assert recorder.closes == {"4010": 1}
    assert [hello["busy"] for hello in links] == [None, {"task": "t1", "attempt": 1}]
    assert [hello["applied"] for hello in links] == ["", CHECKSUM]
    assert reports[0] == reports[1]


async def test_a_silent_device_says_nothing_more_until_the_controller_hangs_up() -> None:
    came: list[float] = []

    async def controller(connection: ServerConnection) -> None:
        await welcomed(connection, heartbeat=60 if came else 0.5)
        came.append(time.monotonic())
        if len(came) > 1:
            await connection.wait_closed()
            return
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked(connection), 1.5)
        await connection.close(4010)

    async with fleet_at(controller, silent_rate=1.0) as (_fleet, recorder):
        await until(lambda: len(came) == 2)
        assert (recorder.silent, recorder.errors) == (1, 0)


async def test_a_controller_that_answers_no_ping_is_dialled_again() -> None:
    count = 0

    async def controller(connection: ServerConnection) -> None:
        nonlocal count
        count += 1
        await welcomed(connection, heartbeat=0.1 if count == 1 else 60)
        await connection.wait_closed()

    async with fleet_at(controller) as (_fleet, recorder):
        await until(lambda: recorder.opened == 2)
        assert recorder.messages() == ("1 x ping: 1006 no answer for one heartbeat",)
        assert (count, recorder.held) == (2, 1)


async def test_wrong_archives_and_frames_are_errors() -> None:
    done = asyncio.Event()

    async def controller(connection: ServerConnection) -> None:
        await welcomed(connection)
        await connection.send("nonsense")
        await connection.send('{"jsonrpc": "2.0", "id": 5, "result": {}}')
        await asked(connection, archive=base64.b64encode(b"another").decode())
        assert (await reported(connection))["status"] == "failed"
        done.set()
        await connection.wait_closed()

    async with fleet_at(controller) as (_fleet, recorder):
        await until(done.is_set)
        assert sorted(recorder.messages()) == [
            "1 x apply: the archive's md5 is not the checksum",
            "1 x ping: a frame that is not a JSON object",
            '1 x ping: an answer to nothing: {"jsonrpc": "2.0", "id": 5, "result": {}}',
        ]


async def test_a_controller_that_does_not_welcome_is_given_up_in_time() -> None:
    async def controller(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with fleet_at(controller, timeout=0.2) as (_fleet, recorder):
        await until(lambda: recorder.errors)
        assert recorder.messages() == ("1 x handshake: 1006 not welcomed within 0.2 s",)


async def test_nobody_listening_is_an_error_and_tried_again() -> None:
    settings = SimulationSettings(devices=2, secret="s", url="http://127.0.0.1:9", links=True)
    client, recorder = Client(settings), LinkRecorder(2)
    fleet = LinkFleet(settings, client=client, recorder=recorder)
    fleet.devices[0].agent.uuid = UUID.format(0)
    running = asyncio.create_task(fleet.run())
    await until(lambda: recorder.errors >= 4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await fleet.stop()
    first, second = sorted(recorder.messages())
    assert re.match(r"\d x handshake: 1006 cannot connect: ", first)
    assert re.match(r"\d x register: cannot connect: ", second)


@pytest.mark.parametrize(
    ("ending", "least", "most"),
    [
        (Ending(code=1012), 0, 5),
        (Ending(code=4010), 0, 1),
        (Ending(code=4000), 61, 62),
        (Ending(code=4003), 300, 300),
        (Ending(status=403), 300, 300),
        (Ending(status=404), 300, 300),
        (Ending(status=503, retry_after=10), 10, 10),
        (Ending(code=1006), 1, 2),
        (Ending(code=4029), 1, 2),
    ],
)
def test_every_end_has_its_pause(ending: Ending, least: float, most: float) -> None:
    pauses = [BackOff().seconds(ending, lasted=0, random=Random(n)) for n in range(200)]
    assert least <= min(pauses)
    assert max(pauses) <= most
    assert len(set(pauses)) > 100 or least == most


def test_the_bound_doubles_to_a_minute_and_begins_anew_after_a_steady_link() -> None:
    back_off, random = BackOff(), Random(1)
    longest = [max(_pauses(back_off, random)) for _ in range(8)]
    for found, bound in zip(longest, [2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.9 * bound < found <= bound
    assert back_off.seconds(Ending(), lasted=61, random=random) <= 2


def _pauses(back_off: BackOff, random: Random) -> list[float]:
    """Many pauses from one bound, which then doubles once."""
    bound = back_off._bound
    found = []
    for _ in range(200):
        back_off._bound = bound
        found.append(back_off.seconds(Ending(), lasted=0, random=random))
    return found


def test_fates_are_the_asked_shares() -> None:
    settings = SimulationSettings(
        devices=1000, secret="s", error_rate=0.1, rollback_rate=0.05, silent_rate=0.001
    )
    found = list(fates(settings))
    counts = {fate: found.count(fate) for fate in Fate}
    wanted = {Fate.FAILS: 100, Fate.ROLLS_BACK: 50, Fate.IS_SILENT: 1, Fate.APPLIES: 849}
    assert all(abs(counts[fate] - wanted[fate]) <= 1 for fate in Fate), counts


def test_more_devices_than_ports_dial_from_several_addresses() -> None:
    sources = {source_of("127.0.0.1", number=number, devices=50_000) for number in range(64)}
    assert sources == {("127.0.0.1", 0), ("127.0.0.2", 0), ("127.0.0.3", 0)}
    assert source_of("::1", number=1, devices=50_000) is None
    assert source_of("127.0.0.1", number=1, devices=20_000) is None


def test_more_links_than_the_system_allows_are_refused() -> None:
    with pytest.raises(SimulationError, match=r"1000000000000 open files are needed, and the system allows"):
        allow_files(10**12)


def test_links_are_an_option_of_their_own() -> None:
    options = OPTIONS | {"devices": None, "links": 7, "secret": "x"}
    settings = settings_from_options(options, secret_of=str)
    assert (settings.devices, settings.links, settings.cycles) == (7, True, None)
    for changes in ({"cycles": 3}, {"interval": 1.0}, {"silent_rate": 0.7, "error_rate": 0.7}):
        with pytest.raises(SimulationError):
            settings_from_options(options | changes, secret_of=str)


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("links") / "data", MUSTER_COALESCE_SECONDS="0") as up:
        yield up


def command(up: Up, *arguments: str) -> tuple[list[str], dict[str, str]]:
    directory = up.process.args[up.process.args.index("--data-dir") + 1]  # type: ignore[union-attr,index,call-overload]
    return [sys.executable, "manage.py", *arguments], plain_environment(MUSTER_DATA_DIR=str(directory))


def provisioned(up: Up) -> dict[str, Any]:
    arguments = ["--organization", "demo", "--user", "nora", "--api-key", "--site", "Lab", "--json"]
    line, environment = command(up, "provision", *arguments)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pub(up: Up, key: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"x-api-key": key, "Content-Type": "application/json"}
    with urlopen(Request(f"{up.url}/pub/v1/{path}", data=data, headers=headers), timeout=10) as answer:
        return json.load(answer)


def test_devices_of_a_site_follow_it_over_their_links(up: Up, tmp_path: Path) -> None:
    given = provisioned(up)
    key, path = given["api_key"], f"site/{given['site']['id']}/config-changes"
    pub(up, key, path, {"changes": {"ntp/server": {"value": "first"}}, "timestamp": _now(up, key, path)})
    file, printed = tmp_path / "report.json", tmp_path / "printed"
    arguments = ["--links", "10", "--organization", "demo", "--url", up.url, "--site", "Lab"]
    arguments += ["--apply-seconds", "0.1", "--rollback-rate", "0.1", "--report-json", str(file)]
    line, environment = command(up, "simulate", *arguments)
    with printed.open("w") as stream:
        process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
        try:
            up.wait_until(lambda: "applied 9/10 failed 0 rolled back 1" in printed.read_text())
            pub(
                up,
                key,
                path,
                {"changes": {"ntp/server": {"value": "second"}}, "timestamp": _now(up, key, path)},
            )
            up.wait_until(lambda: "applied 18/20 failed 0 rolled back 2" in printed.read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=15) == 0, printed.read_text()
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
    text = printed.read_text()
    assert "10 of 10 devices were put into the site 'Lab'" in text
    assert "10 of 10 links held at the end, 10 at most; 10 registered (0 new)" in text
    assert "20 configurations asked for: 18 applied, 0 failed, 2 rolled back, 0 met with silence" in text
    report = json.loads(file.read_text())
    assert (report["held"], report["applied"], report["rolled_back"], report["errors"]) == (10, 18, 2, 0)
    assert report["opened_per_second"] > 1
    rows = {row["operation"]: row for row in report["operations"]}
    assert rows["report"]["statuses"] == {"ok": 20}
    assert 50 < rows["apply"]["p50"] <= rows["apply"]["p95"]
    # The controller has noticed, too, that everyone has said goodbye.
    up.wait_until(lambda: re.search(r"^muster_links 0\.0$", _metrics(up), re.MULTILINE) is not None)
    states = [device["state_id"] for device in pub(up, key, "devices")]
    assert len(states) == 10


def test_a_fleet_that_was_placed_before_stays_where_it_is(up: Up) -> None:
    arguments = ["--links", "2", "--organization", "demo", "--url", up.url, "--site", "Annex", "--seed", "9"]
    for count in (2, 0):
        line, environment = command(up, "simulate", *arguments, "--duration", "0.5")
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert f"{count} of 2 devices were put into the site 'Annex'" in done.stderr
        assert "2 registered (0 new)" in done.stdout


def test_more_devices_than_files_and_unknown_organizations_are_refused(up: Up) -> None:
    for arguments, message in (
        (["--links", "1000000000", "--organization", "demo"], "open files are needed"),
        (["--links", "1", "--organization", "nobody"], "there is no organization 'nobody'"),
        (["--links", "1", "--devices", "1", "--organization", "demo"], "not allowed with argument"),
    ):
        line, environment = command(up, "simulate", *arguments, "--url", up.url)
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert message in done.stderr


def _now(up: Up, key: str, path: str) -> str:
    return str(pub(up, key, path)["timestamp"])


def _metrics(up: Up) -> str:
    with urlopen(f"{up.url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
