"""A running server whose Redis is killed: quotas hold on, nobody waits, and the fleet boots."""

import base64
import os
import secrets
import shutil
import signal
import time
from pathlib import Path

import pytest

from core import outage
from tests.boot.house import House
from tests.boot.pi import status
from tests.controller.processes import running_up
from tests.crash.servers import own_redis

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no Redis to kill"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the client is made of curl"),
]


def test_a_killed_redis_costs_neither_boots_nor_limits(tmp_path: Path) -> None:
    left = 3600 - time.time() % 3600
    if left < 120:
        time.sleep(left + 0.1)
    with own_redis(tmp_path, keeps=True) as redis:
        variables = {
            "MUSTER_DATA_DIR": str(tmp_path / "data"),
            "MUSTER_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "MUSTER_SECRET_KEY": secrets.token_urlsafe(48),
            "MUSTER_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        }
        with running_up(tmp_path / "data", **variables) as up:
            house = House(up, variables)
            url, key = f"{house.url}/boot/x/config", ("-H", f"X-Api-Key: {house.new_key()}")
            assert [status(url, *key)[0] for _ in range(20)] == [404] * 20
            redis.stop(signal.SIGKILL)
            began = time.monotonic()
            posted = [status(url, *key, "-d", f'{{"config": {number}}}')[0] for number in range(11)]
            assert posted == [200] * 10 + [429]
            # Celery's broker is away, too: had each write waited for it, this were twenty seconds.
            assert time.monotonic() - began < 18
            assert [status(url, *key)[0] for _ in range(61)] == [200] * 60 + [429]
            redis.start()
            time.sleep(outage.RETRY + 0.5)
            assert [status(url, *key)[0] for _ in range(41)] == [200] * 40 + [429]
            assert up.printed.count("Redis does not answer") == up.printed.count("Redis answers again") == 1
