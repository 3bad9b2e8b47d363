"""Child processes for tests of the roof: their environment, and `manage.py up` as a running server."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def plain_environment(**variables: str) -> dict[str, str]:
    """This process's environment without any of Muster's variables, plus `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "DJANGO_"))}
    return kept | variables


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, *, timeout: float = 5, **headers: str) -> tuple[int, dict[str, str], str]:
    """GET without following redirects: status, headers in lower case, body."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers=headers)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


@dataclass
class Up:
    """A child `manage.py up`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def printed(self) -> str:
        """Everything it has said so far, on both streams."""
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.printed}"
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.printed}"
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            status, _headers, body = get(f"{self.url}/readyz")
        except OSError:
            return False
        return status == 200 and json.loads(body)["status"] == "ok"

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 10) -> int:
        """Signal it and return its exit code; fails when it needs longer than `seconds`."""
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)


@contextlib.contextmanager
def running_up(directory: Path, *arguments: str, **variables: str) -> Iterator[Up]:
    """`manage.py up` on a free port, its data in `directory`, ready; killed at the end if need be."""
    port = free_port()
    log = directory.parent / f"up-{port}.log"
    command = [
        sys.executable,
        "manage.py",
        "up",
        "--port",
        str(port),
        "--data-dir",
        str(directory),
        *arguments,
    ]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=plain_environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            text=True,
        )
    up = Up(process, f"http://127.0.0.1:{port}", log)
    try:
        up.wait_until(up.ready)
        yield up
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
