"""The public client's flow against a server in a process of its own, alone and several at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config_merge.models import Site, SiteDevice
from config_merge.services import places
from tests.config_merge.pub_v1.conftest import Cloud

SCRIPT = Path(__file__).parent / "public_client.py"
USER = "users/2892275898"


def started(url: str, key: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), url, key]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> Any:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.django_db(transaction=True)
def test_it_reads_edits_posts_and_reads_back(
    live_server: Any, cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    told = ended(started(str(live_server), cloud.key))
    assert told["Vilnius"]["locale/code"] == "LT"
    assert told["Vilnius"][f"{USER}/passwd"] == "of the site"
    assert told["mock-device-9"][f"{USER}/passwd"] == "of device mock-device-9"
    # The form for logins was taken whole, and the login was overridden whole.
    form = {f"{USER}/", *(f"{USER}/{member}" for member in site.defaults["user"])}
    place.refresh_from_db()
    assert place.settings.keys() == form
    assert {entry["origin"] for entry in place.settings.values()} == {"site-device"}
    # A second run finds its work done, and does it again without harm.
    assert ended(started(str(live_server), cloud.key)) == told


@pytest.mark.django_db(transaction=True)
def test_several_at_once_end_alike(live_server: Any, cloud: Cloud, site: Site, place: SiteDevice) -> None:
    clients = [started(str(live_server), cloud.key) for _ in range(3)]
    told = [ended(client) for client in clients]
    assert told[0] == told[1] == told[2]
    assert told[0]["mock-device-9"][f"{USER}/passwd"] == "of device mock-device-9"


@pytest.mark.django_db(transaction=True)
def test_it_tells_why_it_is_refused(live_server: Any, cloud: Cloud, site: Site, place: SiteDevice) -> None:
    wrong = started(str(live_server), "abcdefgh.nothing")
    assert "sites: 401 x-api-key header is not valid" in wrong.communicate(timeout=60)[1]
    places.place_update(place, is_suspended=True)
    held = started(str(live_server), cloud.key)
    assert "suspended, reset the device" in held.communicate(timeout=60)[1]
