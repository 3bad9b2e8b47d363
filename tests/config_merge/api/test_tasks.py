"""Tasks, presence and drift over REST."""

import uuid
from typing import Any

import pytest

from config_merge.delivery import again, drift, outcomes
from config_merge.delivery.states import State, move
from config_merge.models import ConfigTask, SiteDevice
from config_merge.services import configs, places, recompute, reports, sites
from core.clock import now
from devices.models import Device, Link, LinkServer
from tenancy.models import Organization
from tests import factories
from tests.config_merge.api.conftest import Api
from tests.config_merge.api.documented import fault


@pytest.fixture
def device(org: Organization) -> Device:
    return factories.configured(org)


def documented(answer: Any, method: str, path: str) -> Any:
    assert fault(method, f"/api/v1/controller/{path}", answer.status_code, answer.content) == ""
    return answer.json()


def test_a_list_filters_orders_and_tells_no_log(operator: Api, org: Organization, device: Device) -> None:
    site = sites.site_create(organization=org, name="s")
    place = places.place_create(site, serial="1", mac_address=factories.mac())
    again.push_again(device)
    body = documented(operator.get("task/"), "GET", "task/")
    assert body["count"] == ConfigTask.objects.count() == 3
    assert [row["state"] for row in body["results"]] == ["pending", "pending", "superseded"]
    assert "log" not in body["results"][0]

    def found(**query: str) -> list[str]:
        return [row["id"] for row in operator.get("task/", **query).json()["results"]]

    first = ConfigTask.objects.get(state="superseded")
    assert found(state="superseded") == [str(first.pk)]
    assert found(site=str(site.pk)) == [str(ConfigTask.objects.get(device=place.device).pk)]
    assert len(found(device=str(device.pk))) == 2
    assert found(kind="resync", device=str(device.pk)) == [str(ConfigTask.objects.get(kind="resync").pk)]
    assert found(ordering="created")[0] == str(ConfigTask.objects.earliest("created").pk)
    assert len(found(organization=str(org.pk))) == 3
    assert operator.get("task/", state="nonsense").status_code == 400
    assert operator.get("task/", ordering="error").status_code == 400
    listed = operator.get(f"device/{device.pk}/task/", state="pending")
    assert documented(listed, "GET", "device/{id}/task/")["count"] == 1


def test_one_task_tells_what_its_device_told(operator: Api, device: Device) -> None:
    task = again.push_again(device)
    move(ConfigTask.objects.filter(pk=task.pk), State.SENT, attempt=1)
    step = outcomes.Step(task.pk, device.pk, 1, "written", "option key 'hunter2hunter2'", True, 60)
    outcomes.progressed([step])
    body = documented(operator.get(f"task/{task.pk}/"), "GET", "task/{id}/")
    assert (body["state"], body["attempt"], body["kind"]) == ("running", 1, "resync")
    (told,) = body["log"]
    assert told["step"] == "written" and "hunter2" not in str(body)


def test_a_push_is_asked_for_and_taken_back(operator: Api, viewer: Api, device: Device) -> None:
    assert viewer.post(f"device/{device.pk}/push/").status_code == 403
    answer = operator.post(f"device/{device.pk}/push/")
    body = documented(answer, "POST", "device/{id}/push/")
    assert (answer.status_code, body["state"], body["kind"]) == (201, "pending", "resync")
    path = f"task/{body['id']}/cancel/"
    assert viewer.post(path).status_code == 403
    assert documented(operator.post(path), "POST", "task/{id}/cancel/")["state"] == "cancelled"
    again = operator.post(path)
    assert again.status_code == 409 and "ended" in again.json()["detail"]


def test_what_cannot_be_pushed_says_why(operator: Api, org: Organization) -> None:
    bare = operator.post(f"device/{factories.device(org).pk}/push/")
    assert bare.status_code == 409 and "no configuration" in bare.json()["detail"]
    site = sites.site_create(organization=org, name="s")
    place = places.place_create(site, serial="1", mac_address=factories.mac())
    places.place_update(place, is_suspended=True)
    held = operator.post(f"device/{place.device_id}/push/")
    assert held.status_code == 403 and "suspended" in held.json()["detail"]


