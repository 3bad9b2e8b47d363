"""A site change over 200 linked devices while a process of the installation, Redis or PostgreSQL goes away."""

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from deploy.rehearsal import Rehearsal, commands, rehearse
from tests.controller.processes import ROOT, plain_environment
from tests.crash.delivering import Site, site_of
from tests.crash.servers import Service, own_postgresql, own_redis

pytestmark = [pytest.mark.services, pytest.mark.slow]
DEVICES = 200
# How many of the devices have applied the change when it happens; -1: the change was accepted a moment ago.
STEPS = (-1, 1, DEVICES // 2, DEVICES - 1)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    with own_postgresql() as database, own_redis(tmp_path) as broker:
        yield database, broker


@pytest.fixture
def environ(services: tuple[Service, Service], tmp_path: Path) -> dict[str, str]:
    database, broker = services
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(
                host="127.0.0.1", port=database.port, user="postgres", dbname="postgres", autocommit=True
            ) as connection:
                connection.execute("CREATE DATABASE muster")
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    return plain_environment(
        MUSTER_DATA_DIR=str(tmp_path / "data"),
        MUSTER_DATABASE_URL=f"postgres://postgres@127.0.0.1:{database.port}/muster",
        MUSTER_REDIS_URL=f"redis://127.0.0.1:{broker.port}/0",
        MUSTER_SECRET_KEY=secrets.token_urlsafe(48),
        MUSTER_ENCRYPTION_KEYS=base64.urlsafe_b64encode(os.urandom(32)).decode(),
        MUSTER_LOG_LEVEL="WARNING",
    )


def again(rehearsal: Rehearsal, role: str, environ: dict[str, str]) -> None:
    """Start a role anew, as a supervisor would."""
    ports = tuple(int(url.rpartition(":")[2]) for url in rehearsal.urls)
    with (rehearsal.logs / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            commands(ports)[role],
            cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    rehearsal.processes[role] = process  # type: ignore[index]


def supervise(rehearsal: Rehearsal, environ: dict[str, str]) -> None:
    """Start again what has ended by itself, as a supervisor does (deploy/systemd: Restart=always).

    Celery's worker may end with an unrecoverable error when its broker goes away under it.
    """
    for role, process in list(rehearsal.processes.items()):
        if process.poll() is not None:
            assert role == "worker", f"{role} ended by itself"
            again(rehearsal, role, environ)


def linked_twice(site: Site, urls: tuple[str, ...]) -> tuple[int, float]:
    """Open a link of one device at each web process; returns the code that closes the first one, and the seconds."""
    device = site.made["devices"][0]
    with contextlib.ExitStack() as links:
        first, _second = (links.enter_context(_linked(device, url)) for url in urls)
        began = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                first.recv(timeout=10)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, time.monotonic() - began


@contextlib.contextmanager
def _linked(device: dict[str, str], url: str) -> Iterator[ClientConnection]:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 1}}
    address = f"{url.replace('http', 'ws', 1)}/ws/device/{device['id']}/"
    with connect(address, additional_headers={"X-Device-Key": device["key"]}, proxy=None) as link:
        link.send(json.dumps(hello))
        assert "result" in json.loads(link.recv(timeout=10))
        yield link


def test_whatever_goes_away_in_the_middle_of_a_site_change(
    environ: dict[str, str], services: tuple[Service, Service], tmp_path: Path
) -> None:
    database, broker = services
    with (
        site_of(environ, tmp_path, devices=DEVICES) as site,
        rehearse(environ, logs=tmp_path / "logs", webs=2) as rehearsal,
    ):
        closed = [linked_twice(site, rehearsal.urls) for _ in range(6)]
        assert {code for code, _ in closed} == {4000}
        # Told by a message, and not only found out at the comparison every four seconds.
        assert sum(seconds for _, seconds in closed) < 6
        site.start_fleet(list(rehearsal.urls))
        site.wait_until_done()
        for device in site.made["devices"][:2]:
            assert site.script("ask", device["id"]) == {"answer": {"files": {}, "actual": device["id"]}}
        web = next(role for role in rehearsal.processes if role.startswith("web"))

        def killed(role: str) -> None:
            process = rehearsal.processes[role]
            process.send_signal(signal.SIGKILL)
            process.wait()
            again(rehearsal, role, environ)

        def restarted(service: Service, number: int) -> None:
            service.stop(number)
            time.sleep(1)
            service.start()
            time.sleep(1)
            supervise(rehearsal, environ)

        strikes: dict[str, Callable[[], None]] = {
            "web": lambda: killed(web),
            "worker": lambda: killed("worker"),
            "beat": lambda: killed("beat"),
            "redis": lambda: restarted(broker, signal.SIGKILL),
            "postgresql": lambda: restarted(database, signal.SIGINT),
        }
        for step in STEPS:
            for victim, strike in strikes.items():
                before = sum(site.applied().values())
                site.change(rehearsal.urls[1], f"{victim} at {step}")
                if step > 0:
                    site.wait_for_applies(before + step)
                strike()
                site.wait_until_done()
        assert all(process.poll() is None for process in rehearsal.processes.values())
