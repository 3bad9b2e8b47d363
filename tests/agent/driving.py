"""Ways to run the agent in tests: in this process for one turn, or as a real process that can be killed.

Invariant: waits are short, everything else is the shipped code.
"""

import dataclasses
import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from muster_agent.errors import ExitCode
from muster_agent.log import EventLog
from muster_agent.loop import run
from muster_agent.settings import Facts, Settings, Timing
from tests.agent.fake_controller import SECRET

MAC = "02:00:00:AA:BB:01"
FAST = Timing(
    interval=0.05,
    registration_interval=0.02,
    bootup_delay=0.0,
    connect_timeout=2.0,
    total_timeout=5.0,
    tries=3,
    backoff=(0.0, 0.01),
    not_found_wait=0.01,
    update_info_tries=3,
    update_info_wait=0.01,
    management_ip_wait=0.01,
    settle=0.0,
    test_tries=2,
    test_backoff=(0.0, 0.01),
    hook_timeout=5.0,
)
LINKED = dataclasses.replace(
    FAST,
    interval=60.0,
    link_backoff=(0.01, 0.2),
    link_backoff_first=0.02,
    link_restart_wait=0.05,
    link_replaced_wait=(0.6, 0.7),
    link_refused_wait=0.5,
    link_answer=5.0,
    link_heartbeats=(0.05, 300.0),
    telemetry_interval=30.0,
)
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["tests.agent.driving", "muster_agent.transport"])
FACTS = Facts(name="ap-1", mac=MAC, model="Model X", os="OpenWrt 23.05", system="SoC", tags="mesh roof")


def settings_for(url: str, root: Path, **changes: Any) -> Settings:
    """One quick turn against `url`, changed by keyword."""
    values: dict[str, Any] = {"secret": SECRET, "facts": FACTS, "timing": FAST, "once": True}
    return Settings(url=url, root=root, **(values | changes))


def turn(settings: Settings, *, log: io.StringIO | None = None) -> ExitCode:
    """Run in this process until the agent exits."""
    return run(settings, log=EventLog(level="debug", stream=log if log is not None else io.StringIO()))


def run_killed_at(settings: Settings, kill_at: int | str, steps: Any) -> None:
    """A process's body: puts each durable step on `steps`, dies by SIGKILL after that number or name."""
    seen = 0

    def on_step(step: str) -> None:
        nonlocal seen
        steps.send(step)
        if kill_at in (seen, step):
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    os._exit(int(run(settings, log=EventLog(stream=io.StringIO()), on_step=on_step)))


def live(settings: Settings, log: Path) -> None:
    """A process's body: run until stopped, with the log in a file."""
    with log.open("a") as stream:
        os._exit(int(run(settings, log=EventLog(level="debug", stream=stream))))


@contextmanager
def alive(settings: Settings, log: Path) -> "Iterator[ForkServerProcess]":
    """A running agent; what is left of it at the end is killed."""
    process = FORK_SERVER.Process(target=live, args=(settings, log))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def wait_for(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)


def contents(root: Path) -> Mapping[str, tuple[bytes, int]]:
    """Every file of the tree but the agent's own, with its permission bits; empty directories as `b""`, 0."""
    found: dict[str, tuple[bytes, int]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith("etc/muster-agent"):
            continue
        if path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
        elif path.is_dir() and not any(path.iterdir()):
            found[name] = (b"", 0)
    return found


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def executable(path: Path, body: str) -> Path:
    """A shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
