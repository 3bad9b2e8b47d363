"""The grown installation on one machine: two web processes, a worker and beat, on loopback ports.

Why it exists: what runs as four processes in production must be startable, stoppable and testable as four
processes. `python -m deploy.rehearsal` reads the same MUSTER_… variables as production and runs until SIGTERM
or Ctrl-C; tests use `rehearse()`. Invariant: whatever happens, every process started here is stopped by its
own process id.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0
STOP_SECONDS = 15.0


class RehearsalError(RuntimeError):
    """A process ended early or readiness was not reached; the text quotes the end of the log."""


@dataclass(frozen=True)
class Rehearsal:
    """A running installation: the base addresses of its web processes, and each process by its role."""

    urls: tuple[str, ...]
    processes: Mapping[str, subprocess.Popen[bytes]]
    logs: Path


def free_port() -> int:
    """A TCP port nobody listens on at this moment.

    It is below those the kernel gives to outgoing connections: one of theirs may be taken before a server is up, and a
    client that keeps dialling a server which is restarting may even be given that server's port for its own end.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def commands(ports: tuple[int, ...], *, server: str = "uvicorn") -> dict[str, list[str]]:
    """The command line of each role, the same words as the systemd units use."""
    python = sys.executable
    web = {
        "uvicorn": [
            *("-m", "uvicorn", "controller.asgi:application", "--host", "127.0.0.1"),
            *("--no-access-log", "--no-proxy-headers", "--log-level", "warning"),
        ],
        "granian": [
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--host",
            "127.0.0.1",
            "controller.asgi:application",
        ],
    }[server]
    roles = {f"web-{port}": [python, *web, "--port", str(port)] for port in ports}
    celery = [python, "-m", "celery", "-A", "controller"]
    # Workers have nothing to say to each other.
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = [*celery, "worker", "--pool", "threads", "--concurrency", "2", "--loglevel", "warning"]
    roles["worker"] = [*worker, *alone]
    roles["beat"] = [*celery, "beat", "--loglevel", "warning", "--pidfile="]
    return roles


@contextlib.contextmanager
def rehearse(
    environ: Mapping[str, str],
    *,
    logs: Path,
    webs: int = 2,
    server: str = "uvicorn",
    seconds: float = START_SECONDS,
) -> Iterator[Rehearsal]:
    """Migrate, start every role, wait until each web process is ready, and stop everything at the end.

    `environ` is the whole environment of the processes, MUSTER_DATABASE_URL and MUSTER_REDIS_URL included;
    each role writes to `logs`/<role>.log. Raises RehearsalError when readiness is not reached within
    `seconds`.
    """
    for name in ("MUSTER_DATABASE_URL", "MUSTER_REDIS_URL"):
        if not environ.get(name):
            raise RehearsalError(f"{name} is missing")
    logs.mkdir(parents=True, exist_ok=True)
    migrate = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    done = subprocess.run(migrate, cwd=ROOT, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RehearsalError(f"migrate failed:\n{done.stderr[-2000:]}")
    ports = tuple(free_port() for _ in range(webs))
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for role, command in commands(ports, server=server).items():
            with (logs / f"{role}.log").open("wb") as log:
                processes[role] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own: granian's workers outlive a parent that is killed.
                    start_new_session=True,
                )
        rehearsal = Rehearsal(tuple(f"http://127.0.0.1:{port}" for port in ports), processes, logs)
        _wait_until_ready(rehearsal, seconds=seconds)
        yield rehearsal
    finally:
        stop(processes)


def _wait_until_ready(rehearsal: Rehearsal, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    waiting = list(rehearsal.urls)
    said = ""
    while waiting:
        for role, process in rehearsal.processes.items():
            if process.poll() is not None:
                raise RehearsalError(
                    f"{role} ended with {process.returncode}:\n{_tail(rehearsal.logs / f'{role}.log')}"
                )
        ready, said = _ready(waiting[0])
        if ready:
            waiting.pop(0)
            continue
        if time.monotonic() > deadline:
            raise RehearsalError(f"{waiting[0]} is not ready: {said}")
        time.sleep(0.2)


def _ready(url: str) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - loopback
            return True, answer.read().decode()
    except urllib.error.HTTPError as error:
        return False, ", ".join(json.loads(error.read()).get("failing", []))
    except OSError as error:
        return False, str(error)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def stop(processes: Mapping[str, subprocess.Popen[bytes]]) -> dict[str, int]:
    """SIGTERM to all, SIGKILL to what is left after STOP_SECONDS and its children; returns each role's exit code."""
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes.values():
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
    return {role: process.returncode for role, process in processes.items()}


def main() -> int:
    """Run until told to stop; prints the addresses."""
    parser = argparse.ArgumentParser(prog="python -m deploy.rehearsal", description=main.__doc__)
    parser.add_argument("--webs", type=int, default=2, help="web processes")
    parser.add_argument("--server", choices=("uvicorn", "granian"), default="uvicorn")
    parser.add_argument(
        "--logs", type=Path, default=ROOT / "var/rehearsal", help="directory of the log files"
    )
    options = parser.parse_args()
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    try:
        with rehearse(os.environ, logs=options.logs, webs=options.webs, server=options.server) as rehearsal:
            print("\n".join(rehearsal.urls), flush=True)
            told.wait()
    except RehearsalError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
