"""`manage.py up` as a stranger uses it: a real process, a real port, an empty directory."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controller.processes import ROOT, get, plain_environment, running_up

pytestmark = pytest.mark.slow


def test_a_first_start_creates_serves_and_stops_cleanly_and_a_second_keeps_everything(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_up(data, from_nothing=True) as up:
        printed = up.printed
        assert "First start: this is shown once." in printed
        for address in ("/admin/", "/api/v1/docs/"):
            assert f"{up.url}{address}" in printed
        assert re.search(r"Password +\S{8,}", printed)
        assert re.search(r"Shared secret +\S{8,}", printed)
        assert get(f"{up.url}/healthz")[0] == 200
        checks = json.loads(get(f"{up.url}/readyz")[2])["checks"]
        assert all(check["ok"] for check in checks.values())
        before = time.monotonic()
        assert up.stop(signal.SIGTERM) == 0
        assert time.monotonic() - before < 10
        assert "Traceback" not in up.printed
        assert up.printed.rstrip().endswith("Muster stopped.")
    with sqlite3.connect(data / "muster.sqlite3") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        users = database.execute("SELECT id, password FROM tenancy_user").fetchall()
    assert len(users) == 1
    secrets = (data / "secrets.json").read_bytes()
    with running_up(data) as up:
        assert "Password" not in up.printed
        assert "Shared secret" not in up.printed
        assert up.stop(signal.SIGINT) == 0
        assert "Traceback" not in up.printed
    with sqlite3.connect(data / "muster.sqlite3") as database:
        assert database.execute("SELECT id, password FROM tenancy_user").fetchall() == users
    assert (data / "secrets.json").read_bytes() == secrets


def test_a_given_admin_password_is_used_and_not_printed(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", MUSTER_ADMIN_PASSWORD="orchard-lantern-42") as up:
        assert "orchard-lantern-42" not in up.printed
        assert "the one in MUSTER_ADMIN_PASSWORD" in up.printed
        assert up.stop() == 0


def test_a_second_up_on_the_same_data_or_port_says_so_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def second(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "up", *arguments],
            cwd=ROOT,
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with running_up(data) as up:
        port = up.url.rsplit(":", 1)[1]
        same_data = second("--port", "1", "--data-dir", str(data))
        assert same_data.returncode == 1
        assert f"{data} is in use by another `manage.py up` (process {up.process.pid})" in same_data.stderr
        assert same_data.stderr.count("\n") == 1
        same_port = second("--port", port, "--data-dir", str(tmp_path / "other"))
        assert same_port.returncode == 1
        assert f"port {port} on 127.0.0.1 is already in use" in same_port.stderr
        assert same_port.stderr.count("\n") == 1
        assert up.stop() == 0


def test_a_killed_up_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_up(data) as up:
        up.process.kill()
        up.process.wait()
    with running_up(data) as up:
        assert up.stop() == 0


def test_a_stop_does_not_wait_for_idle_connections(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as up:
        port = int(up.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            assert up.stop(seconds=10) == 0


def test_an_address_that_is_not_ours_is_refused(
    tmp_path: Path, manage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = manage("up", "--host", "192.0.2.1", "--port", "8099", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1:8099" in done.stderr
    assert not (tmp_path / "data/muster.sqlite3").exists()
