"""Boot configurations over REST: the same rules as at the dialect's door, and what only people have."""

import base64
from typing import Any

import pytest
from django.test import Client

from boot.models import BootConfig, BootVersion
from tenancy.models import ApiKey, AuditEvent, Membership, Organization
from tests import factories
from tests.boot.api.conftest import BASE
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
DEVICE = "b8:27:eb:00:00:01"


def script(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def made_config(api: Api, key: ApiKey, device: str = DEVICE, **document: Any) -> dict[str, Any]:
    answer = api.post("configs/", {"key": str(key.pk), "device": device, **document})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def served(text: str, device: str = DEVICE) -> Any:
    return Client().get(f"/boot/{device}/config", headers={"X-Api-Key": text})


def test_what_people_write_is_what_devices_get(operator: Api, made: tuple[ApiKey, str]) -> None:
    row = made_config(operator, made[0], bootcode=script("echo hi\n"), config={"autoupdate": True})
    assert (row["device"], row["version"], row["key"]["key_id"]) == (DEVICE, 1, made[0].key_id)
    answer = served(made[1])
    assert row["size"] == len(answer.content)
    assert answer.json() == {
        name: row[name] for name in ("initfs", "rootfs", "bootcode", "usercode", "config")
    }
    changed = operator.patch(f"configs/{row['id']}/", {"usercode": script("x")}).json()
    assert (changed["version"], changed["bootcode"]) == (2, script("echo hi\n"))
    replaced = operator.put(f"configs/{row['id']}/", {"config": 7}).json()
    assert (replaced["bootcode"], replaced["usercode"], replaced["config"]) == ("", "", 7)
    assert served(made[1]).json()["config"] == 7
    assert operator.delete(f"configs/{row['id']}/").status_code == 204
    assert served(made[1]).status_code == 404


@pytest.mark.parametrize(
    ("sent", "member"),
    [
        ({"bootcode": "no base64!"}, "bootcode"),
        ({"initfs": {"md5sum": "../etc/passwd"}}, "initfs"),
        ({"rootfs": {"url": "ftp://x/y"}}, "rootfs"),
        ({"rootfs": 7}, "rootfs"),
        ({"config": {"a": "x" * 4096}}, "__all__"),
        ({"device": "a/b"}, "device"),
        ({"device": ""}, "device"),
        ({"key": "nonsense"}, "key"),
    ],
)
def test_what_devices_could_not_use_is_refused_by_its_member(
    operator: Api, key: ApiKey, sent: dict[str, Any], member: str
) -> None:
    answer = operator.post("configs/", {"key": str(key.pk), "device": DEVICE, **sent})
    assert answer.status_code == 400 and list(answer.json()) == [member]
    assert not BootConfig.objects.exists()


def test_one_configuration_a_device_and_key(operator: Api, key: ApiKey) -> None:
    made_config(operator, key)
    answer = operator.post("configs/", {"key": str(key.pk), "device": DEVICE})
    assert answer.status_code == 400 and "already" in answer.json()["device"][0]


def test_versions_are_listed_compared_and_brought_back(operator: Api, key: ApiKey) -> None:
    row = made_config(operator, key, bootcode=script("echo one\n"))
    path = f"configs/{row['id']}/"
    operator.patch(path, {"bootcode": script("echo two\n")})
    listed = operator.get(f"{path}versions/").json()
    assert [(one["version"], one["deleted"]) for one in listed] == [(2, False), (1, False)]
    assert operator.get(f"{path}versions/1/").json()["document"]["bootcode"] == script("echo one\n")
    diff = operator.get(f"{path}versions/1/diff/2/").json()["diff"]
    assert "-echo one\n" in diff and "+echo two\n" in diff
    assert operator.get(f"{path}versions/2/diff/2/").json() == {"diff": ""}
    restored = operator.post(f"{path}versions/1/restore/").json()
    assert (restored["version"], restored["bootcode"]) == (3, script("echo one\n"))
    for missing in ("versions/99/", "versions/1/diff/99/"):
        assert operator.get(path + missing).status_code == 404
    operator.delete(path)
    again = made_config(operator, key)
    assert [one["deleted"] for one in operator.get(f"configs/{again['id']}/versions/").json()][:2] == [
        False,
        True,
    ]
    refused = operator.post(f"configs/{again['id']}/versions/4/restore/")
    assert refused.status_code == 400 and BootVersion.objects.count() == 5


def test_what_a_device_would_get_and_why(viewer: Api, operator: Api, key: ApiKey) -> None:
    def asked(device: str = DEVICE) -> Any:
        return viewer.get("effective/", key=str(key.pk), device=device).json()

    assert asked() == {"source": "none", "device": DEVICE, "version": None, "document": None}
    made_config(operator, key, "default", config={"who": "all"})
    assert (asked()["source"], asked()["document"]["config"]) == ("default", {"who": "all"})
    made_config(operator, key, config={"who": "one"})
    assert (asked()["source"], asked()["document"]["config"]) == ("own", {"who": "one"})
    assert asked("default")["source"] == "own"
    for query in (
        {},
        {"key": str(key.pk)},
        {"key": str(key.pk), "device": "a/b"},
        {"key": "x", "device": "a"},
    ):
        assert viewer.get("effective/", **query).status_code == 400


SECRET = "hunter2-hunter2"


@pytest.fixture
def secretive(operator: Api, key: ApiKey) -> dict[str, Any]:
    return made_config(
        operator,
        key,
        bootcode=script(f"#!/bin/sh\nexport WIFI_PASSWORD={SECRET}\n"),
        rootfs={"url": f"http://x.example.org/images/{'a' * 8}.{'b' * 43}/rootfs"},
        config={"password": SECRET, "wpa_supplicant": script(SECRET), "ssid": "x"},
    )


def test_who_may_not_see_secrets_sees_marks_and_can_edit_around_them(
    secretive: dict[str, Any], org: Organization, made: tuple[ApiKey, str]
) -> None:
    blind = factories.user(role="operator", organization=org)
    Membership.objects.filter(user=blind).update(can_reveal=False)
    api, path = api_as(blind, BASE), f"configs/{secretive['id']}/"
    shown = api.get(path)
    said = shown.content.decode() + base64.b64decode(shown.json()["bootcode"]).decode()
    for other in ("versions/1/", "versions/1/diff/1/"):
        said += api.get(path + other).content.decode()
    said += api.get("effective/", key=str(made[0].pk), device=DEVICE).content.decode()
    for secret in (SECRET, script(SECRET), "b" * 43):
        assert secret not in said
    before = served(made[1]).json()
    body = {name: shown.json()[name] for name in ("initfs", "rootfs", "bootcode", "usercode", "config")}
    body["config"]["ssid"] = "y"
    assert api.put(path, body).status_code == 200
    assert served(made[1]).json() == {**before, "config": {**before["config"], "ssid": "y"}}
    changed = base64.b64decode(body["bootcode"]).decode() + "echo more\n"
    refused = api.patch(path, {"bootcode": script(changed)})
    assert refused.status_code == 400 and "marks of secrets" in refused.json()["bootcode"][0]
    assert api.patch(path, {"config": {"ssid": body["config"]["password"]}}).status_code == 400
    assert api.patch(path, {"bootcode": script("echo new\n")}).status_code == 200


def test_who_may_see_secrets_sees_them_and_that_is_written_down(
    secretive: dict[str, Any], org: Organization
) -> None:
    owner = factories.user(role="owner", organization=org)
    Membership.objects.filter(user=owner).update(can_reveal=True)
    answer = api_as(owner, BASE).get(f"configs/{secretive['id']}/").json()
    assert answer["config"]["password"] == SECRET
    assert AuditEvent.objects.filter(
        action="secret.revealed", actor_id=owner.pk, target_type="bootconfig"
    ).exists()
    assert SECRET not in str(list(AuditEvent.objects.values_list("changes", flat=True)))


def test_roles(viewer: Api, operator: Api, key: ApiKey) -> None:
    assert viewer.post("configs/", {"key": str(key.pk), "device": "x"}).status_code == 403
    row = made_config(operator, key)
    assert viewer.get(f"configs/{row['id']}/").status_code == 200
    for answer in (
        viewer.patch(f"configs/{row['id']}/", {}),
        viewer.delete(f"configs/{row['id']}/"),
        viewer.post(f"configs/{row['id']}/versions/1/restore/"),
    ):
        assert answer.status_code == 403


def test_lists_filter_and_search(operator: Api, key: ApiKey, org: Organization) -> None:
    other, _ = factories.api_key(key.user, org, name="lab")
    made_config(operator, key, "default")
    made_config(operator, key)
    made_config(operator, other)

    def found(**query: Any) -> int:
        return int(operator.get("configs/", **query).json()["count"])

    assert (found(), found(key=str(key.pk)), found(device=DEVICE), found(search="lab")) == (3, 2, 2, 1)
