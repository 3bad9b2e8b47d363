"""Deleted configurations: found again, looked at, and brought back."""

from typing import Any

import pytest
from django.test import Client

from boot.images import collection
from boot.models import BootConfig, BootVersion
from boot.models_images import Image
from tenancy.models import ApiKey, AuditEvent, Membership, Organization
from tests import factories
from tests.boot.api.conftest import BASE
from tests.boot.api.test_configs import DEVICE, made_config, script
from tests.boot.api.test_images import stored
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db


@pytest.fixture
def gone(operator: Api, key: ApiKey) -> str:
    """Write a configuration twice and delete it; returns the address below its key."""
    row = made_config(operator, key, bootcode=script("echo one\n"), config={"password": "hunter2-hunter2"})
    operator.patch(f"configs/{row['id']}/", {"bootcode": script("echo two\n")})
    assert operator.delete(f"configs/{row['id']}/").status_code == 204
    return f"keys/{key.pk}/"


def test_what_was_deleted_is_listed_until_it_comes_back(
    operator: Api, viewer: Api, key: ApiKey, gone: str
) -> None:
    made_config(operator, key, "default")
    rows = viewer.get("deleted-configs/").json()["results"]
    assert [(row["device"], row["version"], row["key"]["name"]) for row in rows] == [(DEVICE, 3, "pis")]
    assert viewer.get("deleted-configs/", device="default").json()["count"] == 0
    assert viewer.get("deleted-configs/", key=str(key.pk)).json()["count"] == 1
    assert viewer.get("deleted-configs/", deleted__gte="2020-01-01T00:00:00Z").json()["count"] == 1
    assert viewer.get("deleted-configs/", deleted__lt="2020-01-01T00:00:00Z").json()["count"] == 0
    operator.post(f"{gone}restore/", {"device": DEVICE})
    assert viewer.get("deleted-configs/").json()["count"] == 0
    # Deleted a second time it is there once.
    row = operator.get("configs/", device=DEVICE).json()["results"][0]
    operator.delete(f"configs/{row['id']}/")
    assert [one["version"] for one in viewer.get("deleted-configs/").json()["results"]] == [5]


def test_it_comes_back_as_it_was_last_or_in_a_version(
    operator: Api, made: tuple[ApiKey, str], gone: str
) -> None:
    versions = operator.get(f"{gone}versions/", device=DEVICE).json()
    assert [(one["version"], one["document"] is None) for one in versions] == [
        (3, True), (2, False), (1, False),
    ]  # fmt: skip
    answer = operator.post(f"{gone}restore/", {"device": DEVICE})
    assert answer.status_code == 201
    assert (answer.json()["version"], answer.json()["bootcode"]) == (4, script("echo two\n"))
    served = Client().get(f"/boot/{DEVICE}/config", headers={"X-Api-Key": made[1]})
    assert served.json()["bootcode"] == script("echo two\n")
    there = operator.post(f"{gone}restore/", {"device": DEVICE, "version": 1})
    assert there.status_code == 409 and "bring its versions back there" in there.json()["detail"]
    operator.delete(f"configs/{answer.json()['id']}/")
    again = operator.post(f"{gone}restore/", {"device": DEVICE, "version": 1}).json()
    assert (again["version"], again["bootcode"]) == (6, script("echo one\n"))
    assert AuditEvent.objects.filter(action="boot_config.created", target_id=again["id"]).exists()


@pytest.mark.parametrize(
    ("sent", "status", "member"),
    [
        ({"device": "never"}, 400, "version"),
        ({"device": DEVICE, "version": 3}, 400, "version"),
        ({"device": DEVICE, "version": 99}, 400, "version"),
        ({"device": DEVICE, "version": 10**12}, 400, "version"),
        ({"device": ""}, 400, "device"),
        ({}, 400, "device"),
    ],
)
def test_what_cannot_come_back_says_why(
    operator: Api, gone: str, sent: dict[str, Any], status: int, member: str
) -> None:
    answer = operator.post(f"{gone}restore/", sent)
    assert answer.status_code == status and list(answer.json()) == [member]
    assert not BootConfig.objects.exists() and BootVersion.objects.count() == 3


def test_viewers_look_and_operators_restore_and_secrets_stay_marks(
    viewer: Api, org: Organization, gone: str
) -> None:
    assert viewer.post(f"{gone}restore/", {"device": DEVICE}).status_code == 403
    blind = factories.user(role="operator", organization=org)
    Membership.objects.filter(user=blind).update(can_reveal=False)
    answer = api_as(blind, BASE).get(f"{gone}versions/", device=DEVICE)
    assert answer.status_code == 200 and "hunter2" not in answer.content.decode()
    assert api_as(blind, BASE).get(f"{gone}versions/").status_code == 400


def test_an_image_that_a_deleted_configuration_names_stays(operator: Api, key: ApiKey) -> None:
    stored(operator, key, "a")
    row = made_config(operator, key, rootfs={"url": "http://x/images/own/a"})
    operator.delete(f"configs/{row['id']}/")
    Image.objects.update(created="2020-01-01T00:00:00Z")
    assert collection.images_collect(days=1).images == ()
