"""kill -9 in the middle of a write loses nothing that was said to be done; every worker answers the same bytes."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scratch import Scratch
from benchmarks.servers import PRODUCT, serving
from tests.boot.hours import stay_in_this_hour
from tests.boot.pi import status
from tests.controller.processes import ROOT, free_port, migrated, plain_environment, running_up

pytestmark = pytest.mark.slow
DOCUMENT = {"config": {"b": [1, {"z": 1, "a": "é"}], "a": None, "10": 1, "9": 2}, "bootcode": "aGk="}


@pytest.fixture(autouse=True)
def _one_hour() -> None:
    stay_in_this_hour(120)


def prepared(directory: Path) -> str:
    """Make an installation with a key; returns its text."""
    migrated(directory)
    command = ["provision", "--organization", "f", "--user", "f", "--api-key", "--json"]
    done = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT,
        env=plain_environment(MUSTER_DATA_DIR=str(directory)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return str(json.loads(done.stdout.splitlines()[-1])["api_key"])


def killed_by_its_first_post(directory: Path, key: str, moment: str) -> None:
    """Run the server that kills itself, and send it a configuration that is never answered."""
    port = free_port()
    environment = plain_environment(MUSTER_DATA_DIR=str(directory), PYTHONPATH=str(ROOT))
    command = [sys.executable, str(Path(__file__).with_name("crash_script.py")), str(port), moment]
    with (directory.parent / "crash.log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline and server.poll() is None
                    time.sleep(0.05)
            sent = ["-H", f"X-Api-Key: {key}", "-d", json.dumps(DOCUMENT)]
            done = subprocess.run(
                ["curl", "-s", *sent, f"http://127.0.0.1:{port}/boot/d/config"],
                capture_output=True,
                check=False,
            )
            assert done.returncode != 0 and done.stdout == b""
            assert server.wait(timeout=30) == -signal.SIGKILL
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()


@pytest.mark.parametrize("moment", ["answer", "commit"])
def test_a_killed_write_is_there_wholly_or_not_at_all(tmp_path: Path, moment: str) -> None:
    directory = tmp_path / "data"
    key = prepared(directory)
    killed_by_its_first_post(directory, key, moment)
    headers = ("-H", f"X-Api-Key: {key}")
    with running_up(directory) as up:
        written = moment == "answer"
        track = json.loads(status(f"{up.url}/track/d", *headers)[2])
        assert [entry[27:] for entry in track] == (["BOOT POST"] if written else [])
        code, _, body = status(f"{up.url}/boot/d/config", *headers)
        assert code == (200 if written else 404)
        if written:
            assert json.loads(body)["config"] == DOCUMENT["config"]
        posts = [status(f"{up.url}/boot/d/config", *headers, "-d", "{}")[0] for _ in range(11)]
        assert posts.count(200) == (9 if written else 10)


def test_what_was_acknowledged_before_a_kill_is_served_after_it(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    key = prepared(directory)
    headers = ("-H", f"X-Api-Key: {key}")
    with running_up(directory) as up:
        for number in range(4):
            sent = json.dumps({"config": number})
            assert status(f"{up.url}/boot/d/config", *headers, "-d", sent)[0] == 200
        first = status(f"{up.url}/boot/d/config", *headers)[2]
        up.stop(signal.SIGKILL)
    with running_up(directory) as up:
        assert status(f"{up.url}/boot/d/config", *headers)[2] == first and '"config": 3' in first
        track = json.loads(status(f"{up.url}/track/d", *headers)[2])
        assert [entry[27:] for entry in track] == ["BOOT POST"] * 4 + ["BOOT GET"] * 2


def test_workers_answer_the_same_bytes_at_once_after_a_change(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    key = prepared(directory)
    headers: Any = ("-H", f"X-Api-Key: {key}")
    at = Scratch(directory, plain_environment(MUSTER_DATA_DIR=str(directory)))
    with (
        serving(PRODUCT, at, variables={"PYTHONHASHSEED": "1"}) as one,
        serving(PRODUCT, at, variables={"PYTHONHASHSEED": "2", "LANG": "C", "TZ": "Asia/Tokyo"}) as other,
    ):
        for writer, number in ((one, 1), (other, 2), (one, 3)):
            sent = json.dumps(DOCUMENT | {"usercode": "aGkh" * number})
            assert status(f"{writer.url}/boot/default/config", *headers, "-d", sent)[0] == 200
            assert status(f"{other.url}/boot/own/config", *headers, "-d", sent)[0] == 200
            bodies = {
                status(f"{server.url}/boot/{device}/config", *headers)[2]
                for server in (one, other)
                for device in ("default", "own", "third")
            }
            assert len(bodies) == 1 and json.loads(bodies.pop())["usercode"] == "aGkh" * number
