"""The steps of spec/openwisp.md 1A.9, each seen from the controller's side and on the device's disk."""

import dataclasses
import io
import json
import threading
from pathlib import Path

import pytest

from muster_agent.cli import main
from muster_agent.errors import ExitCode
from muster_agent.facts import boot_id
from muster_agent.protocol import consistent_key
from tests.agent.driving import FACTS, FAST, MAC, contents, executable, settings_for, turn, write
from tests.agent.fake_controller import BROKEN, CUT, NOT_FOUND, SECRET, FakeController, Reply, archive

SYSTEM = "config system 'system'\n\toption hostname '{}'\n"


def state(root: Path, name: str) -> dict[str, object]:
    return json.loads((root / "etc/muster-agent" / name).read_text())


def test_a_fresh_device_registers_applies_and_reports(controller: FakeController, root: Path) -> None:
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert controller.operations() == ["register", "checksum", "download-config", "checksum", "report-status"]
    assert (root / "etc/config/system").read_text() == "\n" + SYSTEM.format("muster")
    assert controller.device.reports == [("applied", "")]


def test_the_registration_form_is_the_openwrt_agents(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root, management_ip="10.0.0.7"))
    (call,) = controller.of("register")
    assert call.path == "/controller/register/"
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    key = consistent_key(mac=MAC, hardware_id="", use_hardware_id=False, secret=SECRET)
    assert list(call.form.items()) == [
        ("backend", "netjsonconfig.OpenWrt"),
        ("key", key),
        ("management_ip", "10.0.0.7"),
        ("secret", SECRET),
        ("name", "ap-1"),
        ("mac_address", MAC),
        ("tags", "mesh roof"),
        ("model", "Model X"),
        ("os", "OpenWrt 23.05"),
        ("system", "SoC"),
    ]


def test_without_consistent_keys_the_controller_chooses_the_key(
    controller: FakeController, root: Path
) -> None:
    turn(settings_for(controller.url, root, consistent_key=False))
    assert "key" not in controller.of("register")[0].form
    assert state(root, "identity.json")["key"] == controller.device.key


def test_the_hardware_id_can_be_the_base_of_the_key(controller: FakeController, root: Path) -> None:
    facts = dataclasses.replace(FACTS, hardware_id="SN-1")
    turn(settings_for(controller.url, root, facts=facts, hardware_id_key=True))
    sent = controller.of("register")[0].form
    assert sent["hardware_id"] == "SN-1"
    expected = consistent_key(mac=MAC, hardware_id="SN-1", use_hardware_id=True, secret=SECRET)
    assert (
        sent["key"]
        == expected
        != consistent_key(mac=MAC, hardware_id="", use_hardware_id=True, secret=SECRET)
    )


