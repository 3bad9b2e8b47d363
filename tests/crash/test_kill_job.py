"""kill -9 in the middle of a job, twice: it ends by itself after a restart, and no device is done twice."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.controller.processes import ROOT, migrated, plain_environment, running_up

DEVICES = 400


def script(directory: Path, *arguments: str) -> dict[str, Any]:
    """Run a step of the test beside, before or after the server."""
    environment = plain_environment(
        MUSTER_DATA_DIR=str(directory), PYTHONPATH=str(ROOT), MUSTER_LOG_LEVEL="WARNING"
    )
    command = [sys.executable, str(Path(__file__).with_name("job_script.py")), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answered


def asked(directory: Path, question: str) -> int:
    """Ask the database without going through the server."""
    connection = sqlite3.connect(directory / "muster.sqlite3", timeout=30)
    try:
        return int(connection.execute(question).fetchone()[0])
    finally:
        connection.close()


def pending(directory: Path) -> int:
    return asked(directory, "SELECT COUNT(*) FROM config_merge_jobitem WHERE outcome = 'pending'")


@pytest.mark.slow
def test_a_killed_server_finishes_its_job_after_its_restart(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    migrated(directory)
    script(directory, "seed", str(DEVICES))
    left = DEVICES
    for _ in range(2):
        # Nobody rings: the message was lost with the process that asked for the job, so the sweeper finds it.
        with running_up(directory) as up:
            deadline = time.monotonic() + 60
            before = left
            while (left := pending(directory)) > before - 20:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            up.stop(signal.SIGKILL)
        left = pending(directory)
        assert 0 < left < before
        # The dead worker's lease would run out by itself in a minute.
        connection = sqlite3.connect(directory / "muster.sqlite3", timeout=30)
        with connection:
            connection.execute("UPDATE config_merge_job SET lease_until = '2000-01-01 00:00:00'")
        connection.close()
    with running_up(directory) as up:
        up.wait_until(
            lambda: asked(directory, "SELECT COUNT(*) FROM config_merge_job WHERE state = 'finished'") == 1,
            seconds=120,
        )
        assert up.stop() == 0
    assert script(directory, "verify") == {
        "repeated": 0, "revisions": DEVICES, "assigned": DEVICES, "finished": 1, "told": 1, "done": DEVICES,
    }  # fmt: skip
