"""The grown installation: two web processes on PostgreSQL and Redis are one cloud to a client."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deploy.rehearsal import rehearse
from tests.config_merge.pub_v1.test_public_client import SCRIPT, USER, ended, started
from tests.controller.processes import ROOT
from tests.controller.test_rehearsal import environ  # noqa: F401 - a fixture

pytestmark = [pytest.mark.services, pytest.mark.slow]


def provisioned(environment: dict[str, str], *arguments: str) -> Any:
    command = [sys.executable, "manage.py", "provision", "--organization", "north", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def asked(url: str, key: str, path: str, body: Any = None) -> tuple[int, str | None, str]:
    """Return the status, Retry-After and the text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"x-api-key": key, "content-type": "application/json"}
    try:
        request = urllib.request.Request(f"{url}/pub/v1/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, None, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Retry-After"], error.read().decode()


def test_they_count_together_and_no_change_is_lost(
    environ: dict[str, str],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    assert SCRIPT.exists()
    with rehearse(environ, logs=tmp_path / "logs", server="uvicorn") as rehearsal:
        owner = ("--user", "nora", "--role", "owner", "--api-key")
        first = provisioned(environ, *owner, "--site", "Vilnius")
        second = provisioned(environ, *owner)
        site, keys = first["site"]["id"], (first["api_key"], second["api_key"])
        body = {"sn": "1", "mac": "00:11:22:33:44:55", "name": "ap"}
        assert asked(rehearsal.urls[0], keys[0], f"site/{site}/devices", body)[0] == 201
        told = [ended(each) for each in map(started, rehearsal.urls, keys)]
        assert told[0] == told[1]
        assert told[0]["ap"][f"{USER}/passwd"] == "of device ap"
        # Both processes and both keys: it is one address. What was asked before counts too.
        turns = [(rehearsal.urls[number % 2], keys[number // 2 % 2], "sites") for number in range(260)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(asked, *zip(*turns, strict=True)))
        waits = [int(wait or 0) for code, wait, _ in answers if code == 429]
        assert {code for code, _, _ in answers} == {200, 429}
        assert 60 <= len(waits) < 100
        assert all(1 <= wait <= 10 for wait in waits)
        assert {asked(url, keys[0], "sites")[0] for url in rehearsal.urls} == {429}
