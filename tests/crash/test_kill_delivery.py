"""kill -9 in the middle of a site change over 200 linked devices: each applies it once, and nothing is stuck."""

import signal
from pathlib import Path

import pytest

from tests.controller.processes import migrated, plain_environment, running_up
from tests.crash.delivering import site_of

DEVICES = 200
# How many of the devices have applied the change when it happens; -1: the change was accepted a moment ago.
STEPS = (-1, 1, DEVICES // 2, DEVICES - 1)


@pytest.mark.slow
def test_a_killed_server_and_killed_devices_lose_nothing_and_apply_nothing_twice(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    migrated(directory)
    environ = plain_environment(MUSTER_DATA_DIR=str(directory))
    total = DEVICES
    with site_of(environ, tmp_path, devices=DEVICES) as site:
        urls = []
        with running_up(directory) as up:
            urls = [up.url]
            port = int(up.url.rpartition(":")[2])
            site.start_fleet(urls)
            site.wait_until_done()
            up.stop()
        for number, step in enumerate(STEPS):
            with running_up(directory, port=port) as up:
                site.change(up.url, f"{number}-server")
                if step > 0:
                    site.wait_for_applies(total + step)
                up.stop(signal.SIGKILL)
            total += DEVICES
            with running_up(directory, port=port) as up:
                site.wait_until_done()
                site.change(up.url, f"{number}-devices")
                if step > 0:
                    site.wait_for_applies(total + step)
                site.stop_fleet(signal.SIGKILL)
                total += DEVICES
                site.start_fleet(urls)
                site.wait_until_done()
                assert up.stop() == 0
