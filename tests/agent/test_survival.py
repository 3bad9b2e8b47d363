"""kill -9 after every durable step of an apply, in a real process; then signals and the command line."""

import dataclasses
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from muster_agent.errors import ExitCode
from muster_agent.log import EventLog
from muster_agent.protocol import Identity
from muster_agent.settings import Settings, Timing
from muster_agent.state import Store
from tests.agent.driving import (
    FAST,
    FORK_SERVER,
    MAC,
    contents,
    executable,
    run_killed_at,
    settings_for,
    turn,
    wait_for,
    write,
)
from tests.agent.fake_controller import SECRET, FakeController, Reply

OLD = {
    "etc/config/system": "config system 'system'\n\toption hostname 'old'\n",
    "etc/motd": "old",
    "etc/gone": "old",
}
FIRST = {
    "etc/config/system": "config system 'system'\n\toption hostname 'first'\n",
    "etc/gone": "f",
    "srv/a/x": "1",
}
SECOND = {
    "etc/config/system": "config system 'system'\n\toption hostname 'second'\n",
    "etc/motd": "s",
    "opt/b/y": "2",
}
AGENT = Path(__file__).parents[2] / "agent"


def run_and_kill(settings: Settings, kill_at: int | str) -> tuple[list[str], int | None]:
    """The steps seen and the exit code (-9 when the kill came in time)."""
    receiver, sender = FORK_SERVER.Pipe(duplex=False)
    process = FORK_SERVER.Process(target=run_killed_at, args=(settings, kill_at, sender))
    process.start()
    sender.close()
    steps = list(_received(receiver))
    process.join(20)
    return steps, process.exitcode


def _received(receiver: Connection) -> Iterator[str]:
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            return


def temporaries(root: Path) -> list[Path]:
    return list(root.rglob(".muster-tmp-*"))


@pytest.mark.parametrize("outcome", ["applied", "error"])
def test_a_kill_after_any_step_never_leaves_a_half_applied_tree(
    controller: FakeController, tmp_path: Path, outcome: str
) -> None:
    """For every n: apply FIRST, kill during SECOND after step n, restart; the tree must be one of the two."""
    trees: dict[str, object] = {}
    kill_at = 0
    seen_steps: list[str] = []
    while True:
        root = tmp_path / f"root{kill_at}"
        root.mkdir()
        write(root, OLD)
        controller.serve(FIRST)
        base = settings_for(controller.url, root)
        assert turn(base) == ExitCode.OK
        trees["before"] = contents(root)
        verdict = "true" if outcome == "applied" else f"! grep -q second {root}/etc/config/system"
        script = executable(tmp_path / f"test{kill_at}.sh", verdict)
        settings = dataclasses.replace(base, test_script=script)
        checksum = controller.serve(SECOND)
        controller.device.reports.clear()

        steps, code = run_and_kill(settings, kill_at)
        if code != -signal.SIGKILL:
            seen_steps = steps
            break
        interrupted = {name: value for name, value in contents(root).items() if ".muster-tmp-" not in name}
        expected = ExitCode.OK if outcome == "applied" else ExitCode.REJECTED
        assert turn(settings) == expected, steps
        trees.setdefault("after", contents(root))
        assert contents(root) == trees["after"], steps
        assert temporaries(root) == [], steps
        assert [status for status, _ in controller.device.reports][-1:] == [outcome], steps
        if "committed" in steps or "rolled back" in steps:
            assert interrupted == trees["after"], steps
        if outcome == "applied" and "memory saved" in steps:
            memory = json.loads((root / "etc/muster-agent/memory.json").read_text())
            assert memory["applied"] == checksum
        assert not (root / "etc/muster-agent/journal.json").exists()
        assert not (root / "etc/muster-agent/transaction.json").exists()
        kill_at += 1
    last = "committed" if outcome == "applied" else "rolled back"
    assert seen_steps[-1] == last
    assert kill_at == len(seen_steps) >= 10
    assert (trees["after"] == trees["before"]) is (outcome == "error")


