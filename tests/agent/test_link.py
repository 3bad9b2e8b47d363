"""The link of a running agent: how it is opened, kept, lost and dialled again, and that polling goes on beside it."""

import dataclasses
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster_agent import __version__
from muster_agent.facts import boot_id
from muster_agent.settings import Settings
from tests.agent.driving import LINKED, alive, settings_for, turn, wait_for
from tests.agent.fake_controller import SECRET, FakeController, Reply
from tests.agent.fake_link import FakeLink

SYSTEM = "config system 'system'\n\toption hostname '{}'\n"


@pytest.fixture
def linking(controller: FakeController) -> FakeController:
    controller.links.enabled = True
    return controller


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def linked(controller: FakeController, root: Path, **timing: Any) -> Settings:
    """A registered device that is in sync, and how it runs with a link."""
    if not controller.devices:
        turn(settings_for(controller.url, root))
        controller.calls.clear()
    return settings_for(controller.url, root, once=False, timing=dataclasses.replace(LINKED, **timing))


@pytest.fixture
def link(linking: FakeController, root: Path, log: Path) -> Iterator[FakeLink]:
    """A link that is up, of a device in sync, after its first poll."""
    with alive(linked(linking, root), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        yield linking.links.last


def gaps(controller: FakeController) -> list[float]:
    began = [link.began for link in controller.links.opened]
    return [after - before for before, after in itertools.pairwise(began)]


def test_the_handshake_carries_the_key_in_a_header_and_nowhere_else(
    linking: FakeController, link: FakeLink, log: Path
) -> None:
    assert link.path == f"/ws/device/{linking.device.uuid}/"
    assert link.headers["x-device-key"] == linking.device.key
    assert link.headers["user-agent"] == f"muster-agent/{__version__}"
    assert linking.device.key not in log.read_text()
    assert SECRET not in log.read_text()


def test_hello_tells_what_the_device_is_at(linking: FakeController, link: FakeLink) -> None:
    (hello,) = link.of("hello")
    assert link.heard[0]["method"] == "hello"
    actual = hello.pop("actual")
    assert hello == {
        "protocol": 1,
        "agent": f"muster-agent/{__version__}",
        "boot_id": boot_id(),
        "capabilities": ["config.apply", "config.read", "archive"],
        "applied": linking.checksum,
        "busy": None,
    }
    assert len(actual) == 64


def test_a_device_without_configuration_says_that_it_knows_nothing(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.always["checksum"] = Reply(status=500)
    with alive(linked(linking, root), log):
        wait_for(linking.links.up)
    (hello,) = linking.links.last.of("hello")
    assert (hello["applied"], hello["actual"]) == ("", None)


def test_no_link_is_dialled_by_a_single_turn_or_when_it_is_not_wanted(
    linking: FakeController, root: Path, log: Path
) -> None:
    turn(settings_for(linking.url, root))
    settings = dataclasses.replace(linked(linking, root, interval=0.05), link=False)
    with alive(settings, log):
        wait_for(lambda: len(linking.of("checksum")) > 4)
    assert linking.of("link") == []


def test_a_linked_device_polls_every_tenth_interval(linking: FakeController, root: Path, log: Path) -> None:
    with alive(linked(linking, root, interval=0.2), log):
        wait_for(linking.links.up)
        began = time.monotonic()
        wait_for(lambda: len(linking.of("checksum")) >= 3)
        # One as it comes up and one as the link does; then every two seconds, jitter allowed for.
        assert time.monotonic() - began > 1.5


def test_pings_go_out_every_heartbeat_give_or_take_a_tenth(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.links.heartbeat = 0.2
    with alive(linked(linking, root), log):
        wait_for(linking.links.up)
        began = time.monotonic()
        wait_for(lambda: len(linking.links.last.of("ping")) >= 6)
        pings, passed = len(linking.links.last.of("ping")), time.monotonic() - began
    # A busy machine lets it be late, never early.
    assert pings <= passed / 0.18 + 1
    assert len(linking.links.opened) == 1


def test_a_ping_without_answer_closes_the_link_and_dials_again(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.links.heartbeat = 0.1
    linking.links.answers_pings = False
    with alive(linked(linking, root), log):
        wait_for(lambda: len(linking.links.opened) >= 3)
    assert all(gap > 0.18 for gap in gaps(linking))
    assert 'reason="no answer to a ping"' in log.read_text()


def test_a_hello_without_answer_is_given_up(linking: FakeController, root: Path, log: Path) -> None:
    linking.links.answers_hello = False
    with alive(linked(linking, root, link_answer=0.1, interval=0.05), log):
        wait_for(lambda: len(linking.links.opened) >= 2)
        polls = len(linking.of("checksum"))
        wait_for(lambda: len(linking.of("checksum")) > polls + 3)


def test_a_protocol_nobody_speaks_is_tried_again_only_after_minutes(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.links.hello_error = -32001
    with alive(linked(linking, root), log):
        wait_for(lambda: len(linking.links.opened) >= 2)
    assert gaps(linking)[0] >= 0.45


@pytest.mark.parametrize(
    ("code", "waits", "least"),
    [
        (1012, {"link_restart_wait": 0.05}, 0.0),
        (4000, {"link_replaced_wait": (0.6, 0.7)}, 0.55),
        (4003, {"link_refused_wait": 0.5}, 0.4),
        (4010, {}, 0.0),
    ],
)
def test_the_close_code_says_when_to_dial_again(
    linking: FakeController, root: Path, log: Path, code: int, waits: dict[str, Any], least: float
) -> None:
    ages = {"link_backoff": (600.0, 600.0), "link_restart_wait": 600.0, "link_refused_wait": 600.0}
    with alive(linked(linking, root, **{**ages, "link_replaced_wait": (600.0, 600.0), **waits}), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        began = time.monotonic()
        linking.links.last.close(code)
        wait_for(lambda: len(linking.links.opened) == 2)
    assert linking.links.last.began - began >= least


@pytest.mark.parametrize(
    ("reply", "least"),
    [
        (Reply(status=403), 0.45),
        (Reply(status=404), 0.45),
        (Reply(status=503, headers=(("Retry-After", "1"),)), 0.5),
        (Reply(status=500), 0.0),
        (Reply(cut=True), 0.0),
        (Reply(status=302, headers=(("Location", "http://127.0.0.1:9/"),)), 0.0),
    ],
)
def test_a_refused_link_is_tried_again_and_the_device_polls_meanwhile(
    linking: FakeController, root: Path, log: Path, reply: Reply, least: float
) -> None:
    linking.script["link"] = [reply]
    with alive(linked(linking, root, interval=0.05), log):
        wait_for(lambda: linking.of("link"))
        began, polls = time.monotonic(), len(linking.of("checksum"))
        wait_for(linking.links.up)
        assert linking.links.last.began - began >= least - 0.05
        if least:
            assert len(linking.of("checksum")) > polls + 2
    assert len(linking.of("link")) == 2


def test_a_link_that_is_gone_is_dialled_with_growing_waits_while_polls_go_on(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.always["link"] = Reply(cut=True)
    with alive(linked(linking, root, interval=0.05), log):
        wait_for(lambda: linking.of("link"))
        began = time.monotonic()
        wait_for(lambda: len(linking.of("link")) >= 12 and len(linking.of("checksum")) >= 8)
        tries, passed = len(linking.of("link")), time.monotonic() - began
    # Ten times the first wait would have let a hundred through.
    assert tries <= 8 + passed / 0.1


def test_after_losing_its_link_a_device_polls_within_an_interval(
    linking: FakeController, root: Path, log: Path
) -> None:
    # With a link it would be ten intervals.
    with alive(linked(linking, root, interval=3.0), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        time.sleep(0.2)
        linking.calls.clear()
        linking.always["link"] = Reply(cut=True)
        linking.links.last.cut()
        wait_for(lambda: linking.of("checksum"), seconds=15)


def test_an_oversized_frame_ends_the_link_and_it_is_dialled_again(
    linking: FakeController, link: FakeLink
) -> None:
    link.send('"' + "x" * 262_144 + '"')
    wait_for(lambda: len(linking.links.opened) == 2)
    assert link.close_code == 1009


def test_a_controller_that_reads_nothing_loses_the_link_and_holds_nobody_up(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.serve({"etc/config/system": SYSTEM.format("x"), "etc/motd": "hi"})
    settings = linked(linking, root, link_stall=9.0)
    (root / "etc/motd").write_text("x" * 250_000)
    with alive(settings, log) as process:
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        first = linking.links.last
        first.stops_reading = True
        for _ in range(60):
            first.send({"jsonrpc": "2.0", "id": 1, "method": "config.read", "params": {}})
            time.sleep(0.03)  # what is answered `busy` fills no buffer
        linking.serve({"etc/motd": "new"})
        signal_to(process.pid, signal.SIGUSR1)
        wait_for(lambda: (root / "etc/motd").read_text() == "new", seconds=8)
        assert len(linking.links.opened) == 1
        wait_for(lambda: len(linking.links.opened) >= 2)
        first.stops_reading = False


def test_an_unknown_method_is_answered_and_a_notification_is_not(link: FakeLink) -> None:
    for _ in range(20):
        answer = link.call("command.run", {"command": "reboot"}, number=7)
    assert answer["error"]["code"] == -32601
    assert answer["id"] == 7
    link.send({"jsonrpc": "2.0", "method": "stream.data", "params": []})
    assert link.call("command.run", {}, number="n" * 64)["id"] == "n" * 64
    assert link.answers.empty()
    assert link.is_up


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", -32700),
        (b"{}", -32700),
        ("[" * 100_000, -32700),
        ("[]", -32600),
        ('{"jsonrpc": "1.0", "id": 1, "method": "x"}', -32600),
        ('{"jsonrpc": "2.0", "id": true, "method": "x"}', -32600),
        ('{"jsonrpc": "2.0", "id": [], "method": "x"}', -32600),
        ('{"jsonrpc": "2.0", "id": "' + "n" * 65 + '", "method": "x"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "result": 1, "error": {}}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "error": "x"}', -32600),
        ('{"jsonrpc": "2.0", "method": "config.apply", "params": {}}', -32600),
    ],
)
def test_a_malformed_frame_is_answered_and_the_tenth_closes_the_link(
    linking: FakeController, link: FakeLink, frame: str | bytes, code: int
) -> None:
    link.send(frame)
    answer = link.answers.get(timeout=20)
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    if "config.apply" in str(frame):
        return
    for _ in range(9):
        link.send("no json")
    wait_for(lambda: len(linking.links.opened) == 2)
    assert link.close_code == 4002


def test_an_answer_nobody_asked_for_changes_nothing(link: FakeLink) -> None:
    link.send({"jsonrpc": "2.0", "id": 99, "result": {}})
    link.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "x"}})
    assert link.call("x", {})["error"]["code"] == -32601


def test_signals_work_at_once_while_linked(linking: FakeController, root: Path, log: Path) -> None:
    with alive(linked(linking, root), log) as process:
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        time.sleep(0.2)
        linking.serve({"etc/config/system": SYSTEM.format("two")})
        signal_to(process.pid, signal.SIGUSR1)
        wait_for(lambda: "two" in (root / "etc/config/system").read_text(), seconds=10)
        wait_for(lambda: len(linking.device.reports) == 2, seconds=10)
        (root / "etc/config/system").write_text("")
        signal_to(process.pid, signal.SIGUSR2)
        wait_for(lambda: "two" in (root / "etc/config/system").read_text(), seconds=10)
        wait_for(lambda: len(linking.device.reports) == 3, seconds=10)
        process.terminate()
        process.join(20)
        assert process.exitcode == 0
    wait_for(lambda: linking.links.last.close_code == 1000)
    assert "event=stopped" in log.read_text()


def signal_to(pid: int | None, number: int) -> None:
    assert pid is not None
    os.kill(pid, number)


def test_telemetry_tells_the_machine_and_a_change_by_hand(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.links.heartbeat = 0.1
    with alive(linked(linking, root, telemetry_interval=0.1), log):
        wait_for(linking.links.up)
        wait_for(lambda: linking.links.last.of("telemetry"))
        (hello,) = linking.links.last.of("hello")
        first = linking.links.last.of("telemetry")[0]
        assert first["actual"] == hello["actual"]
        assert first["uptime"] > 0
        assert first["load"] >= 0
        assert 0 < first["memory"] < 1
        before, began = len(linking.links.last.of("telemetry")), time.monotonic()
        wait_for(lambda: len(linking.links.last.of("telemetry")) >= before + 4)
        told, passed = len(linking.links.last.of("telemetry")) - before, time.monotonic() - began
        assert told <= passed / 0.08 + 1
        path = root / "etc/config/system"
        text = path.read_text()
        path.write_text(SYSTEM.format("by hand"))
        wait_for(lambda: linking.links.last.of("telemetry")[-1]["actual"] != hello["actual"])
        path.write_text(text)
        wait_for(lambda: linking.links.last.of("telemetry")[-1]["actual"] == hello["actual"])


def test_config_read_gives_the_files_of_the_applied_archive(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.serve({"etc/config/system": SYSTEM.format("x"), "etc/motd": "hi", "srv/gone": "g"})
    settings = linked(linking, root)
    (root / "etc/motd").write_bytes(b"caf\xe9")
    (root / "srv/gone").unlink()
    with alive(settings, log):
        wait_for(linking.links.up)
        wait_for(lambda: linking.of("checksum"))
        result = linking.links.last.call("config.read", {})["result"]
        assert result["files"] == {
            "etc/config/system": "\n" + SYSTEM.format("x"),
            "etc/motd": "caf\ufffd",
            "srv/gone": None,
        }
        assert len(result["actual"]) == 64
        (root / "etc/motd").write_text("x" * 262_144)
        assert linking.links.last.call("config.read", {})["error"]["code"] == -32011
