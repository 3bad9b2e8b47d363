"""Tracks, adoption and quotas over REST."""

from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from tenancy.models import ApiKey, AuditEvent, Organization
from tests import factories
from tests.boot.api.conftest import BASE
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
MAC = "b8:27:eb:00:00:01"


def say(text: str, device: str, info: str) -> None:
    answer = Client().post(
        f"/track/{device}", {"info": info}, content_type="application/json", headers={"X-Api-Key": text}
    )
    assert answer.status_code == 200, answer.content


def test_what_devices_say_is_a_timeline(viewer: Api, made: tuple[ApiKey, str]) -> None:
    for number in range(12):
        say(made[1], MAC, f"n{number}")
    say(made[1], "default", "hello")
    listed = viewer.get("tracks/").json()["results"]
    assert [row["device"] for row in listed] == ["default", MAC]
    row = viewer.get(f"tracks/{listed[1]['id']}/").json()
    assert [entry["text"] for entry in row["entries"]] == [f"n{number}" for number in range(2, 12)]
    assert row["is_active"] and row["inventory"] is None and row["mac_address"] == MAC


def test_a_tracked_device_is_adopted_with_one_call_and_only_once(
    operator: Api, viewer: Api, made: tuple[ApiKey, str], org: Organization
) -> None:
    say(made[1], MAC, "hello")
    path = f"tracks/{viewer.get('tracks/').json()['results'][0]['id']}/"
    assert viewer.post(f"{path}adopt/").status_code == 403
    adopted = operator.post(f"{path}adopt/", {"name": "pi-1"}).json()
    device = Device.objects.get()
    assert (str(device.pk), device.name, device.organization) == (adopted["id"], "pi-1", org)
    assert operator.post(f"{path}adopt/", {"name": "other"}).json() == adopted
    assert viewer.get(path).json()["inventory"] == adopted
    assert viewer.get("tracks/").json()["results"][0]["inventory"] == adopted
    assert AuditEvent.objects.filter(action__startswith="device.", target_id=str(device.pk)).exists()


def test_a_device_without_a_mac_address_needs_one(operator: Api, made: tuple[ApiKey, str]) -> None:
    say(made[1], "kitchen", "hello")
    path = f"tracks/{operator.get('tracks/').json()['results'][0]['id']}/adopt/"
    refused = operator.post(path)
    assert refused.status_code == 400 and list(refused.json()) == ["mac_address"]
    assert operator.post(path, {"mac_address": "nonsense"}).status_code == 400
    assert operator.post(path, {"mac_address": MAC, "name": "kitchen"}).status_code == 200


def test_gauges_follow_what_is_used(viewer: Api, made: tuple[ApiKey, str]) -> None:
    def gauges() -> dict[str, Any]:
        rows = viewer.get(f"keys/{made[0].pk}/quotas/").json()
        return {row["operation"]: row for row in rows}

    assert {name: row["limit"] for name, row in gauges().items()} == {
        "boot_get": 60, "boot_post": 10, "boot_delete": 10, "image_get": 10,
        "track_list": 300, "track_get": 300, "track_post": 120,
    }  # fmt: skip
    say(made[1], MAC, "one")
    say(made[1], MAC, "two")
    row = gauges()["track_post"]
    assert (row["used"], row["left"], row["limit"]) == (2, 118, 120)
    assert row["resets_at"].endswith(":00:00Z")
    assert gauges()["boot_get"]["used"] == 0


def test_superusers_give_an_organization_its_own_limits(
    root: Api, org: Organization, made: tuple[ApiKey, str], viewer: Api
) -> None:
    path = f"organization/{org.pk}/quotas/"
    assert root.patch(path, {"track_post": 1, "image_get": 500}).status_code == 200
    own = {row["operation"]: row["own"] for row in viewer.get(path).json()}
    assert (own["track_post"], own["image_get"], own["boot_get"]) == (1, 500, None)
    say(made[1], MAC, "one")
    answer = Client().post(
        f"/track/{MAC}", {"info": "two"}, content_type="application/json", headers={"X-Api-Key": made[1]}
    )
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 0
    assert root.patch(path, {"track_post": None}).json()[-1]["own"] is None
    say(made[1], MAC, "two")
    assert root.patch(path, {"track_post": -1}).status_code == 400
    misspelt = root.patch(path, {"track_post": 3, "image_gets": 7})
    assert (misspelt.status_code, list(misspelt.json())) == (400, ["image_gets"])
    assert root.get(path).json()[-1]["own"] is None
    assert viewer.patch(path, {"track_post": 7}).status_code == 403


