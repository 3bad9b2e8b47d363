"""kill -9 in the middle of a template change over a thousand devices: nothing is stuck, nothing is applied twice."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.controller.processes import ROOT, Up, migrated, plain_environment, running_up

DEVICES = 1000
STALE = "SELECT COUNT(*) FROM config_merge_config WHERE generation > computed_generation"


def script(directory: Path, *arguments: str) -> dict[str, Any]:
    """Run a step of the test beside, before or after the server."""
    environment = plain_environment(
        MUSTER_DATA_DIR=str(directory), PYTHONPATH=str(ROOT), MUSTER_LOG_LEVEL="WARNING"
    )
    command = [sys.executable, str(Path(__file__).with_name("script.py")), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answered


def stale(directory: Path) -> int:
    """Count the configurations that wait, without going through the server."""
    connection = sqlite3.connect(directory / "muster.sqlite3", timeout=10)
    try:
        return int(connection.execute(STALE).fetchone()[0])
    finally:
        connection.close()


def patch(up: Up, path: str, token: str, body: dict[str, Any]) -> int:
    """PATCH through REST; returns the status."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(up.url + path, json.dumps(body).encode(), headers, method="PATCH")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


@pytest.mark.slow
def test_a_killed_server_finishes_a_template_change_after_its_restart(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    migrated(directory)
    fleet = script(directory, "seed", str(DEVICES))
    with running_up(directory) as up:
        edit = {
            "default_values": {"timezone": "Asia/Tokyo", "crash": "1"},
            "config": {"general": {"timezone": "Asia/Tokyo"}},
        }
        assert patch(up, f"/api/v1/controller/template/{fleet['template']}/", fleet["token"], edit) == 200
        deadline = time.monotonic() + 60
        while not 0 < stale(directory) < DEVICES - 50:
            assert time.monotonic() < deadline and stale(directory) > 0, (
                "the change was over before it could be cut"
            )
            time.sleep(0.01)
        up.stop(signal.SIGKILL)
    left = stale(directory)
    assert 0 < left < DEVICES
    with running_up(directory) as up:
        up.wait_until(lambda: stale(directory) == 0, seconds=60)
        assert up.stop() == 0
    found = script(directory, "verify")
    assert found == {
        "wrong": 0, "repeated": 0, "stale": 0,
        "modified": DEVICES, "applied": 0, "error": 0, "deactivating": 0, "deactivated": 0,
    }  # fmt: skip
