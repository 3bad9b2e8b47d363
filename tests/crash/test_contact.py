"""A real agent behind a network that its own configuration can cut: it comes back by itself, and says so."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.controller.processes import ROOT, migrated, plain_environment, running_up
from tests.crash.delivering import SCRIPT


class Network:
    """A relay on loopback between a device and its controller; it carries while `is_up` says so."""

    def __init__(self, target: int, is_up: Any) -> None:
        self._target, self._is_up = target, is_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self._listener.settimeout(0.05)
        while not self._done.is_set():
            with suppress(TimeoutError, OSError):
                near, _ = self._listener.accept()
                if not self._is_up():
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, suppress(OSError):
            while self._is_up() and not self._done.is_set():
                for ready in select.select([near, far], [], [], 0.02)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)

    def close(self) -> None:
        self._done.set()
        self._listener.close()


@contextmanager
def agent(root: Path, url: str, secret: str, log: Path) -> Iterator[None]:
    command = [
        sys.executable, "-m", "muster_agent", "--url", url, "--secret", secret, "--root", str(root), "--name", "ap1",
        "--mac", "02:00:00:00:00:00", "--timing", "settle=0", "--timing", "bootup_delay=0",
        "--timing", "test_backoff=0.2,0.4", "--timing", "connect_timeout=1", "--timing", "backoff=0.2,0.4",
    ]  # fmt: skip
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT / "agent")}, cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_device_that_loses_contact_by_its_configuration_puts_it_back(tmp_path: Path) -> None:
    directory, root = tmp_path / "data", tmp_path / "root"
    migrated(directory)
    root.mkdir()
    environ = plain_environment(MUSTER_DATA_DIR=str(directory), PYTHONPATH=str(ROOT))
    seeded = subprocess.run(
        [sys.executable, str(SCRIPT), "seed", "1"], env=environ, cwd=ROOT, capture_output=True, check=True
    )
    made = json.loads(seeded.stdout.splitlines()[-1])
    lan = root / "etc/config/network"

    def is_up() -> bool:
        return not lan.exists() or "blackhole" not in lan.read_text()

    with running_up(directory, MUSTER_CONFIRM_SECONDS="5", MUSTER_COALESCE_SECONDS="0") as up:

        def ask(path: str, body: Any = None) -> Any:
            headers = {"x-api-key": made["api_key"], "content-type": "application/json"}
            data = json.dumps(body).encode() if body is not None else None
            method = "POST" if body is not None else "GET"
            with urlopen(
                Request(f"{up.url}/pub/v1/{path}", data, headers, method=method), timeout=10
            ) as answer:
                return json.load(answer)

        def change(key: str, value: str) -> None:
            timestamp = ask(f"site/{made['site']}/config-changes")["timestamp"]
            changes = {key: {"value": value}}
            told = ask(f"site/{made['site']}/config-changes", {"timestamp": timestamp, "changes": changes})
            assert told["serverSideChanged"] is False

        def states() -> list[str]:
            # No faster than the cloud's limit of 200 requests in ten seconds.
            time.sleep(0.2)
            (device,) = ask("devices")
            return [task["state"] for task in ask(f"device/{device['id']}/tasks")]

        network = Network(int(up.url.rpartition(":")[2]), is_up)
        url = f"http://127.0.0.1:{network.port}"
        with agent(root, url, made["secret"], tmp_path / "agent.log"):
            up.wait_until(lambda: states() == ["done"], seconds=30)
            before = (root / "etc/config/locale").read_text()
            began = time.monotonic()
            change("network/lan/proto", "blackhole")
            up.wait_until(lambda: not is_up(), seconds=20)
            up.wait_until(is_up, seconds=20)
            assert time.monotonic() - began < 30
            up.wait_until(lambda: states() == ["rolled_back", "done"], seconds=30)
            (device,) = ask("devices")
            latest = ask(f"device/{device['id']}/tasks")[0]
            assert latest["error"]
            assert device["health_id"] == "HEALTH_WARNING"
            assert (root / "etc/config/locale").read_text() == before
            # It does not take the same again, and it takes the next.
            change("network/lan/proto", "dhcp")
            up.wait_until(lambda: states() == ["done", "rolled_back", "done"], seconds=30)
            assert "dhcp" in lan.read_text()
        network.close()
        assert up.stop() == 0
