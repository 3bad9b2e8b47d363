"""Tasks that come over the link: taken, applied, proved or taken back, and reported once."""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster_agent.archive import read_archive
from muster_agent.drift import expected
from tests.agent.driving import alive, contents, executable, settings_for, turn, wait_for
from tests.agent.fake_controller import CUT, NOT_FOUND, FakeController, Reply, archive
from tests.agent.fake_link import FakeLink, order
from tests.agent.test_link import SYSTEM, linked

TWO: dict[str, str | bytes] = {"etc/config/system": SYSTEM.format("two"), "etc/motd": "two"}
THREE: dict[str, str | bytes] = {"etc/config/system": SYSTEM.format("three")}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def linking(controller: FakeController) -> FakeController:
    controller.links.enabled = True
    return controller


@pytest.fixture
def link(linking: FakeController, root: Path, log: Path) -> Iterator[FakeLink]:
    """A link that is up, of a device in sync, after its first poll."""
    with alive(linked(linking, root), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        linking.calls.clear()
        yield linking.links.last


def apply(controller: FakeController, link: FakeLink, data: bytes, **changes: Any) -> dict[str, Any]:
    """Ask for `data`; what the device answers."""
    return link.call("config.apply", order(controller.device.uuid, data, **changes))


def reported(controller: FakeController, count: int = 1) -> dict[str, Any]:
    wait_for(lambda: len(controller.links.reports) >= count)
    return controller.links.reports[count - 1]


def state(root: Path, name: str) -> dict[str, Any]:
    return json.loads((root / "etc/muster-agent" / name).read_text())


def test_an_archive_in_the_frame_is_applied_proved_and_reported(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    data = archive(TWO)
    checksum = linking.serve_bytes(data)
    assert apply(linking, link, data)["result"] == {"state": "running"}
    report = reported(linking)
    actual = expected(read_archive(data))
    assert report == {
        "task": "t1",
        "attempt": 1,
        "checksum": checksum,
        "status": "applied",
        "reason": "",
        "actual": actual,
    }
    assert "two" in (root / "etc/config/system").read_text()
    assert linking.operations() == ["checksum"]
    assert [step["step"] for step in link.of("task.progress")] == [
        "downloaded",
        "written",
        "reloaded",
        "testing",
    ]
    assert {(step["task"], step["attempt"]) for step in link.of("task.progress")} == {("t1", 1)}
    assert linking.device.reports == [("applied", "")]  # the one of the first turn
    # The device forgets what it owes when it has heard that it arrived.
    wait_for(lambda: not state(root, "memory.json")["owed"])
    memory = state(root, "memory.json")
    assert (memory["applied"], memory["order"], memory["owed"]) == (checksum, None, [])


def test_an_archive_is_downloaded_from_the_url_with_the_key(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    data = archive(TWO)
    linking.serve_bytes(data)
    assert apply(linking, link, data, inline=False)["result"] == {"state": "running"}
    assert reported(linking)["status"] == "applied"
    (call,) = linking.of("download-config")
    assert call.query["key"] == call.headers["x-device-key"] == linking.device.key
    assert (root / "etc/motd").read_text() == "two"


def test_what_is_applied_is_not_applied_again_unless_forced(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    (root / "etc/config/system").write_text(SYSTEM.format("by hand"))
    assert apply(linking, link, linking.data)["result"] == {"state": "applied"}
    assert "by hand" in (root / "etc/config/system").read_text()
    assert apply(linking, link, linking.data, force=True)["result"] == {"state": "running"}
    report = reported(linking)
    assert report["status"] == "applied"
    assert "muster" in (root / "etc/config/system").read_text()
    assert len(linking.links.reports) == 1


def test_when_the_controller_has_moved_on_its_newer_archive_is_applied_and_reported(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    newer = linking.serve(THREE)
    assert apply(linking, link, archive(TWO), inline=False)["result"] == {"state": "running"}
    report = reported(linking)
    assert (report["task"], report["checksum"], report["status"]) == ("t1", newer, "applied")
    assert "three" in (root / "etc/config/system").read_text()


def test_when_it_has_moved_back_to_what_is_applied_nothing_is_changed(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    assert apply(linking, link, archive(TWO), inline=False)["result"] == {"state": "running"}
    report = reported(linking)
    assert (report["checksum"], report["status"]) == (linking.checksum, "applied")
    assert [step["step"] for step in link.of("task.progress")] == ["downloaded"]


def test_a_portals_page_is_not_taken_for_a_newer_archive(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    before = contents(root)
    linking.always["download-config"] = Reply(body=b"<html>", headers=())
    apply(linking, link, archive(TWO), inline=False)
    report = reported(linking)
    assert (report["status"], contents(root)) == ("failed", before)
    assert report["reason"].startswith("what was downloaded is not the controller's")


def test_an_archive_with_another_sha256_is_refused_but_may_come_again(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    data = archive(TWO)
    apply(linking, link, data, sha256="0" * 64)
    assert reported(linking)["reason"].startswith("the archive's sha256 is not the one")
    assert apply(linking, link, data, attempt=2)["result"] == {"state": "running"}
    assert reported(linking, 2)["status"] == "applied"


def test_a_download_that_fails_changes_nothing_and_may_be_tried_again(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    data = archive(TWO)
    linking.serve_bytes(data)
    linking.script["download-config"] = [CUT, NOT_FOUND, CUT]
    apply(linking, link, data, inline=False)
    assert reported(linking)["status"] == "failed"
    assert apply(linking, link, data, inline=False, attempt=2)["result"] == {"state": "running"}
    assert reported(linking, 2)["status"] == "applied"


def test_a_configuration_that_cannot_be_is_failed_with_its_reason_and_not_tried_again(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    before = contents(root)
    bad = archive({"etc/config/system": "config system 'broken"})
    assert apply(linking, link, bad)["result"] == {"state": "running"}
    report = reported(linking)
    assert (report["status"], contents(root)) == ("failed", before)
    assert report["reason"].startswith("etc/config/system is not valid UCI: line 1")
    assert len(report["reason"].encode()) <= 1023
    answer = apply(linking, link, bad, task="t2")["result"]
    assert (answer["state"], answer["reason"]) == ("failed", report["reason"])
    assert apply(linking, link, bad, task="t3", force=True)["result"] == {"state": "running"}
    assert reported(linking, 2)["task"] == "t3"
    assert len(linking.links.reports) == 2


def test_after_contact_was_lost_the_device_restores_itself_in_time_and_says_so(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    before = contents(root)
    motd = root / "etc/motd"
    outage = False
    linking.is_dark = lambda: motd.exists() or outage
    data = archive(TWO)
    outage_begins = time.monotonic()
    # Its answer may meet the outage: nobody waits for it.
    params = order(linking.device.uuid, data, confirm_within=1)
    link.send({"jsonrpc": "2.0", "id": "c1", "method": "config.apply", "params": params})
    wait_for(motd.exists)
    outage = True
    wait_for(lambda: not motd.exists())
    assert time.monotonic() - outage_begins >= 0.9
    assert contents(root) == before
    assert linking.links.reports == []
    outage = False
    report = reported(linking)
    assert (report["task"], report["status"]) == ("t1", "rolled_back")
    assert report["reason"].startswith("no connection to the controller after")
    assert len(linking.links.opened) > 1
    again = linking.links.last
    assert again.of("hello")[0]["applied"] == linking.checksum
    answer = apply(linking, again, data, task="t2")["result"]
    assert (answer["state"], answer["reason"]) == ("failed", report["reason"])
    time.sleep(0.2)
    assert len(linking.links.reports) + len(linking.device.reports) == 2  # one is of the first turn


@pytest.mark.parametrize("comes_back_by", ["link", "poll"])
def test_a_network_that_came_back_with_the_old_files_is_used_at_once(
    linking: FakeController, root: Path, log: Path, comes_back_by: str
) -> None:
    """Not after the back-off that has grown meanwhile, and not with the next poll."""
    motd = root / "etc/motd"
    linking.is_dark = motd.exists
    slow: dict[str, Any] = {
        "link_backoff_first": 60.0,
        "link_backoff": (60.0, 60.0),
        "link_restart_wait": 0.05,
    }
    interval = 120.0 if comes_back_by == "link" else 0.5
    with alive(linked(linking, root, **slow, interval=interval, linked_polls=1), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        data = archive(TWO)
        if comes_back_by == "link":
            params = order(linking.device.uuid, data, confirm_within=2)
            linking.links.last.send(
                {"jsonrpc": "2.0", "id": "c1", "method": "config.apply", "params": params}
            )
            wait_for(motd.exists)
            linking.links.last.cut()
        else:
            linking.links.last.cut()
            linking.serve_bytes(data)
        # By polling it is there for a few milliseconds only.
        wait_for(lambda: "backup_restored" in log.read_text())
        wait_for(lambda: len(linking.links.opened) == 2)
        wait_for(lambda: linking.links.reports or len(linking.device.reports) > 1)


def test_an_answer_that_is_not_the_controllers_proves_nothing(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    linking.always["checksum"] = Reply(body=b"<html>portal</html>", headers=())
    apply(linking, link, archive(TWO), confirm_within=0.5)
    report = reported(linking)
    assert report["status"] == "rolled_back"
    assert "the answer (200) is not the controller's" in report["reason"]


@pytest.mark.parametrize("status", [200, 403, 404, 503])
def test_any_answer_of_the_controller_is_proof(
    linking: FakeController, link: FakeLink, root: Path, status: int
) -> None:
    linking.script["checksum"] = [CUT, Reply(status=status)]
    apply(linking, link, archive(TWO))
    assert reported(linking)["status"] == "applied"


def test_a_script_that_fails_is_failed_and_one_that_passes_does_not_prove_contact(
    linking: FakeController, root: Path, log: Path, tmp_path: Path
) -> None:
    settings = linked(linking, root)
    script = executable(tmp_path / "test.sh", f"! grep -q two {root}/etc/config/system")
    with alive(dataclasses.replace(settings, test_script=script), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        apply(linking, linking.links.last, archive(TWO))
        assert reported(linking)["status"] == "failed"
        assert reported(linking)["reason"].startswith("the test script failed")
        linking.always["checksum"] = CUT
        apply(linking, linking.links.last, archive(THREE), task="t2", confirm_within=0.3)
        assert reported(linking, 2)["status"] == "rolled_back"
        assert "muster" in (root / "etc/config/system").read_text()


def test_a_hook_that_hangs_does_not_outlast_the_deadline(
    linking: FakeController, root: Path, log: Path, tmp_path: Path
) -> None:
    settings = linked(linking, root, hook_timeout=60.0)
    executable(tmp_path / "hooks/reload", f"grep -q two {root}/etc/config/system && sleep 60")
    with alive(dataclasses.replace(settings, hooks_dir=tmp_path / "hooks"), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        began = time.monotonic()
        apply(linking, linking.links.last, archive(TWO), confirm_within=0.5)
        report = reported(linking)
        # Less than the hook itself may take.
        assert time.monotonic() - began < 30
        assert report["status"] == "rolled_back"
        assert "muster" in (root / "etc/config/system").read_text()


def test_a_task_waits_for_services_only_where_some_were_reloaded(
    linking: FakeController, root: Path, log: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(linked(linking, root, settle=4.0), hooks_dir=tmp_path / "hooks")
    with alive(settings, log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        began = time.monotonic()
        apply(linking, linking.links.last, archive(TWO))
        reported(linking)
        assert time.monotonic() - began < 4
        executable(tmp_path / "hooks/reload", "exit 0")
        began = time.monotonic()
        apply(linking, linking.links.last, archive(THREE), task="t2")
        reported(linking, 2)
        assert time.monotonic() - began >= 4


def test_one_task_at_a_time(linking: FakeController, root: Path, log: Path, tmp_path: Path) -> None:
    settings = linked(linking, root)
    gate = tmp_path / "gate"
    executable(tmp_path / "hooks/reload", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    with alive(dataclasses.replace(settings, hooks_dir=tmp_path / "hooks"), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        first = linking.links.last
        assert apply(linking, first, archive(TWO))["result"] == {"state": "running"}
        for method, params in (
            ("config.apply", order(linking.device.uuid, archive(THREE), task="t2")),
            ("config.read", {}),
        ):
            error = first.call(method, params)["error"]
            assert (error["code"], error["data"]) == (-32010, {"task": "t1"})
        first.close(1012)
        wait_for(lambda: len(linking.links.up()) == 1 and linking.links.last is not first)
        hello = linking.links.last.of("hello")[0]
        assert hello["busy"] == {"task": "t1", "attempt": 1}
        assert hello["applied"] == linking.checksum
        gate.touch()
        report = reported(linking)
        assert (report["task"], report["status"]) == ("t1", "applied")
        answer = apply(linking, linking.links.last, archive(THREE), task="t2")
        assert answer["result"] == {"state": "running"}
        assert reported(linking, 2)["task"] == "t2"


def test_a_device_that_applies_what_it_polled_is_busy_without_a_task(
    linking: FakeController, root: Path, log: Path, tmp_path: Path
) -> None:
    settings = linked(linking, root)
    gate = tmp_path / "gate"
    executable(tmp_path / "hooks/reload", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    linking.serve(TWO)
    with alive(dataclasses.replace(settings, hooks_dir=tmp_path / "hooks"), log):
        wait_for(lambda: linking.links.up() and (root / "etc/motd").exists())
        error = apply(linking, linking.links.last, archive(THREE))["error"]
        assert (error["code"], error["data"]) == (-32010, {"task": None})
        gate.touch()
        wait_for(lambda: len(linking.device.reports) == 2)
    assert linking.links.reports == []


@pytest.mark.parametrize(
    "changes",
    [
        {"task": ""},
        {"task": 1},
        {"task": "t" * 65},
        {"attempt": 0},
        {"attempt": True},
        {"checksum": "0" * 31},
        {"checksum": None},
        {"sha256": "x"},
        {"url": "http://127.0.0.1:9/steal"},
        {"url": "//127.0.0.1:9/steal"},
        {"url": "/with space"},
        {"url": None},
        {"confirm_within": 0},
        {"confirm_within": "5"},
        {"confirm_within": 1e9},
        {"force": 1},
        {"archive": "no base64!"},
        {"archive": "QUJD" * 20_000},
    ],
)
def test_wrong_parameters_are_refused(
    linking: FakeController, link: FakeLink, root: Path, changes: dict[str, Any]
) -> None:
    error = apply(linking, link, archive(TWO), **changes)["error"]
    assert error["code"] == -32602
    assert next(iter(changes)) in error["message"]
    assert link.call("config.apply", [])["error"]["code"] == -32602
    assert linking.links.reports == []


def test_a_report_the_link_does_not_answer_goes_out_by_polling_and_only_once(
    linking: FakeController, root: Path, log: Path
) -> None:
    linking.links.answers_reports = False
    with alive(linked(linking, root, link_answer=0.2, interval=0.5), log):
        wait_for(lambda: linking.links.up() and linking.of("checksum"))
        linking.serve(TWO)
        apply(linking, linking.links.last, linking.data)
        wait_for(lambda: len(linking.device.reports) == 2)
        linking.links.answers_reports = True
        time.sleep(0.5)
    form = linking.of("report-status")[-1].form
    assert (form["status"], form["checksum"]) == ("applied", linking.checksum)
    assert linking.links.reports == []
    assert len(linking.device.reports) == 2


def test_a_report_the_controller_cannot_take_now_is_repeated(
    linking: FakeController, link: FakeLink, root: Path
) -> None:
    linking.links.report_error = -32603
    linking.serve(TWO)
    apply(linking, link, linking.data)
    wait_for(lambda: len(link.of("report")) >= 2)
    linking.links.report_error = None
    reported(linking)
    tried = len(link.of("report"))
    time.sleep(0.2)
    assert len(link.of("report")) == tried
    assert len(linking.links.reports) == 1


def test_what_is_asked_while_a_report_is_on_its_way_is_answered_too(
    linking: FakeController, link: FakeLink
) -> None:
    asked = {"jsonrpc": "2.0", "id": "meanwhile", "method": "config.read", "params": {}}
    linking.links.before_answering = lambda there: there.send(asked)
    apply(linking, link, archive(TWO))
    answer = link.answers.get(timeout=10)
    assert answer["id"] == "meanwhile" and "files" in answer["result"]


def test_owed_reports_survive_a_restart_and_the_oldest_goes_first(
    linking: FakeController, root: Path, log: Path
) -> None:
    settings = linked(linking, root)
    path = root / "etc/muster-agent/memory.json"
    owed = [
        {"checksum": "1" * 32, "status": "rolled_back", "reason": "r", "task": "t1", "attempt": 3},
        {"checksum": "2" * 32, "status": "failed", "reason": "", "task": "t2", "attempt": 1},
    ]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"owed": owed}))
    linking.always["checksum"] = CUT
    with alive(settings, log):
        reported(linking, 2)
        wait_for(lambda: json.loads(path.read_text())["owed"] == [])
    assert [{**report, "actual": None} for report in linking.links.reports] == [
        {**pending, "actual": None} for pending in owed
    ]


def test_over_http_a_rolled_back_task_is_an_error_with_its_reason(
    linking: FakeController, root: Path
) -> None:
    turn(settings_for(linking.url, root))
    path = root / "etc/muster-agent/memory.json"
    owed = [{"checksum": "1" * 32, "status": "rolled_back", "reason": "r", "task": "t1", "attempt": 3}]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"owed": owed}))
    turn(settings_for(linking.url, root))
    assert linking.device.reports[-1] == ("error", "r")
    assert linking.of("report-status")[-1].form["checksum"] == "1" * 32


def test_a_memory_written_before_there_was_a_link_is_understood(linking: FakeController, root: Path) -> None:
    turn(settings_for(linking.url, root))
    path = root / "etc/muster-agent/memory.json"
    old = json.loads(path.read_text())
    for name in ("owed", "order", "refused", "refused_reason"):
        del old[name]
    pending = {"checksum": linking.checksum, "status": "error", "reason": "old"}
    path.write_text(json.dumps(old | {"pending": pending}))
    turn(settings_for(linking.url, root))
    assert linking.device.reports[-1] == ("error", "old")
    assert state(root, "memory.json")["applied"] == linking.checksum
