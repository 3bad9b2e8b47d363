"""Driving a site change over many linked devices while something is killed (shared by the crash tests of delivery)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.controller.processes import ROOT

SCRIPT = Path(__file__).with_name("delivery_script.py")
FLEET = Path(__file__).with_name("linked_fleet.py")


@dataclass
class Site:
    """A site with its devices, and whoever may change it."""

    environ: Mapping[str, str]
    directory: Path
    made: dict[str, Any] = field(default_factory=dict)
    fleet: subprocess.Popen[bytes] | None = None
    expected: int = 0

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    def script(self, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(SCRIPT), *arguments]
        environ = {**self.environ, "PYTHONPATH": str(ROOT), "MUSTER_LOG_LEVEL": "WARNING"}
        done = subprocess.run(
            command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        answered: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answered

    def seed(self, count: int) -> None:
        self.made = self.script("seed", str(count))
        self.expected = count
        (self.directory / "devices.json").write_text(json.dumps(self.made["devices"]))

    def start_fleet(self, urls: list[str], *, slow: float = 0.4) -> None:
        """Start the devices, in a process that knows only what is on its disk."""
        command = [
            sys.executable,
            str(FLEET),
            str(self.directory / "devices.json"),
            str(self.journal),
            str(slow),
        ]
        with (self.directory / "fleet.log").open("ab") as log:
            self.fleet = subprocess.Popen(
                [*command, *(url.replace("http", "ws", 1) for url in urls)],
                env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def stop_fleet(self, number: int = signal.SIGTERM) -> None:
        if self.fleet is not None:
            if self.fleet.poll() is None:
                self.fleet.send_signal(number)
            self.fleet.wait(timeout=20)
            self.fleet = None

    def change(self, url: str, value: str) -> None:
        """Change a setting of the site through the public API, until it is accepted."""
        path = f"{url}/pub/v1/site/{self.made['site']}/config-changes"
        headers = {"x-api-key": self.made["api_key"], "content-type": "application/json"}
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(path, headers=headers), timeout=15) as got:
                    timestamp = json.load(got)["timestamp"]
                body = {"timestamp": timestamp, "changes": {"locale/code": {"value": value}}}
                request = urllib.request.Request(path, json.dumps(body).encode(), headers, method="POST")
                with urllib.request.urlopen(request, timeout=15) as got:
                    answer = json.load(got)
                assert answer["unfinishedTaskCount"] >= 1
                self.expected += len(self.made["devices"])
                return
            except (OSError, urllib.error.HTTPError):
                assert time.monotonic() < deadline, "the change was not accepted"
                time.sleep(0.3)

    def applied(self) -> Counter[tuple[str, str]]:
        """Return how often each device applied each checksum."""
        if not self.journal.exists():
            return Counter()
        whole = self.journal.read_text().rpartition("\n")[0].splitlines()
        return Counter((device, checksum) for device, checksum in (line.split() for line in whole))

    def wait_for_applies(self, count: int, *, seconds: float = 60) -> None:
        """Wait until the devices have applied this often in all."""
        self.wait(lambda: sum(self.applied().values()) >= count, seconds=seconds)

    def wait(self, check: Callable[[], bool], *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.script('look')}"
            time.sleep(0.02)

    def wait_until_done(self, *, seconds: float = 90) -> None:
        """Wait until every device has what it should have and the controller knows it."""
        found: dict[str, Any] = {}
        # Looking into the journal is cheap, starting a script is not.
        self.wait(lambda: sum(self.applied().values()) >= self.expected, seconds=seconds)

        def done() -> bool:
            found.update(self.script("verify"))
            return not (found["unapplied"] or found["open"] or found["unproved"])

        self.wait(done, seconds=seconds)
        counts = self.applied()
        assert set(counts.values()) == {1}, "a device applied something twice"
        last = dict(key for key in counts)
        assert last == found["wanted"]


@contextlib.contextmanager
def site_of(environ: Mapping[str, str], directory: Path, *, devices: int) -> Iterator[Site]:
    """A seeded site; its devices are stopped at the end."""
    site = Site(environ, directory)
    site.seed(devices)
    try:
        yield site
    finally:
        site.stop_fleet(signal.SIGKILL)
