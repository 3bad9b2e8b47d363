"""Child processes for tests of the roof: their environment, and `manage.py up` as a running server."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.rehearsal import free_port

ROOT = Path(__file__).resolve().parents[2]


def plain_environment(**variables: str) -> dict[str, str]:
    """This process's environment without any of Muster's variables, plus `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "DJANGO_"))}
    return kept | variables


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


def migrated(directory: Path) -> None:
    """Put into `directory` what `manage.py migrate` leaves in an empty one: it takes seconds, once per run."""
    shared = Path(os.environ["PYTEST_MUSTER_SHARED"])
    made, draft = shared / "migrated", shared / "draft"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            environment = plain_environment(MUSTER_DATA_DIR=str(draft))
            subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)
            draft.rename(made)
    shutil.copytree(made, directory, dirs_exist_ok=True)


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

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 30) -> int:
        """Signal it and return its exit code; fails when it needs longer than `seconds`."""
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)


@contextlib.contextmanager
def running_up(
    directory: Path, *arguments: str, port: int = 0, from_nothing: bool = False, **variables: str
) -> Iterator[Up]:
    """`manage.py up` on `port` or a free one, its data in `directory`, ready; killed at the end if need be.

    A directory without a database gets one that is migrated and empty, unless it is to start `from_nothing`.
    """
    if not (from_nothing or (directory / "muster.sqlite3").exists()):
        migrated(directory)
    port = port or free_port()
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
