"""Clients that change the same settings at the same time: each sees the others' changes, and none is lost."""

import json
import threading
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from config_merge.models import Config, Site, SiteDevice
from config_merge.queries import files_in
from config_merge.services import places, recompute, sites
from config_merge.services.places import placement_change
from devices.models import Device
from tenancy.models import Organization
from tests.config_merge.pub_v1.conftest import Cloud

CLIENTS, CHANGES = 3, 5


class Writer(threading.Thread):
    """Adds keys of its own, one change at a time, from the timestamp it read; tries again when it was too late."""

    def __init__(self, number: int, path: str, key: str, origin: str) -> None:
        super().__init__()
        self.number, self.path, self.key, self.origin = number, path, key, origin
        self.late = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for change in range(CHANGES):
                while not self.changed(f"ntp/w{self.number}c{change}"):
                    self.late += 1
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error
        finally:
            connections.close_all()

    def changed(self, name: str) -> bool:
        now = self.ask("GET").json()["timestamp"]
        body = {"timestamp": now, "changes": {name: {"value": name, "origin": self.origin}}}
        answer = self.ask("POST", body)
        if answer.status_code == 503:  # the database was busy, and nothing was stored
            return False
        assert answer.status_code == 200, answer.content
        return not answer.json()["serverSideChanged"]

    def ask(self, method: str, body: Any = None) -> Any:
        sent = json.dumps(body) if body is not None else ""
        path = f"/pub/v1/{self.path}/config-changes"
        return Client().generic(method, path, sent, content_type="application/json", HTTP_X_API_KEY=self.key)


def written(cloud: Cloud, path: str, origin: str) -> None:
    writers = [Writer(number, path, cloud.key, origin) for number in range(CLIENTS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.error for writer in writers] == [None] * CLIENTS


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["site", "device"])
def test_no_change_is_lost(level: str, cloud: Cloud, site: Site, place: SiteDevice) -> None:
    row = site if level == "site" else place
    written(cloud, f"{level}/{row.number}", level)
    row.refresh_from_db()
    assert row.settings.keys() == {f"ntp/w{n}c{c}" for n in range(CLIENTS) for c in range(CHANGES)}


@pytest.mark.django_db(transaction=True)
def test_a_sites_change_and_a_devices_at_once(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    """Neither waits for the other for ever, and the device ends with both."""
    writers = [
        Writer(0, f"site/{site.number}", cloud.key, "site"),
        Writer(1, f"device/{place.number}", cloud.key, "device"),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.error for writer in writers] == [None, None]
    places.device_manage(place.device, by="site")
    entries = cloud.get(f"devices/{place.number}/config").json()
    assert len(entries) == 2 * CHANGES


class Mover(Writer):
    """Suspends the device, moves it to another site and back, and lets it go again."""

    def __init__(self, place: SiteDevice, away: Site, key: str) -> None:
        super().__init__(0, "", key, "")
        self.place, self.home, self.away = place, place.site, away

    def run(self) -> None:
        try:
            for _ in range(CHANGES):
                for change in (
                    {"is_suspended": True}, {"site": self.away}, {"site": self.home}, {"is_suspended": False},
                ):  # fmt: skip
                    placement_change(Device.objects.get(pk=self.place.device_id), **change)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error
        finally:
            connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_a_device_moves_while_it_and_its_site_change(
    cloud: Cloud, organization: Organization, site: Site, place: SiteDevice
) -> None:
    away = sites.site_create(organization=organization, name="away")
    writers: list[Writer] = [
        Writer(0, f"site/{site.number}", cloud.key, "site"),
        Mover(place, away, cloud.key),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.error for writer in writers] == [None, None]
    recompute.drain()
    config = Config.objects.select_related("revision").get(device_id=place.device_id)
    assert (config.hold, config.is_stale, config.problem) == ("", False, "")
    assert len(cloud.get(f"devices/{place.number}/config").json()) == CHANGES
    (file,) = files_in(config.revision.artefact)  # type: ignore[union-attr]
    assert file.contents.count(b"option w0c") == CHANGES