def test_presence_tells_by_what_a_device_is_reached(viewer: Api, device: Device) -> None:
    path = f"device/{device.pk}/presence/"
    body = documented(viewer.get(path), "GET", "device/{id}/presence/")
    assert (body["is_online"], body["is_linked"], body["linked_since"], body["agent"]) == (
        False, False, None, "",
    )  # fmt: skip
    at = now()
    server = LinkServer.objects.create(started_at=at, beat_at=at)
    Link.objects.create(
        device=device, server=server, epoch=uuid.uuid4(), key_digest="x", opened_at=at, agent="muster-agent/1",
        capabilities=["config.apply"], telemetry={"load": 0.5}, telemetry_at=at,
    )  # fmt: skip
    body = documented(viewer.get(path), "GET", "device/{id}/presence/")
    assert (body["is_online"], body["is_linked"], body["agent"]) == (True, True, "muster-agent/1")
    assert body["linked_since"] is not None and body["telemetry"] == {"load": 0.5}
    assert "key_digest" not in body and "epoch" not in body


def test_drift_tells_both_digests_and_asks_only_linked_devices(
    operator: Api, viewer: Api, device: Device
) -> None:
    path = f"device/{device.pk}/drift/"
    assert documented(viewer.get(path), "GET", "device/{id}/drift/")["drift"] == "unknown"
    config = factories.config_of(device)
    reports.take(reports.Report(config.pk, device.pk, "applied", checksum=config.checksum))
    drift.measured({device.pk: "0" * 64})
    body = viewer.get(path).json()
    assert (body["drift"], body["actual"]) == ("differs", "0" * 64)
    assert len(body["expected"]) == 64 and body["actual_at"]
    for asked in (operator.post(f"{path}preview/"), operator.post(path, {"actual": "0" * 64})):
        assert asked.status_code == 409 and "not linked" in asked.json()["detail"]
    assert viewer.post(f"{path}preview/").status_code == 403
    assert operator.post(path, {}).status_code == 400
    drift.measured({device.pk: body["expected"]})
    assert viewer.get(path).json()["drift"] == "matches"
    reports.take(reports.Report(config.pk, device.pk, "applied", checksum=config.checksum))
    assert viewer.get(path).json()["drift"] == "matches", "it said the same once more"


@pytest.mark.parametrize("how", ["plain", "with its checksum", "among others"])
def test_what_was_measured_says_nothing_of_what_is_confirmed_later(
    viewer: Api, org: Organization, device: Device, how: str
) -> None:
    path, config = f"device/{device.pk}/drift/", factories.config_of(device)
    reports.take(reports.Report(config.pk, device.pk, "applied", checksum=config.checksum))
    body = viewer.get(path).json()
    drift.measured({device.pk: body["expected"]})
    configs.config_update(config, config={"general": {"hostname": "other"}})
    recompute.drain()
    checksum = factories.config_of(device).checksum if how == "with its checksum" else ""
    said = [reports.Report(config.pk, device.pk, "applied", checksum=checksum)]
    if how == "among others":
        other = factories.config_of(factories.configured(org))
        said.append(reports.Report(other.pk, other.device_id, "applied"))
    assert viewer.get(path).json()["drift"] == "matches", "it has what it confirmed"
    reports.take_many(said)
    later = viewer.get(path).json()
    assert (later["drift"], later["actual"]) == ("unknown", body["expected"])
    assert later["expected"] not in ("", later["actual"])
    drift.measured({device.pk: later["actual"]})
    assert viewer.get(path).json()["drift"] == "differs"


def test_a_device_of_a_site_is_told_apart_by_it(operator: Api, org: Organization) -> None:
    site = sites.site_create(organization=org, name="s")
    place = places.place_create(site, serial="1", mac_address=factories.mac())
    row = operator.get("task/").json()["results"][0]
    assert (row["site"], row["device"]) == (str(site.pk), str(place.device_id))
    assert SiteDevice.objects.count() == 1
