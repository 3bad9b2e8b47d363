"""kill -9 after every durable step of a task that came over the link, and deadlines across kills and reboots."""

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster_agent.archive import md5_of
from muster_agent.settings import Settings
from tests.agent.driving import FORK_SERVER, alive, contents, executable, run_killed_at, turn, wait_for, write
from tests.agent.fake_controller import FakeController, Reply, archive
from tests.agent.fake_link import FakeLink, order
from tests.agent.test_link import linked
from tests.agent.test_survival import FIRST, OLD, SECOND, temporaries

FINAL = "reported"


@pytest.fixture
def linking(controller: FakeController) -> Iterator[FakeController]:
    controller.links.enabled = True
    yield controller


def pushing(controller: FakeController, data: bytes, **changes: Any) -> list[dict[str, Any]]:
    """From now on every link gets the task, as one of a real controller would; what the devices answer.

    Polls get an error, which proves contact and tells nothing: all that happens happens over the link.
    """
    controller.always["checksum"] = Reply(status=500)
    answers: list[dict[str, Any]] = []
    attempts = 0

    def push(link: FakeLink, hello: dict[str, Any]) -> None:
        nonlocal attempts
        if hello["busy"] is not None or hello["applied"] == md5_of(data) or controller.links.reports:
            return
        attempts += 1
        params = order(controller.device.uuid, data, attempt=attempts, **changes)

        # Not from the thread that reads what the device answers.
        def ask() -> None:
            try:
                answers.append(link.call("config.apply", params))
            except Exception:  # noqa: BLE001  (the device was killed before it answered: part of the test)
                return

        threading.Thread(target=ask, daemon=True).start()

    controller.links.push = push
    return answers


def killed_at(settings: Settings, kill_at: int | str) -> list[str]:
    """Run until the kill, or until `FINAL`; the steps that were seen."""
    receiver, sender = FORK_SERVER.Pipe(duplex=False)
    process = FORK_SERVER.Process(target=run_killed_at, args=(settings, kill_at, sender))
    process.start()
    sender.close()
    steps: list[str] = []
    try:
        while receiver.poll(15):
            steps.append(receiver.recv())
            if steps[-1] == FINAL:
                break
        else:
            raise AssertionError(f"nothing happens after {steps}")
    except EOFError:
        process.join(5)
        assert process.exitcode == -signal.SIGKILL, steps
        return steps
    if kill_at in (FINAL, len(steps) - 1):
        process.join(5)
    process.kill()
    process.join()
    return steps


