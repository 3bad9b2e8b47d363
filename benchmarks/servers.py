"""Servers under test: one uvicorn process each, started with one command line for product and floors alike."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scratch import Scratch
from deploy.rehearsal import free_port

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = "controller.asgi:application"
BARE = "benchmarks.bare:application"
DJANGO = "benchmarks.floor:application"
# What `controller.server.serve` asks of uvicorn.
UVICORN = [
    "--loop",
    "uvloop",
    "--http",
    "httptools",
    "--ws",
    "websockets-sansio",
    "--no-access-log",
    "--no-server-header",
    "--no-proxy-headers",
    "--timeout-keep-alive",
    "75",
    "--log-level",
    "warning",
]
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it listens, and its process."""

    url: str
    pid: int

    def processor_seconds(self) -> float:
        """CPU time it has used so far, all threads, in user and system mode (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Memory it has in RAM (proc(5), second field of statm)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(application: str, at: Scratch, *, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `application` on a free port; yields once it answers."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        application,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *UVICORN,
    ]
    with _running(command, at, port, variables or {}) as served:
        yield served


@contextlib.contextmanager
def up(at: Scratch, *, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `manage.py up`, worker and beat included: uvicorn as above, in the same process."""
    port = free_port()
    command = [sys.executable, "manage.py", "up", "--port", str(port), "--data-dir", str(at.directory)]
    with _running(command, at, port, variables or {}) as served:
        yield served


@contextlib.contextmanager
def _running(command: list[str], at: Scratch, port: int, variables: Mapping[str, str]) -> Iterator[Served]:
    environment = at.environment | dict(variables)
    with tempfile.TemporaryFile(mode="w+", prefix="muster-bench-server-") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            _await_port(port, process, log)
            yield Served(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_port(
    port: int, process: "subprocess.Popen[bytes]", log: "tempfile._TemporaryFileWrapper[str]"
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(f"{process.args} did not start:\n{log.read()}")
        time.sleep(0.05)