def test_superusers_say_how_much_of_images_an_organization_keeps(
    root: Api, org: Organization, viewer: Api
) -> None:
    path = f"organization/{org.pk}/image-limits/"
    assert viewer.get(path).json()["used"] == 0
    assert root.patch(path, {"largest": 1000, "total": 5000}).json() == {
        "largest": 1000, "total": 5000, "used": 0, "coming": 0, "left": 5000,
    }  # fmt: skip
    assert root.patch(path, {"total": 6000}).json()["largest"] == 1000
    assert viewer.patch(path, {"total": 1}).status_code == 403


def test_keys_are_shown_by_id_and_state(viewer: Api, made: tuple[ApiKey, str], org: Organization) -> None:
    factories.api_key(made[0].user, org, name="reader", read_only=True)
    answer = viewer.get("keys/")
    assert {(row["name"], row["state"]) for row in answer.json()["results"]} == {
        ("pis", "active"),
        ("reader", "read_only"),
    }
    assert made[1].partition(".")[2] not in answer.content.decode()
    assert made[0].digest not in answer.content.decode()


def test_managers_ask_for_less_than_superusers_allow_and_never_for_more(
    root: Api, org: Organization, made: tuple[ApiKey, str], operator: Api
) -> None:
    manager = api_as(made[0].user, BASE)
    path = f"organization/{org.pk}/quotas/"

    def track_post() -> tuple[int, int, int | None, int]:
        row = {row["operation"]: row for row in manager.get(path).json()}["track_post"]
        return row["standard"], row["allowed"], row["own"], row["limit"]

    assert track_post() == (120, 120, None, 120)
    assert manager.patch(path, {"track_post": 1}).status_code == 200
    assert track_post() == (120, 120, 1, 1)
    say(made[1], MAC, "one")
    answer = Client().post(
        f"/track/{MAC}", {"info": "two"}, content_type="application/json", headers={"X-Api-Key": made[1]}
    )
    assert answer.status_code == 429
    refused = manager.patch(path, {"boot_get": 5, "track_post": 121})
    assert refused.status_code == 400
    assert "At most 120 are allowed here" in refused.json()["track_post"][0]
    assert {row["operation"]: row["own"] for row in manager.get(path).json()}["boot_get"] is None
    assert root.patch(path, {"track_post": 500}).status_code == 200
    assert track_post() == (120, 500, 500, 500)
    assert manager.patch(path, {"track_post": 300}).status_code == 200
    assert track_post() == (120, 500, 300, 300)
    assert manager.patch(path, {"track_post": None}).status_code == 200
    assert track_post() == (120, 500, 500, 500)
    assert root.patch(path, {"track_post": None}).status_code == 200
    assert track_post() == (120, 120, None, 120)
    assert operator.patch(path, {"track_post": 1}).status_code == 403
    event = AuditEvent.objects.filter(action="quota.set").latest("created")
    assert event.changes["amount"] == [300, 500]


def test_everything_of_a_key_goes_to_another(
    operator: Api, viewer: Api, made: tuple[ApiKey, str], org: Organization
) -> None:
    say(made[1], MAC, "hello")
    assert operator.post("configs/", {"key": str(made[0].pk), "device": MAC}).status_code == 201
    other, text = factories.api_key(made[0].user, org, name="new")
    path, body = f"keys/{made[0].pk}/transfer/", {"to": str(other.pk), "move": True}
    would = operator.post(path, {**body, "dry_run": True}).json()
    assert (would["dry_run"], would["possible"], would["to"]["name"]) == (True, True, "new")
    assert [(line["what"], line["name"], line["outcome"]) for line in would["lines"]] == [
        ("config", MAC, "moved"), ("track", MAC, "moved"),
    ]  # fmt: skip
    assert operator.get("configs/", key=str(other.pk)).json()["count"] == 0
    assert viewer.post(path, body).status_code == 403
    assert operator.post(path, body).json()["lines"] == would["lines"]
    assert Client().get(f"/boot/{MAC}/config", headers={"X-Api-Key": text}).status_code == 200
    assert operator.post("configs/", {"key": str(made[0].pk), "device": MAC, "config": 1}).status_code == 201
    refused = operator.post(path, body)
    assert refused.status_code == 400 and list(refused.json()) == ["conflicts"]
    assert operator.post(path, {"to": str(made[0].pk)}).json()["to"]
    assert operator.post(path, {**body, "conflicts": "nonsense"}).status_code == 400
