"""Tasks of devices in the cloud dialect: what was sent, how far it is, how many have not ended."""

from typing import Any
from uuid import uuid4

from config_merge.delivery import again, claims, words
from config_merge.models import Config, ConfigTask, Site, SiteDevice
from config_merge.services import places, recompute, reports
from core.clock import now
from devices.events import Opening
from devices.link import presence
from tests.config_merge.pub_v1.conftest import Cloud
from tests.config_merge.pub_v1.test_rooms import text
from tests.config_merge.pub_v1.test_settings import at_device, at_site, entry

SERVER = uuid4()


def linked(place: SiteDevice) -> None:
    """Open a link of the device."""
    opening = Opening(
        device_id=place.device_id,
        epoch=SERVER,
        key_digest="k",
        capabilities=("config.apply",),
        applied="",
        busy=None,
    )
    presence.links_open(SERVER, [opening])


def left(cloud: Cloud, path: str) -> int:
    return int(cloud.get(f"{path}/config-changes").json()["unfinishedTaskCount"])


def tasks(cloud: Cloud, place: SiteDevice, query: str = "") -> Any:
    return cloud.get(f"device/{place.number}/tasks{query}").json()


def applied(place: SiteDevice) -> None:
    """The device says that it has what it should have."""
    config = Config.objects.get(device_id=place.device_id)
    reports.take(reports.Report(config.pk, place.device_id, "applied", checksum=config.checksum))


def test_a_task_from_the_change_to_the_devices_word(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    applied(place)
    assert (left(cloud, f"device/{place.number}"), left(cloud, f"site/{site.number}")) == (0, 0)
    answer = at_device(cloud, place, {"ntp/server": entry("a")})
    assert answer.json()["unfinishedTaskCount"] == 1
    body, *_ = tasks(cloud, place)
    assert list(body) == [
        "id", "device_id", "kind", "state", "config_sha256", "attempts", "created_at", "sent_at", "started_at",
        "finished_at", "error",
    ]  # fmt: skip
    assert (body["kind"], body["state"], body["attempts"]) == ("change", "queued", 0)
    assert body["device_id"] == str(place.number)
    assert body["config_sha256"] == Config.objects.get(device=place.device).revision.sha256  # type: ignore[union-attr]
    linked(place)
    assert cloud.get(f"device/{place.number}").json()["status_id"] == "STATUS_ONLINE"
    ConfigTask.objects.update(due_at=now())
    (push,) = claims.claimed(SERVER, 10)
    assert tasks(cloud, place)[0] | {"state": "sent", "attempts": 1} == tasks(cloud, place)[0]
    assert left(cloud, f"device/{place.number}") == 1
    words.ended([words.Ended(place.device_id, "applied", push.checksum, push.task_id)])
    done = tasks(cloud, place)[0]
    assert (done["id"], done["state"], done["error"]) == (str(push.task_id), "done", "")
    assert done["finished_at"].endswith("Z")
    assert (left(cloud, f"device/{place.number}"), left(cloud, f"site/{site.number}")) == (0, 0)


def test_a_sites_change_counts_before_and_after_it_is_computed(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    other = places.place_create(site, serial="2", mac_address="00:00:00:00:00:18")
    for each in (place, other):
        applied(each)
    assert at_site(cloud, site, {"ntp/server": {"value": "a"}}).json()["unfinishedTaskCount"] == 2
    recompute.drain()
    assert left(cloud, f"site/{site.number}") == 2
    # A newer change takes the place of what was not sent.
    at_site(cloud, site, {"ntp/server": {"value": "b"}})
    recompute.drain()
    assert left(cloud, f"site/{site.number}") == 2
    assert [each["state"] for each in tasks(cloud, place)[:2]] == ["queued", "superseded"]
    applied(place)
    assert (left(cloud, f"site/{site.number}"), left(cloud, f"device/{place.number}")) == (1, 0)
    # What is held does not count: nothing is on its way.
    places.place_update(other, is_suspended=True)
    assert left(cloud, f"site/{site.number}") == 0


def test_a_failure_is_told(cloud: Cloud, place: SiteDevice) -> None:
    applied(place)
    at_device(cloud, place, {"ntp/server": entry("a")})
    linked(place)
    (push,) = claims.claimed(SERVER, 10)
    words.ended([words.Ended(place.device_id, "rolled_back", push.checksum, push.task_id, "lost contact")])
    body = tasks(cloud, place)[0]
    assert (body["state"], body["error"]) == ("rolled_back", "lost contact")
    assert left(cloud, f"device/{place.number}") == 0
    assert cloud.get(f"device/{place.number}").json()["health_id"] == "HEALTH_WARNING"


def test_held_devices_are_sent_nothing_and_get_it_when_they_are_released(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    applied(place)
    path = f"device/{place.number}"
    at_device(cloud, place, {"ntp/server": entry("a")})
    linked(place)
    for flag in ("suspend_config", "blocked"):
        assert cloud.ask("PUT", path, {flag: True}).status_code == 200
        ConfigTask.objects.update(due_at=now())
        assert claims.claimed(SERVER, 10) == []
        assert tasks(cloud, place)[0]["state"] == "cancelled"
        at_site(cloud, site, {"log/size": {"value": flag}})
        recompute.drain()
        assert left(cloud, path) == 0
        assert cloud.ask("PUT", path, {flag: False}).status_code == 200
        assert tasks(cloud, place)[0]["state"] == "queued"
        assert left(cloud, path) == 1
    again.push_again(place.device)
    assert tasks(cloud, place)[0]["kind"] == "resync"


def test_nothing_a_suspended_device_says_over_its_link_is_processed(cloud: Cloud, place: SiteDevice) -> None:
    applied(place)
    at_device(cloud, place, {"ntp/server": entry("a")})
    linked(place)
    (push,) = claims.claimed(SERVER, 10)
    cloud.ask("PUT", f"device/{place.number}", {"suspend_config": True})
    before = Config.objects.values().get(device_id=place.device_id)
    words.ended([words.Ended(place.device_id, "applied", push.checksum, push.task_id)])
    linked(place)
    assert Config.objects.values().get(device_id=place.device_id) == before
    assert tasks(cloud, place)[0]["state"] != "done"


def test_pages_and_what_is_not_there(cloud: Cloud, place: SiteDevice) -> None:
    for value in "abc":
        at_device(cloud, place, {"ntp/server": entry(value)})
    whole = tasks(cloud, place)
    assert len(whole) >= 3
    assert tasks(cloud, place, "?limit=1&offset=1") == whole[1:2]
    assert text(cloud.get(f"device/{place.number}/tasks?limit=x"))[0] == 400
    assert text(cloud.get("device/1/tasks"))[0] == 404