def test_a_kill_after_the_commit_only_reports(controller: FakeController, root: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    executable(tmp_path / "hooks/pre-reload", f"echo applied >> {heard}")
    settings = settings_for(controller.url, root, hooks_dir=tmp_path / "hooks")
    assert run_and_kill(settings, "committing")[1] == -signal.SIGKILL
    assert controller.device.reports == []
    controller.calls.clear()
    assert turn(settings) == ExitCode.OK
    assert controller.operations() == ["checksum", "report-status"]
    assert heard.read_text() == "applied\n"


def test_a_kill_from_a_hook_in_the_middle_is_survived(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    turn(settings_for(controller.url, root))
    controller.serve(SECOND)
    once = tmp_path / "once"
    executable(tmp_path / "hooks/reload", f"[ -e {once} ] && exit 0; touch {once}; kill -9 $PPID")
    process = start_cli(controller, root, "--once", "--hooks-dir", str(tmp_path / "hooks"))
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert json.loads((root / "etc/muster-agent/journal.json").read_text())["step"] == "testing"
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert "second" in (root / "etc/config/system").read_text()
    assert controller.operations().count("download-config") == 2


def test_an_apply_that_is_cut_again_and_again_is_reported_and_left_alone(
    controller: FakeController, root: Path
) -> None:
    turn(settings_for(controller.url, root))
    before = contents(root)
    controller.serve(SECOND)
    settings = settings_for(controller.url, root)
    for _ in range(3):
        assert run_and_kill(settings, "wrote etc/motd")[1] == -signal.SIGKILL
    assert turn(settings) == ExitCode.REJECTED
    assert contents(root) == before
    assert "was interrupted 3 times in a row" in controller.device.reports[-1][1]


def test_two_agents_never_share_a_tree(controller: FakeController, root: Path) -> None:
    store = Store(root / "etc/muster-agent", log=EventLog(stream=io.StringIO()))
    store.lock()
    assert turn(settings_for(controller.url, root)) == ExitCode.ALREADY_RUNNING
    store.unlock()
    assert turn(settings_for(controller.url, root)) == ExitCode.OK


def start_cli(controller: FakeController, root: Path, *arguments: str) -> "subprocess.Popen[str]":
    """`python -m muster_agent` as an operator runs it, with short waits."""
    quick = ["--timing", "settle=0", "--timing", "backoff=0,0.01", "--timing", "not_found_wait=0.01"]
    command = [
        sys.executable,
        "-m",
        "muster_agent",
        "--url",
        controller.url,
        "--root",
        str(root),
        "--mac",
        MAC,
    ]
    env = {**os.environ, "PYTHONPATH": str(AGENT), "MUSTER_AGENT_SECRET": SECRET}
    return subprocess.Popen(
        [*command, "--name", "ap-1", *quick, *arguments], env=env, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def running(controller: FakeController, root: Path, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    process = start_cli(controller, root, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_signals_wake_force_and_stop_the_shipped_program(controller: FakeController, root: Path) -> None:
    with running(controller, root, "--interval", "600", "--log-format", "json") as process:
        wait_for(lambda: len(controller.devices) == 1 and len(controller.device.reports) == 1)
        controller.serve(SECOND)
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: len(controller.device.reports) == 2)
        assert "second" in (root / "etc/config/system").read_text()
        (root / "etc/motd").write_text("drifted")
        process.send_signal(signal.SIGUSR2)
        wait_for(lambda: len(controller.device.reports) == 3)
        assert (root / "etc/motd").read_text() == "s"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    events = [json.loads(line)["event"] for line in errors.splitlines()]
    assert events[0] == "starting"
    assert events.count("applied") == 3
    assert events[-1] == "stopped"
    assert SECRET not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_a_hanging_request_at_once(controller: FakeController, root: Path, number: int) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    with silent, running(controller, root, "--url", url) as process:
        connection, _ = silent.accept()
        started = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 0
    assert time.monotonic() - started < 10
    assert "event=stopped" in errors


def test_the_shipped_program_exits_as_documented(controller: FakeController, root: Path) -> None:
    process = start_cli(controller, root, "--once", "--log-level", "debug")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.search(
        r"^time=\S+ level=info event=registered uuid=[0-9a-f]{32} hostname=ap-1 is_new=True$", errors, re.M
    )
    assert controller.device.key not in errors
    controller.always["checksum"] = Reply(status=404)
    process = start_cli(controller, root)
    process.communicate(timeout=20)
    assert process.returncode == 0
    identity = json.loads((root / "etc/muster-agent/identity.json").read_text())
    assert Identity(**identity).uuid == controller.device.uuid


def test_the_agent_imports_nothing_of_the_controller() -> None:
    for path in (AGENT / "muster_agent").glob("*.py"):
        for module in re.findall(r"^(?:from|import) (\S+)", path.read_text(), re.M):
            assert module.partition(".")[0] in sys.stdlib_module_names | {
                "muster_agent",
                "httpx",
                "websockets",
            }, (
                path,
                module,
            )


def test_the_default_waits_are_the_openwrt_agents() -> None:
    timing = Timing()
    assert (timing.interval, timing.between_registrations(), timing.between_management_ip_tries()) == (
        120,
        30,
        10,
    )
    assert (timing.tries, timing.backoff, timing.not_found_limit, timing.not_found_wait) == (
        10,
        (2, 15),
        5,
        6,
    )
    assert (timing.test_tries, timing.test_backoff, timing.settle) == (10, (5, 20), 5)
    assert (timing.connect_timeout, timing.total_timeout, timing.bootup_delay) == (15, 30, 10)
    assert (timing.update_info_tries, timing.update_info_wait) == (10, 2)
    assert timing != FAST
