"""What a device does after it could not take a configuration, and after it was stopped while it announced itself."""

import hashlib
import json
from pathlib import Path

from muster_agent.errors import ExitCode
from muster_agent.facts import boot_id
from tests.agent.driving import settings_for, turn
from tests.agent.fake_controller import CUT, HEADER, NOT_FOUND, FakeController, Reply

JUNK = b"no archive"
JUNK_SUM = hashlib.md5(JUNK).hexdigest()


def _checksum(value: str) -> Reply:
    return Reply(body=value.encode(), headers=(HEADER,))


def test_an_error_report_names_the_checksum_it_is_about(controller: FakeController, root: Path) -> None:
    controller.serve_bytes(JUNK)
    turn(settings_for(controller.url, root))
    form = controller.of("report-status")[0].form
    assert (form["status"], form["checksum"]) == ("error", JUNK_SUM)
    assert form["error_reason"]


def test_a_restart_does_not_try_a_rejected_configuration_again(
    controller: FakeController, root: Path
) -> None:
    controller.serve_bytes(JUNK)
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    controller.calls.clear()
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert controller.operations() == ["checksum"]


def test_a_rejected_configuration_is_tried_again_after_another_one(
    controller: FakeController, root: Path
) -> None:
    good = controller.checksum
    controller.script["checksum"] = [_checksum(each) for each in (JUNK_SUM, JUNK_SUM, good, good, JUNK_SUM)]
    controller.script["download-config"] = [Reply(body=body) for body in (JUNK, controller.data, JUNK)]
    controller.always["checksum"] = NOT_FOUND
    assert turn(settings_for(controller.url, root, once=False)) == ExitCode.OK
    told = [(call.form["status"], call.form["checksum"]) for call in controller.of("report-status")]
    assert told == [("error", JUNK_SUM), ("applied", good), ("error", JUNK_SUM)]


def test_a_boot_is_announced_again_when_the_agent_was_stopped_before_update_info(
    controller: FakeController, root: Path
) -> None:
    turn(settings_for(controller.url, root))
    path = root / "etc/muster-agent/memory.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "an earlier boot"}))
    # What is on the disk while update-info is on its way.
    seen: list[object] = []

    class Watching(list[Reply]):
        def pop(self, index: int = -1) -> Reply:  # type: ignore[override]
            seen.append(json.loads(path.read_text())["boot_id"])
            return super().pop(index)

    controller.script["update-info"] = Watching([CUT])
    turn(settings_for(controller.url, root))
    assert seen == ["an earlier boot"]
    assert json.loads(path.read_text())["boot_id"] == boot_id()
