"""Each benchmark runs with tiny sizes and ends with its JSON line; the load generator that needs nothing works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.outcome import Target
from benchmarks.scratch import Scratch
from benchmarks.servers import BARE, serving
from tests.controller.processes import ROOT, migrated, plain_environment

RATIOS = {
    "agent": {"checksum of bare", "download of bare", "report of bare", "report x django"},
    "links": {
        "memory per link / Channels",
        "handshakes / raw ASGI",
        "one device / Channels",
        "all devices / raw ASGI",
    },
    "boot": {"boot of bare", "boot x DRF view"},
    "preview": {"preview / recompute"},
    "lists": {"page 1, large / small", "search: one device, large / small", "count, large / small"},
    "register": {"register of bare", "register x django insert"},
    "render": {"stock / all new", "stock / LAN address differs"},
    "settings": {"scalars overridden: merge / update", "entities overridden: merge / update"},
    "template": {"cost per device, large / small"},
    "jobs": {"deactivate: one alone / in a job", "delete: one alone / in a job"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RATIOS))
def test_a_benchmark_runs_and_ends_with_one_json_line_of_figures_and_ratios(
    name: str, tmp_path: Path
) -> None:
    migrated(tmp_path)
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--generator", "python"]
    command += ["--sqlite", str(tmp_path / "muster.sqlite3")]
    done = subprocess.run(
        command, cwd=ROOT, env=plain_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    last = json.loads(lines[-1])
    assert last["benchmark"] == name
    assert RATIOS[name] <= last["ratios"].keys()
    # The kernel counts CPU time in hundredths of a second, of which a quick run may take none.
    assert all(ratio > 0 or (ratio == 0 and "CPU" in name) for name, ratio in last["ratios"].items())
    assert [line for line in lines if line.startswith("{")] == [lines[-1]]


def test_a_quick_run_keeps_no_result(tmp_path: Path) -> None:
    kept = {file: file.read_bytes() for file in (ROOT / "benchmarks" / "results").glob("*.json")}
    command = [sys.executable, "-m", "benchmarks", "render", "--quick"]
    subprocess.run(command, cwd=ROOT, env=plain_environment(), check=True, capture_output=True, timeout=120)
    assert {file: file.read_bytes() for file in (ROOT / "benchmarks" / "results").glob("*.json")} == kept


def test_the_generator_without_wrk_counts_answers_and_refusals(tmp_path: Path) -> None:
    with serving(BARE, Scratch(tmp_path, plain_environment())) as server:
        requests = [
            load.raw_request("/32", host="bench"),
            load.raw_request("/7", host="bench", form={"a": "b"}),
        ]
        answers = load.visit(server.url, requests)
        found = load.run(load.Target(server, requests), seconds=0.3, generator="python")
    assert [len(answer.body) for answer in answers] == [32, 7]
    assert found.rate > 100
    assert (found.refused, found.broken) == (0, 0)
    assert 0 < found.p50 <= found.p99


def test_a_target_is_met_missed_or_not_measured() -> None:
    assert Target("fast", 2.0, 1).met is True
    assert Target("small", 2.0, 1, at_least=False).met is False
    assert Target("absent", None, 1).met is None
