"""Many processes and threads at once: exactly as many calls are admitted as the quota allows, no entry is lost."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections

from boot import quotas, services
from boot.models import Operation
from core import quotas as counting
from core.clock import now
from tenancy.models import ApiKey
from tests import factories
from tests.boot.hours import stay_in_this_hour
from tests.controller.processes import ROOT, plain_environment
from tracking import queries
from tracking.models import TrackedDevice

LIMIT, PROCESSES, THREADS, ROUNDS = 57, 3, 2, 60


@pytest.fixture
def keys(transactional_db: None) -> list[tuple[ApiKey, str]]:
    """Three keys of two organizations with a limit of their own."""
    counting.windows().storage.reset()
    root, made = factories.superuser(), []
    for count in (2, 1):
        org = factories.organization()
        for operation in (Operation.BOOT_GET, Operation.TRACK_POST):
            services.quota_set(by=root, organization=org, operation=operation, amount=LIMIT)
        for _ in range(count):
            row, text = factories.api_key(factories.operator(org), org)
            services.boot_config_set(api_key_id=row.pk, device="default", document={})
            made.append((row, text))
    return made


def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which a child works on this test's own database."""
    own = {name: value for name, value in os.environ.items() if name.startswith("MUSTER_")}
    own["MUSTER_ENCRYPTION_KEYS"] = ",".join(settings.MUSTER_ENCRYPTION_KEYS)
    own["MUSTER_SECRET_KEY"] = settings.SECRET_KEY
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "postgresql":
        own["MUSTER_DATABASE_URL"] = f"{os.environ['MUSTER_DATABASE_URL'].rpartition('/')[0]}/{name}"
    else:
        own["MUSTER_DATA_DIR"] = str(tmp_path)
        (tmp_path / "muster.sqlite3").symlink_to(name)
    return plain_environment(**own, PYTHONPATH=str(ROOT))


def started(tmp_path: Path, texts: list[str]) -> list[Any]:
    """Start the processes; they wait for the word."""
    command = [sys.executable, str(Path(__file__).with_name("hammer_script.py"))]
    children = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment(tmp_path / str(number)), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for child in children:
        child.stdin.write(json.dumps([texts, ROUNDS, THREADS]) + "\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    for child in children:
        assert child.stdout.readline() == "ready\n", child.communicate()[1]  # type: ignore[union-attr]
    return children


def test_exactly_the_quota_is_admitted_and_every_entry_is_kept(
    keys: list[tuple[ApiKey, str]], tmp_path: Path
) -> None:
    stay_in_this_hour(120)
    for number in range(PROCESSES):
        (tmp_path / str(number)).mkdir()
    children = started(tmp_path, [text for _, text in keys])
    found: Counter[str] = Counter()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        printed, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors
        found.update(json.loads(printed))
    for number, (row, _) in enumerate(keys):
        assert found[f"boot {number} 200"] == found[f"track {number} 200"] == LIMIT, found
        assert found[f"boot {number} 429"] > 0 and found[f"track {number} 429"] > 0
        gauges = quotas.gauges(key_id=row.key_id, organization_id=row.organization_id, at=now())
        used = {gauge.operation: (gauge.used, gauge.left) for gauge in gauges}
        assert used["boot_get"] == used["track_post"] == (LIMIT, 0)
        tracked = TrackedDevice.objects.filter(api_key=row)
        assert sum(tracked.values_list("seq", flat=True)) == 2 * LIMIT
        for one in tracked:
            times = [at for at, _ in queries.timeline_of(one)]
            assert len(times) == min(10, one.seq) and times == sorted(set(times))
    assert {key.split()[2] for key in found} == {"200", "429"}


def test_threads_of_one_process_share_a_counter_that_a_restart_does_not_lose(
    keys: list[tuple[ApiKey, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = keys[0]
    admitted: list[int] = []
    item = quotas.item_of(Operation.IMAGE_GET)

    def take() -> None:
        for wanted in (1, 2, 1, 3):
            admitted.append(counting.windows().take_at(now(), item, row.key_id, "image_get", wanted=wanted))
        connections.close_all()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 10
    counting.windows.cache_clear()
    assert not counting.windows().hit(item, row.key_id, "image_get")
    assert counting.windows().get_window_stats(item, row.key_id, "image_get").remaining == 0