def test_the_identity_is_private_and_the_secret_is_forgotten(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    log = io.StringIO()
    turn(settings_for(controller.url, root, secret_file=secret_file), log=log)
    assert secret_file.read_bytes() == b""
    own = root / "etc/muster-agent"
    assert own.stat().st_mode & 0o777 == 0o700
    for path in own.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert SECRET.encode() not in path.read_bytes()
    assert SECRET not in log.getvalue()
    assert controller.device.key not in log.getvalue()


def test_a_registered_device_needs_no_secret(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    assert turn(settings_for(controller.url, root, secret="")) == ExitCode.OK
    assert controller.operations().count("register") == 1


def test_a_lost_identity_comes_back_by_the_consistent_key(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    first = state(root, "identity.json")
    (root / "etc/muster-agent/identity.json").write_text("not json")
    log = io.StringIO()
    turn(settings_for(controller.url, root), log=log)
    assert state(root, "identity.json") == first
    assert (root / "etc/muster-agent/identity.json.damaged").exists()
    assert "is_new=False" in log.getvalue()


@pytest.mark.parametrize(
    "failure", [CUT, BROKEN, Reply(status=400, body=b"error"), Reply(status=201, body=b"?")]
)
def test_registration_is_tried_until_it_succeeds(
    controller: FakeController, root: Path, tmp_path: Path, failure: Reply
) -> None:
    controller.script["register"] = [failure, failure]
    controller.always["checksum"] = NOT_FOUND
    heard = tmp_path / "heard"
    hooks = tmp_path / "hooks"
    for event in ("registration-failed", "post-registration"):
        executable(hooks / event, f"echo $MUSTER_AGENT_EVENT >> {heard}")
    assert turn(settings_for(controller.url, root, once=False, hooks_dir=hooks)) == ExitCode.OK
    assert controller.operations().count("register") == 3
    assert heard.read_text().split() == ["registration-failed", "registration-failed", "post-registration"]


@pytest.mark.parametrize(
    ("operation", "reply", "code"),
    [
        ("register", Reply(status=201, body=b"uuid: x", headers=()), ExitCode.NOT_A_CONTROLLER),
        ("register", Reply(status=200, body=b"<html>portal</html>", headers=()), ExitCode.NOT_A_CONTROLLER),
        ("register", Reply(status=403, body=b"error: unrecognized secret"), ExitCode.REGISTRATION_REFUSED),
        ("checksum", Reply(body=b"0" * 32, headers=()), ExitCode.NOT_A_CONTROLLER),
        ("checksum", NOT_FOUND, ExitCode.OK),
    ],
)
def test_some_answers_end_the_agent(
    controller: FakeController, root: Path, operation: str, reply: Reply, code: ExitCode
) -> None:
    controller.always[operation] = reply
    timing = dataclasses.replace(FAST, tries=10)
    assert turn(settings_for(controller.url, root, once=False, timing=timing)) == code


def test_the_fifth_not_found_in_a_row_ends_the_agent_and_an_answer_resets_the_count(
    controller: FakeController, root: Path
) -> None:
    controller.script["checksum"] = [NOT_FOUND] * 4 + [CUT] + [NOT_FOUND] * 9
    log = io.StringIO()
    settings = settings_for(controller.url, root, once=False, timing=dataclasses.replace(FAST, tries=10))
    assert turn(settings, log=log) == ExitCode.OK
    assert controller.operations().count("checksum") == 10
    assert "does not know this device" in log.getvalue()


def test_after_a_boot_update_info_is_sent_and_after_a_restart_it_is_not(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    for event in ("bootup", "restart", "end-of-cycle"):
        executable(tmp_path / "hooks" / event, f"echo $MUSTER_AGENT_EVENT >> {heard}")
    settings = settings_for(controller.url, root, hooks_dir=tmp_path / "hooks")
    turn(settings)
    assert state(root, "memory.json")["boot_id"] == boot_id()
    turn(settings)
    assert "update-info" not in controller.operations()
    memory = state(root, "memory.json") | {"boot_id": "an earlier boot"}
    (root / "etc/muster-agent/memory.json").write_text(json.dumps(memory))
    controller.script["update-info"] = [CUT, CUT]
    turn(settings)
    assert controller.operations().count("update-info") == 3
    assert controller.device.info == {"model": "Model X", "os": "OpenWrt 23.05", "system": "SoC"}
    assert heard.read_text().split() == ["end-of-cycle", "restart", "end-of-cycle", "bootup", "end-of-cycle"]


def test_a_bad_update_info_answer_is_logged_and_not_repeated(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    (root / "etc/muster-agent/memory.json").unlink()
    controller.script["update-info"] = [Reply(status=400, body=b'{"model": ["max 64"]}')]
    log = io.StringIO()
    turn(settings_for(controller.url, root), log=log)
    assert controller.operations().count("update-info") == 1
    assert "info_refused status=400" in log.getvalue()


def test_the_management_address_is_announced_but_not_right_after_registering(
    controller: FakeController, root: Path
) -> None:
    settings = settings_for(controller.url, root, management_interface="lo")
    turn(settings)
    assert controller.of("register")[0].form["management_ip"] == "127.0.0.1"
    assert "management_ip" not in controller.of("checksum")[0].query
    controller.serve({"etc/config/system": SYSTEM.format("two")})
    turn(settings)
    assert controller.of("checksum")[2].query["management_ip"] == "127.0.0.1"
    assert controller.of("download-config")[1].query["management_ip"] == "127.0.0.1"


def test_an_interface_without_an_address_is_asked_three_times(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    log = io.StringIO()
    turn(settings_for(controller.url, root, management_interface="none0"), log=log)
    assert log.getvalue().count("management_ip_unknown") == 1
    assert "management_ip" not in controller.of("checksum")[-1].query


def test_an_unchanged_checksum_costs_one_request(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    controller.calls.clear()
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert controller.operations() == ["checksum"]


@pytest.mark.parametrize("etags", [True, False])
def test_polls_are_conditional_when_the_controller_gives_etags(
    controller: FakeController, root: Path, etags: bool
) -> None:
    controller.etags = etags
    turn(settings_for(controller.url, root))
    turn(settings_for(controller.url, root))
    assert ("if-none-match" in controller.of("checksum")[-1].headers) is etags
    controller.serve({"etc/config/system": SYSTEM.format("two")})
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert "two" in (root / "etc/config/system").read_text()


def test_the_key_travels_in_the_query_and_in_a_header(controller: FakeController, root: Path) -> None:
    turn(settings_for(controller.url, root))
    key = controller.device.key
    for operation in ("checksum", "download-config"):
        assert controller.of(operation)[0].query["key"] == key
        assert controller.of(operation)[0].headers["x-device-key"] == key
    form = controller.of("report-status")[0].form
    told = {"key": key, "status": "applied", "outcome": "applied", "checksum": controller.checksum}
    assert form == told


def test_the_new_paths_are_optional(controller: FakeController, root: Path) -> None:
    assert turn(settings_for(controller.url, root, paths="new")) == ExitCode.OK
    assert {call.path.rsplit("/", 3)[0] for call in controller.calls} <= {
        "/controller",
        "/controller/device",
        "/controller/device/checksum",
    }
    assert all(call.path.startswith("/controller/device/") for call in controller.calls)


@pytest.mark.parametrize(
    "failure", [CUT, BROKEN, Reply(status=403, body=b"error: wrong key\n"), Reply(body=b"hi")]
)
def test_checksum_failures_are_retried_and_then_left_to_the_next_cycle(
    controller: FakeController, root: Path, failure: Reply
) -> None:
    turn(settings_for(controller.url, root))
    controller.script["checksum"] = [failure] * 2
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    controller.script["checksum"] = [failure] * 3
    assert turn(settings_for(controller.url, root)) == ExitCode.INCOMPLETE
    assert turn(settings_for(controller.url, root)) == ExitCode.OK


def test_a_failing_download_changes_nothing_and_is_tried_again_next_cycle(
    controller: FakeController, root: Path
) -> None:
    controller.script["download-config"] = [CUT, BROKEN, BROKEN]
    assert turn(settings_for(controller.url, root)) == ExitCode.INCOMPLETE
    assert contents(root) == {}
    assert turn(settings_for(controller.url, root)) == ExitCode.OK


def test_a_wrong_md5_aborts_the_cycle_and_forgets_the_checksum(
    controller: FakeController, root: Path
) -> None:
    good = controller.data
    controller.serve_bytes(good + b"\0", checksum=controller.checksum)
    assert turn(settings_for(controller.url, root)) == ExitCode.INCOMPLETE
    assert contents(root) == {}
    assert controller.device.reports == []
    assert state(root, "memory.json")["checksum_etag"] == ""
    controller.serve_bytes(good)
    assert turn(settings_for(controller.url, root)) == ExitCode.OK


def test_a_download_that_is_not_modified_uses_the_kept_archive(
    controller: FakeController, root: Path
) -> None:
    settings = settings_for(controller.url, root)
    turn(settings)
    memory = state(root, "memory.json") | {"applied": ""}
    (root / "etc/muster-agent/memory.json").write_text(json.dumps(memory))
    write(root, {"etc/config/system": SYSTEM.format("drifted")})
    assert turn(settings) == ExitCode.OK
    assert "if-none-match" in controller.of("download-config")[1].headers
    assert "muster" in (root / "etc/config/system").read_text()


def test_a_failing_report_is_repeated_without_applying_again(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    executable(tmp_path / "hooks/pre-reload", f"echo $* >> {heard}")
    settings = settings_for(controller.url, root, hooks_dir=tmp_path / "hooks")
    controller.script["report-status"] = [CUT, Reply(status=500), Reply(body=b"portal", headers=())]
    assert turn(settings) == ExitCode.INCOMPLETE
    controller.calls.clear()
    assert turn(settings) == ExitCode.OK
    assert controller.operations() == ["checksum", "report-status"]
    assert controller.device.reports == [("applied", "")]
    assert heard.read_text() == "system\n"


def test_a_result_about_an_older_configuration_is_not_reported(
    controller: FakeController, root: Path
) -> None:
    controller.script["report-status"] = [CUT] * 3
    turn(settings_for(controller.url, root))
    controller.serve({"etc/config/system": "config system 'broken"})
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert [status for status, _ in controller.device.reports] == ["error"]


def test_an_invalid_uci_file_is_reported_once_and_nothing_is_applied(
    controller: FakeController, root: Path
) -> None:
    controller.serve({"etc/config/network": "config interface 'lan'\n\toption\n", "etc/motd": "hello"})
    settings = settings_for(controller.url, root, once=False)
    controller.script["checksum"] = [Reply(body=controller.checksum.encode())] * 3
    controller.always["checksum"] = NOT_FOUND
    turn(settings)
    assert contents(root) == {}
    ((status, reason),) = controller.device.reports
    assert status == "error"
    assert reason.startswith("etc/config/network is not valid UCI: line 2: option needs a name and a value")
    assert "event=downloaded" in reason


def test_a_failing_test_restores_the_backup_and_reports_the_reason(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    write(
        root, {"etc/config/system": "config system\n\toption hostname 'old' # by hand\n", "etc/motd": "old"}
    )
    before = contents(root)
    controller.serve({"etc/config/system": SYSTEM.format("new"), "etc/motd": "new", "usr/lib/x/y": "new"})
    heard = tmp_path / "heard"
    reload = f'echo "$MUSTER_AGENT_EVENT $*" >> {heard}'
    for event in ("pre-reload", "reload", "post-reload"):
        executable(tmp_path / "hooks" / event, reload)
    script = executable(tmp_path / "test.sh", f"grep -q new {root}/etc/motd && echo no uplink; exit 3")
    settings = settings_for(controller.url, root, test_script=script, hooks_dir=tmp_path / "hooks")
    assert turn(settings) == ExitCode.REJECTED
    assert contents(root) == before
    ((status, reason),) = controller.device.reports
    assert (status, reason.splitlines()[0]) == ("error", "the test script failed (code 3): no uplink")
    assert len(reason.encode()) <= 1023
    reloads = ["reload system", "post-reload system"]
    assert heard.read_text().splitlines() == ["pre-reload system", *reloads, *reloads]


def test_the_default_test_passes_on_any_status_and_fails_without_an_answer(
    controller: FakeController, root: Path
) -> None:
    real = Reply(body=controller.checksum.encode())
    controller.script["checksum"] = [real, CUT, BROKEN]
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    checksum = controller.serve({"etc/config/system": SYSTEM.format("two")})
    before = contents(root)
    controller.script["checksum"] = [Reply(body=checksum.encode()), CUT, CUT]
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert contents(root) == before
    assert controller.device.reports[1][1].startswith("no connection to the controller after 2 tries")


def test_a_write_that_fails_in_the_middle_restores_the_backup(controller: FakeController, root: Path) -> None:
    write(root, {"etc/config/system": SYSTEM.format("old")})
    (root / "zzz").symlink_to("missing")  # inside the tree, but nothing can be written through it
    before = contents(root)
    controller.serve({"etc/config/system": SYSTEM.format("new"), "zzz/file": "x"})
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert contents(root) == before
    assert controller.device.reports[0][1].startswith("writing failed: No such file or directory")


def test_modes_are_honoured_and_dropped_files_return_to_their_originals(
    controller: FakeController, root: Path
) -> None:
    write(
        root,
        {
            "etc/banner": "pristine",
            "etc/config/system": SYSTEM.format("pristine") + "\toption zonename 'UTC'\n",
        },
    )
    before = contents(root)
    data = archive(
        {"etc/config/system": SYSTEM.format("x"), "etc/banner": "x", "opt/a/b.sh": "#!/bin/sh\n"}, mode=0o755
    )
    controller.serve_bytes(data)
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    assert contents(root)["opt/a/b.sh"] == (b"#!/bin/sh\n", 0o755)
    assert "zonename 'UTC'" in (root / "etc/config/system").read_text()
    controller.serve({})
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    restored = contents(root)
    assert restored["etc/banner"] == before["etc/banner"]
    assert restored["etc/config/system"][0].strip() == before["etc/config/system"][0].strip()
    assert set(restored) == set(before)


def test_overwrite_replaces_a_file_and_gives_the_original_back(
    controller: FakeController, root: Path
) -> None:
    original = "config system\n\toption zonename 'UTC' # mine\n"
    write(root, {"etc/config/system": original})
    settings = settings_for(controller.url, root, mode="overwrite")
    turn(settings)
    assert (root / "etc/config/system").read_text() == SYSTEM.format("muster")
    controller.serve({"etc/motd": "hi"})
    turn(settings)
    assert (root / "etc/config/system").read_text() == original


def test_the_stock_open_wifi_goes_away(controller: FakeController, root: Path) -> None:
    iface = "config wifi-iface 'default_radio0'\n\toption ssid 'OpenWrt'\n\toption encryption 'none'\n"
    kept = "config wifi-iface 'guest'\n\toption ssid 'Guest'\n\toption encryption 'none'\n"
    write(root, {"etc/config/wireless": iface + kept})
    turn(settings_for(controller.url, root))
    text = (root / "etc/config/wireless").read_text()
    assert "OpenWrt" not in text
    assert "Guest" in text


def test_a_damaged_local_uci_file_is_an_error_only_when_it_must_be_merged(
    controller: FakeController, root: Path
) -> None:
    write(root, {"etc/config/wireless": "nonsense", "etc/config/dhcp": "nonsense"})
    assert turn(settings_for(controller.url, root)) == ExitCode.OK
    controller.serve({"etc/config/dhcp": "config dnsmasq 'main'\n"})
    assert turn(settings_for(controller.url, root)) == ExitCode.REJECTED
    assert controller.device.reports[-1][1].startswith("the device's own etc/config/dhcp is not valid UCI")


def test_a_failing_hook_is_logged_and_hooks_never_see_the_secret(
    controller: FakeController, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_AGENT_SECRET", SECRET)
    heard = tmp_path / "heard"
    executable(tmp_path / "hooks/post-registration", f"env > {heard}; echo oops; exit 9")
    log = io.StringIO()
    assert turn(settings_for(controller.url, root, hooks_dir=tmp_path / "hooks"), log=log) == ExitCode.OK
    assert "event=hook_failed hook=post-registration code=9 output=oops" in log.getvalue()
    assert SECRET not in heard.read_text()
    assert f"MUSTER_AGENT_ROOT={root}" in heard.read_text()


def test_a_hanging_test_script_is_killed_and_fails(
    controller: FakeController, root: Path, tmp_path: Path
) -> None:
    script = executable(tmp_path / "test.sh", "sleep 60")
    timing = dataclasses.replace(FAST, hook_timeout=0.2)
    settings = settings_for(controller.url, root, test_script=script, timing=timing)
    assert turn(settings) == ExitCode.REJECTED
    assert "killed after 0.2 s" in controller.device.reports[0][1]


@pytest.mark.parametrize(("honour", "polls_at_least", "polls_at_most"), [(True, 1, 1), (False, 2, 9)])
def test_the_poll_hint_is_honoured_unless_an_interval_was_given(
    controller: FakeController, root: Path, honour: bool, polls_at_least: int, polls_at_most: int
) -> None:
    turn(settings_for(controller.url, root))
    controller.poll_after = "1.2"
    controller.calls.clear()
    timing = dataclasses.replace(FAST, interval=0.05, not_found_limit=1)
    settings = settings_for(controller.url, root, once=False, honour_poll_hint=honour, timing=timing)
    stop = threading.Timer(0.4, lambda: controller.always.update({"checksum": NOT_FOUND}))
    stop.start()
    turn(settings)
    stop.join()
    polls = controller.of("checksum")
    assert polls_at_least <= len(polls) - 1 <= polls_at_most


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--secret", "s"], 2),
        (["--url", "http://127.0.0.1:9", "--root", "{root}", "--mac", MAC], 3),
        (["--url", "http://127.0.0.1:9", "--root", "{root}/none", "--mac", MAC], 64),
        (["--url", "ftp://x", "--root", "{root}", "--mac", MAC], 64),
        (["--url", "http://127.0.0.1:9", "--root", "{root}", "--mac", MAC, "--timing", "zeal=1"], 64),
        (["--nonsense"], 64),
    ],
)
def test_the_command_lines_exit_codes(root: Path, arguments: list[str], code: int) -> None:
    words = [word.format(root=root) for word in arguments]
    try:
        found = main(words)
    except SystemExit as stop:
        found = stop.code
    assert found == code
