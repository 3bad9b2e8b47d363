"""What is on its way to a device, in the cloud dialect's words."""

from datetime import timedelta
from typing import Any

from config_merge.delivery import again, drift
from config_merge.models import Config, ConfigTask, Site, SiteDevice
from config_merge.services import places, recompute, reports
from core.clock import now
from devices.models import Device
from tests import factories
from tests.config_merge.api.documented import fault
from tests.config_merge.pub_v1.conftest import Cloud


def tasks(cloud: Cloud, place: SiteDevice, query: str = "") -> Any:
    path = f"device/{place.number}/tasks"
    answer = cloud.get(f"{path}{query}")
    assert fault("GET", "/pub/v1/device/{number}/tasks", answer.status_code, answer.content) == ""
    return answer.json()


def count(cloud: Cloud, path: str) -> int:
    return int(cloud.get(f"{path}/config-changes").json()["unfinishedTaskCount"])


def test_a_change_is_queued_and_done_when_the_device_says_so(
    cloud: Cloud, site: Site, place: SiteDevice
) -> None:
    cloud.change(f"device/{place.number}", {"ntp/server": {"value": "a", "origin": "device"}})
    (row, *_) = tasks(cloud, place)
    assert (row["kind"], row["state"], row["attempts"], row["error"]) == ("change", "queued", 0, "")
    config = Config.objects.select_related("revision").get(device=place.device)
    assert config.revision is not None
    assert (row["config_sha256"], row["device_id"]) == (config.revision.sha256, str(place.number))
    assert row["created_at"].endswith("Z") and row["finished_at"] is None
    assert count(cloud, f"device/{place.number}") == count(cloud, f"site/{site.number}") == 1
    reports.take(reports.Report(config.pk, place.device_id, "applied", checksum=config.checksum))
    assert tasks(cloud, place)[0]["state"] == "done"
    assert count(cloud, f"device/{place.number}") == count(cloud, f"site/{site.number}") == 0


def test_what_is_yet_to_be_computed_counts_once(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    other = places.place_create(site, serial="2", mac_address=factories.mac(), name="ap-2")
    for each in (place, other):
        config = factories.config_of(each.device)
        reports.take(reports.Report(config.pk, each.device_id, "applied", checksum=config.checksum))
    path = f"site/{site.number}"
    assert count(cloud, path) == 0
    changed = cloud.change(path, {"ntp/server": {"value": "a", "origin": "site"}})
    assert changed.json()["unfinishedTaskCount"] == 2
    recompute.drain()
    assert count(cloud, path) == 2, "the tasks took the place of the computations"
    cloud.change(path, {"ntp/server": {"value": "b", "origin": "site"}})
    assert count(cloud, path) == 2, "a task that waits will be superseded"
    recompute.drain()
    ConfigTask.objects.filter(device=place.device, state="pending").update(
        state="running", started_at=now(), lease_until=now() + timedelta(minutes=1)
    )
    cloud.change(path, {"ntp/server": {"value": "c", "origin": "site"}})
    assert count(cloud, path) == 3, "one runs, and another will come after it"
    places.place_update(place, is_suspended=True)
    assert count(cloud, path) == 2, "nothing new comes for a suspended device"


def test_a_difference_on_the_device_asks_for_a_full_push(cloud: Cloud, site: Site, place: SiteDevice) -> None:
    config = factories.config_of(place.device)
    reports.take(reports.Report(config.pk, place.device_id, "applied", checksum=config.checksum))
    paths = (f"device/{place.number}", f"site/{site.number}")
    assert [cloud.get(f"{path}/config-changes").json()["configResync"] for path in paths] == [False, False]
    drift.measured({place.device_id: "0" * 64})
    assert [cloud.get(f"{path}/config-changes").json()["configResync"] for path in paths] == [True, True]
    places.place_update(place, is_retired=True)
    assert not cloud.get(f"{paths[1]}/config-changes").json()["configResync"], "it is no longer looked after"


def test_lists_are_paged_and_cost_the_same(
    cloud: Cloud, place: SiteDevice, django_assert_max_num_queries: Any
) -> None:
    for _ in range(6):
        again.push_again(place.device)
    everything = tasks(cloud, place)
    assert len(everything) >= 6
    assert [row["created_at"] for row in everything] == sorted(
        (row["created_at"] for row in everything), reverse=True
    )
    assert tasks(cloud, place, "?limit=2&offset=1") == everything[1:3]
    with django_assert_max_num_queries(5):
        tasks(cloud, place)
    assert cloud.get("device/1/tasks").status_code == 404


def test_a_linked_device_is_online_and_one_that_lost_its_link_is_not(cloud: Cloud, place: SiteDevice) -> None:
    at = now()
    Device.objects.update(last_seen=at)
    assert cloud.get(f"device/{place.number}").json()["status_id"] == "STATUS_ONLINE"
    Device.objects.update(unlinked_at=at)
    row = cloud.get(f"device/{place.number}").json()
    assert (row["status_id"], row["health_id"]) == ("STATUS_OFFLINE", "HEALTH_CRITICAL")
