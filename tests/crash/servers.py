"""A PostgreSQL and a Redis of a test's own, on loopback, that may be killed and started again."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.controller.processes import free_port


def _wait_for(port: int, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.05)


@dataclass
class Service:
    """A server process by its command; it is always stopped by its own process id."""

    command: list[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        _wait_for(self.port)

    def stop(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)


@contextlib.contextmanager
def own_redis(directory: Path, *, keeps: bool = False) -> Iterator[Service]:
    """A Redis that keeps nothing, or all that it has answered (an append-only file, written before each answer)."""
    port = free_port()
    program = shutil.which("redis-server")
    assert program is not None
    durably = ["--appendonly", "yes", "--appendfsync", "always"] if keeps else ["--appendonly", "no"]
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", *durably]
    service = Service([*command, "--dir", str(directory)], port, directory / "redis.log")
    service.start()
    try:
        yield service
    finally:
        service.stop(signal.SIGKILL)


@contextlib.contextmanager
def own_postgresql() -> Iterator[Service]:
    """A PostgreSQL with real commits; it refuses to run as root, so it runs as `postgres` then."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert found, "PostgreSQL's programs are in no /usr/lib/postgresql/*/bin"
    port, root = free_port(), os.geteuid() == 0
    directory = Path(tempfile.mkdtemp(prefix="muster-pg-"))
    prefix: list[str] = []
    if root:
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
        prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    data = directory / "data"
    made = [*prefix, str(found[-1] / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust"]
    subprocess.run([*made, "--no-sync"], check=True, capture_output=True, cwd="/")
    command = [*prefix, str(found[-1] / "postgres"), "-D", str(data), "-k", str(directory), "-p", str(port)]
    service = Service([*command, "-c", "listen_addresses=127.0.0.1"], port, directory / "log")
    service.start()
    try:
        yield service
    finally:
        service.stop(signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)