def memory(root: Path) -> dict[str, Any]:
    return json.loads((root / "etc/muster-agent/memory.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["applied", "failed", "rolled_back"])
@pytest.mark.parametrize("inline", [True, False])
def test_a_kill_after_any_step_of_a_task_leaves_one_tree_and_one_report(
    linking: FakeController, tmp_path: Path, outcome: str, inline: bool
) -> None:
    """For every n: a device that has FIRST is asked for SECOND, killed after step n and started again."""
    trees: dict[str, object] = {}
    kill_at = 0
    while True:
        root = tmp_path / f"root{kill_at}"
        root.mkdir()
        write(root, OLD)
        linking.serve(FIRST)
        linking.links.push = None
        linking.is_dark = lambda: False
        linking.devices.clear()
        linking.always.clear()
        settings = linked(linking, root)
        trees["before"] = contents(root)
        if outcome == "failed":
            script = executable(tmp_path / f"test{kill_at}.sh", f"! grep -q second {root}/etc/config/system")
            settings = dataclasses.replace(settings, test_script=script)
        elif outcome == "rolled_back":
            linking.is_dark = lambda path=root / "etc/motd": path.read_text() == "s"
        data = archive(SECOND)
        if not inline:
            linking.data = data
        linking.links.reports.clear()
        linking.device.reports.clear()
        pushing(linking, data, inline=inline, confirm_within=0.4 if outcome == "rolled_back" else 5)

        steps = killed_at(settings, kill_at)
        with alive(settings, tmp_path / "log"):
            wait_for(lambda: linking.links.reports)
            wait_for(lambda root=root: memory(root)["owed"] == [] and memory(root)["order"] is None)
            wait_for(linking.links.up)
            time.sleep(0.02)
        (report,) = linking.links.reports
        assert (report["task"], report["status"]) == ("t1", outcome), steps
        assert linking.device.reports == [], steps
        trees.setdefault("after", contents(root))
        assert contents(root) == trees["after"], steps
        assert temporaries(root) == [], steps
        assert memory(root)["applied"] == (md5_of(data) if outcome == "applied" else linking.checksum)
        assert not (root / "etc/muster-agent/journal.json").exists()
        assert not (root / "etc/muster-agent/transaction.json").exists()
        if steps[-1] == FINAL:
            break
        kill_at += 1
    assert steps[0] == "order taken"
    assert ("archive saved" in steps) is not inline
    assert kill_at == len(steps) - 1 >= 10
    assert (trees["after"] == trees["before"]) is (outcome != "applied")


@pytest.mark.parametrize(
    "step", ["planned", "wrote etc/motd", "testing", "committing", "memory saved", "committed"]
)
def test_when_polls_and_the_link_bring_the_same_it_is_applied_and_told_once(
    linking: FakeController, root: Path, tmp_path: Path, step: str
) -> None:
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    data = archive(SECOND)
    pushing(linking, data)
    linking.always.clear()
    linking.serve_bytes(data)
    assert killed_at(settings, step)[-1] == step
    with alive(settings, tmp_path / "log"):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        wait_for(lambda: memory(root)["applied"] == md5_of(data) and memory(root)["owed"] == [])
        time.sleep(0.1)
    over_http = [status for status, _ in linking.device.reports]
    assert [report["status"] for report in linking.links.reports] + over_http == ["applied"]
    assert (tmp_path / "log").read_text().count("event=applying") == (step in ("planned", "wrote etc/motd"))


def test_a_kill_while_testing_does_not_stop_the_clock(
    linking: FakeController, root: Path, tmp_path: Path
) -> None:
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    before = contents(root)
    linking.is_dark = lambda: (root / "etc/motd").read_text() == "s"
    pushing(linking, archive(SECOND), confirm_within=2)
    began = time.monotonic()
    assert killed_at(settings, "testing")[-1] == "testing"
    assert contents(root) != before
    time.sleep(0.8)
    with alive(settings, tmp_path / "log"):
        wait_for(lambda: contents(root) == before)
        assert time.monotonic() - began >= 1.6
        wait_for(lambda: linking.links.reports)
    assert linking.links.reports[0]["status"] == "rolled_back"


@pytest.mark.parametrize("left", [0.5, 1e9])
def test_after_a_reboot_what_was_left_counts_from_the_boot(
    linking: FakeController, root: Path, tmp_path: Path, left: float
) -> None:
    """This machine has been up for longer than half a second: too late, or in time."""
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    before = contents(root)
    pushing(linking, archive(SECOND))
    killed_at(settings, "testing")
    path = root / "etc/muster-agent/journal.json"
    journal = json.loads(path.read_text())
    assert 4 < journal["deadline"]["left"] <= 5
    path.write_text(json.dumps(journal | {"deadline": {"boot": "another", "at": 0.0, "left": left}}))
    with alive(settings, tmp_path / "log"):
        wait_for(lambda: linking.links.reports)
    expected = "applied" if left > 1 else "rolled_back"
    assert linking.links.reports[0]["status"] == expected
    assert (contents(root) == before) is (expected == "rolled_back")


def test_a_reboot_puts_the_rest_of_the_deadline_on_the_disk_again(
    linking: FakeController, root: Path, tmp_path: Path
) -> None:
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    pushing(linking, archive(SECOND))
    killed_at(settings, "testing")
    path = root / "etc/muster-agent/journal.json"
    journal = json.loads(path.read_text())
    path.write_text(json.dumps(journal | {"deadline": {"boot": "another", "at": 0.0, "left": 1e9}}))
    assert killed_at(settings, "testing") == ["testing"]
    carried = json.loads(path.read_text())["deadline"]
    assert carried["boot"] != "another"
    assert carried["at"] == pytest.approx(1e9)
    assert carried["left"] < 1e9


def test_a_task_that_is_cut_again_and_again_fails_and_is_left_alone(
    linking: FakeController, root: Path, tmp_path: Path
) -> None:
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    before = contents(root)
    answers = pushing(linking, archive(SECOND))
    for _ in range(3):
        assert killed_at(settings, "wrote etc/motd")[-1] == "wrote etc/motd"
    with alive(settings, tmp_path / "log"):
        wait_for(lambda: linking.links.reports)
    (report,) = linking.links.reports
    assert report["status"] == "failed"
    assert "was interrupted 3 times in a row" in report["reason"]
    assert contents(root) == before
    # A kill may come before the first answer has left.
    states = [answer["result"]["state"] for answer in answers]
    assert states in ([], ["running"], ["failed"], ["running", "failed"])


def test_an_order_left_by_a_killed_agent_is_carried_out_by_a_single_turn(
    linking: FakeController, root: Path
) -> None:
    write(root, OLD)
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    pushing(linking, archive(SECOND))
    killed_at(settings, "order taken")
    linking.always.clear()
    linking.serve(SECOND)
    turn(dataclasses.replace(settings, once=True))
    assert "second" in (root / "etc/config/system").read_text()
    assert linking.device.reports == [("applied", "")]
    assert memory(root)["order"] is None


def test_a_stop_in_the_middle_of_a_task_is_taken_up_by_the_next_start(
    linking: FakeController, root: Path, tmp_path: Path
) -> None:
    linking.serve(FIRST)
    settings = linked(linking, root)
    linking.device.reports.clear()
    executable(tmp_path / "hooks/reload", "exit 0")
    slow = dataclasses.replace(settings, timing=dataclasses.replace(settings.timing, settle=30.0))
    slow = dataclasses.replace(slow, hooks_dir=tmp_path / "hooks")
    pushing(linking, archive(SECOND), confirm_within=60)
    with alive(slow, tmp_path / "log") as process:
        wait_for(lambda: (root / "etc/motd").exists() and (root / "etc/muster-agent/journal.json").exists())
        time.sleep(0.2)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        assert process.exitcode == 0
    with alive(settings, tmp_path / "log"):
        wait_for(lambda: linking.links.reports)
    assert linking.links.reports[0]["status"] == "applied"
