"""Deletions taken back, templates copied, and the addresses editors ask (acceptance list K, 112-117)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from config_merge.exchange.models import DeletedDevice
from config_merge.models import Config, Template
from config_merge.services import configs
from config_merge.services.deleted import deleted_devices_prune
from core.clock import now
from devices.models import Device
from tenancy.models import Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
UNKNOWN = "7a5ae8c0-8ca2-4a0c-9d62-000000000000"


@pytest.fixture
def org(db: None) -> Any:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def other(db: None) -> Any:
    return factories.organization("org-b", name="Beta")


@pytest.fixture
def operator(org: Any) -> Api:
    return api_as(factories.user("operator", role=Role.OPERATOR, organization=org))


@pytest.fixture
def root(db: None) -> Api:
    return api_as(factories.superuser("root"))


def signed_in(organization: Any, role: str = Role.OPERATOR, *, reveal: bool = True) -> Client:
    client = Client()
    person = factories.user(role=role, organization=organization, is_staff=True)
    client.force_login(person if reveal else factories.without_reveal(person))
    return client


# --- deleted devices ----------------------------------------------------------------------------------------


def test_a_deleted_device_comes_back_with_everything(operator: Api, org: Any) -> None:
    group = factories.group(org)
    first, second = factories.template(org, name="b"), factories.template(org, name="a")
    wanted = {"templates": [first, second], "context": {"x": "y"}, "config": factories.interface("wan")}
    device = factories.device(org, name="ap", notes="hello", group=group, config=wanted)
    pk, key = device.pk, device.key
    assert operator.delete(f"device/{pk}/").status_code == 403
    assert not DeletedDevice.objects.exists()
    configs.device_delete(device, force=True)
    (listed,) = operator.get("device/deleted/").json()["results"]
    assert (listed["device_id"], listed["name"], listed["status"]) == (str(pk), "ap", "modified")
    assert key not in json.dumps(listed)
    answer = operator.post(f"device/deleted/{listed['id']}/restore/")
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert (body["id"], body["notes"], body["group"], body["skipped"]) == (
        str(pk),
        "hello",
        str(group.pk),
        [],
    )
    assert body["config"]["status"] == "modified"
    assert body["config"]["templates"] == [str(first.pk), str(second.pk)]
    assert Device.objects.get().key == key
    config = Config.objects.get()
    assert (config.config, config.context) == (wanted["config"], wanted["context"])
    assert operator.get("device/deleted/").json()["count"] == 0
    assert operator.post(f"device/deleted/{listed['id']}/restore/").status_code == 404


def test_what_is_gone_is_skipped_and_named(operator: Api, org: Any) -> None:
    group, template = factories.group(org), factories.template(org, name="vanished")
    device = factories.device(org, group=group, config={"templates": [template]})
    configs.device_delete(device, force=True)
    template.delete()
    group.delete()
    body = operator.post(f"device/deleted/{DeletedDevice.objects.get().pk}/restore/").json()
    assert len(body["skipped"]) == 2
    assert "vanished" in " ".join(body["skipped"])
    assert body["group"] is None


@pytest.mark.parametrize("what", ["name", "mac_address", "limit", "id"])
def test_a_place_that_is_taken_is_a_400_and_the_device_stays_deleted(
    operator: Api, org: Any, what: str
) -> None:
    device = factories.configured(org, name="ap")
    pk, mac = device.pk, device.mac_address
    configs.device_delete(device, force=True)
    if what == "limit":
        factories.device(org)
        factories.fleet_of(org, device_limit=1)
    else:
        factories.device(org, **{what: {"name": "AP", "mac_address": mac, "id": pk}[what]})
    answer = operator.post(f"device/deleted/{DeletedDevice.objects.get().pk}/restore/")
    assert answer.status_code == 400, answer.json()
    assert DeletedDevice.objects.count() == 1
    assert Device.objects.count() == 1


def test_deleted_devices_are_forgotten_after_thirty_days(operator: Api, org: Any) -> None:
    for name in ("old", "new"):
        configs.device_delete(factories.device(org, name=name), force=True)
    old = DeletedDevice.objects.filter(name="old")
    old.update(created=now() - timedelta(days=31))
    assert operator.post(f"device/deleted/{old.get().pk}/restore/").status_code == 404
    assert [row["name"] for row in operator.get("device/deleted/").json()["results"]] == ["new"]
    deleted_devices_prune()
    assert DeletedDevice.objects.get().name == "new"


def test_the_snapshot_is_encrypted(org: Any) -> None:
    from django.db import connection

    device = factories.device(org, config={"context": {"password": "hunter22"}})
    configs.device_delete(device, force=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT snapshot FROM config_merge_deleteddevice")
        (raw,) = cursor.fetchone()
    assert "hunter22" not in raw
    assert device.key not in raw


# --- clones -------------------------------------------------------------------------------------------------


def test_a_copy_has_the_next_name_and_nobody_gets_it(operator: Api, org: Any) -> None:
    template = factories.template(org, name="wifi", required=True, tags=["indoor"], default_values={"a": "b"})
    names = [operator.post(f"template/{template.pk}/clone/", {}).json()["name"] for _ in range(3)]
    assert names == ["wifi (Clone)", "wifi (Clone 2)", "wifi (Clone 3)"]
    copy = Template.objects.get(name="wifi (Clone)")
    assert (copy.default, copy.required, copy.organization) == (False, False, org)
    assert (copy.config, copy.default_values) == (template.config, {"a": "b"})
    assert [tag.name for tag in copy.tag_rows.all()] == ["indoor"]


def test_copies_go_only_into_organizations_one_manages(
    operator: Api, root: Api, org: Any, other: Any
) -> None:
    shared = factories.template(name="n" * 64)
    path = f"template/{shared.pk}/clone/"
    assert operator.post(path, {}).status_code == 400
    assert operator.post(path, {"organization": None}).status_code == 400
    answers = [operator.post(path, {"organization": str(pk)}) for pk in (other.pk, UNKNOWN)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == json.loads(json.dumps(answers[1].json()).replace(UNKNOWN, str(other.pk)))
    made = operator.post(path, {"organization": str(org.pk)})
    assert made.status_code == 201
    assert made.json()["name"] == "n" * 56 + " (Clone)"
    assert root.post(path, {"organization": str(other.pk)}).status_code == 201
    again = root.post(path, {})
    assert (again.status_code, again.json()["organization"]) == (201, None)


def test_secrets_do_not_travel_to_where_they_may_be_revealed(operator: Api, root: Api, org: Any) -> None:
    shared = factories.template(config=factories.interface(), default_values={"wifi_key": "s3cret-wifi"})
    manager = api_as(factories.user(role=Role.MANAGER, organization=org))
    answer = manager.post(f"template/{shared.pk}/clone/", {"organization": str(org.pk)})
    assert answer.status_code == 400
    assert "secrets" in str(answer.json())
    assert root.post(f"template/{shared.pk}/clone/", {"organization": str(org.pk)}).status_code == 201


# --- helpers of editors -------------------------------------------------------------------------------------


def test_the_schemas_are_for_those_who_signed_in_and_hide_the_host_name(operator: Api, org: Any) -> None:
    refused = Client().get("/config/schema.json")
    assert (refused.status_code, list(refused.json())) == (403, ["error"])
    assert Client().get("/config/schema.json", headers={"Authorization": "Bearer no"}).status_code == 403
    answer = signed_in(org, Role.VIEWER).get("/config/schema.json")
    assert answer.status_code == 200
    assert set(answer.json()) == {"netjsonconfig.OpenWrt", "netjsonconfig.OpenWisp"}
    for schema in answer.json().values():
        assert "hostname" not in schema["properties"]["general"]["properties"]
    bearer = operator.client.get("/config/schema.json")
    assert bearer.status_code == 200
    again = operator.client.get("/config/schema.json", headers={"If-Modified-Since": answer["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")


def form(device: Any, **changes: Any) -> dict[str, str]:
    return {
        "id": str(device.pk), "organization": str(device.organization_id), "name": device.name,
        "mac_address": device.mac_address, "key": device.key, "backend": "netjsonconfig.OpenWrt", "config": "{}",
        "context": "{}", "templates": "", "group": "", "os": "", **changes,
    }  # fmt: skip


PREVIEW = "/admin/config/device/preview/"


def test_a_preview_honours_order_and_what_was_not_saved(org: Any) -> None:
    client, device = signed_in(org), factories.configured(org)
    first = factories.template(org, config={"general": {"timezone": "UTC", "description": "first"}})
    second = factories.template(org, config={"general": {"description": "second {{ word }}"}})
    for ids, said in (((first, second), "second unsaved"), ((second, first), "first")):
        templates = ",".join(str(row.pk) for row in ids)
        sent = form(device, templates=templates, context='{"word": "unsaved"}', name="unsaved-name")
        answer = client.post(PREVIEW, sent)
        assert answer.status_code == 200, answer.content
        text = answer.content.decode()
        assert f"option description '{said}'" in text
        assert "option hostname 'unsaved-name'" in text
    device.refresh_from_db()
    assert device.name != "unsaved-name"


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "{nope"},
        {"config": "[]"},
        {"config": '{"interfaces": [{"name": 5}]}'},
        {"context": '"x"'},
        {"name": "not a name!"},
        {"mac_address": "x"},
        {"backend": "nothing"},
        {"organization": UNKNOWN},
        {"organization": ""},
        {"group": UNKNOWN},
        {"templates": UNKNOWN},
        {"templates": "x"},
        {"name": "a\x00b"},
    ],
    ids=str,
)
def test_an_error_in_a_preview_is_a_400(org: Any, changes: dict[str, str]) -> None:
    client, device = signed_in(org), factories.configured(org)
    assert client.post(PREVIEW, form(device, **changes)).status_code == 400
    assert client.get(PREVIEW).status_code == 405


def test_a_preview_shows_secrets_only_to_who_may_reveal_them(org: Any) -> None:
    template = factories.template(
        org, config=factories.interface(), default_values={"wifi_key": "s3cr'et-wifi"}
    )
    device = factories.device(org, config={"templates": [template], "context": {"password": "hunter22"}})
    config = {"general": {"description": "{{ wifi_key }} {{ key }} {{ password }}"}}
    sent = form(
        device, config=json.dumps(config), templates=str(template.pk), context='{"password": "hunter22"}'
    )
    for shown in (False, True):
        text = signed_in(org, reveal=shown).post(PREVIEW, sent).content.decode()
        for secret in ("hunter22", device.key, "et-wifi"):
            assert (secret in text) is shown, text


def test_foreign_objects_in_a_preview_read_like_unknown_ones(org: Any, other: Any) -> None:
    client, device = signed_in(org), factories.configured(org)
    foreign = factories.configured(other)
    found = {"organization": other, "group": factories.group(other), "templates": factories.template(other)}
    for name, row in found.items():
        said = [client.post(PREVIEW, form(device, **{name: str(pk)})) for pk in (row.pk, UNKNOWN)]
        assert said[0].status_code == said[1].status_code == 400
        assert said[0].content == said[1].content
    # A foreign device's id lends nothing: neither its key nor its secrets.
    text = client.post(
        PREVIEW, form(device, id=str(foreign.pk), key="", config='{"general": {"description": "{{ key }}"}}')
    )
    assert foreign.key not in text.content.decode()


def test_download_and_context_of_a_device(org: Any, other: Any) -> None:
    factories.fleet_of(org, context={"site": "hq", "psk": "s3cret-psk"})
    device = factories.device(
        org, group=factories.group(org, context={"site": "lab"}), config={"context": {"own": "1"}}
    )
    base = "/admin/config/device"
    manager, operator = signed_in(org, Role.MANAGER), signed_in(org, reveal=False)
    values = manager.get(f"{base}/{device.pk}/context.json").json()
    assert (values["site"], values["psk"], values["key"], values["id"]) == (
        "lab",
        "s3cret-psk",
        device.key,
        str(device.pk),
    )
    assert "own" not in values
    assert "s3cret-psk" not in operator.get(f"{base}/{device.pk}/context.json").content.decode()
    assert manager.get(f"{base}/download/{device.pk}/").content[:2] == b"\x1f\x8b"
    assert b"hostname" in operator.get(f"{base}/download/{device.pk}/").content
    foreign = factories.configured(other)
    for path in ("download/{}/", "{}/context.json"):
        assert operator.get(f"{base}/{path.format(foreign.pk)}").status_code == 404
        assert operator.get(f"{base}/{path.format('nonsense')}").status_code == 404
        assert Client().get(f"{base}/{path.format(device.pk)}").status_code == 302


def test_relevant_templates(org: Any, other: Any) -> None:
    required = factories.template(org, name="z", required=True)
    chosen, grouped = factories.template(org, name="chosen"), factories.template(org, name="grouped")
    factories.template(other)
    wisp = factories.template(
        org, backend="netjsonconfig.OpenWisp", config={"general": {"hostname": "some-host"}}
    )
    group = factories.group(org, templates=[grouped])
    device = factories.device(org, config={"templates": [chosen]})
    client = signed_in(org)
    base = "/admin/config/device/get-relevant-templates"
    offered = client.get(
        f"{base}/{org.pk}/", {"backend": "netjsonconfig.OpenWrt", "group_id": str(group.pk)}
    ).json()
    assert next(iter(offered)) == str(required.pk)
    assert set(offered) == {str(row.pk) for row in (required, chosen, grouped)}
    assert {pk for pk, row in offered.items() if row["selected"]} == {str(required.pk), str(grouped.pk)}
    assert str(wisp.pk) in client.get(f"{base}/{org.pk}/").json()
    config = factories.config_of(device)
    for pk in (config.pk, device.pk):
        of_config = client.get(f"{base}/{org.pk}/", {"config_id": str(pk)}).json()
        assert [key for key, row in of_config.items() if row["selected"]] == [
            str(required.pk),
            str(chosen.pk),
        ]
    assert signed_in(org, Role.VIEWER).get(f"{base}/{org.pk}/").status_code == 403
    assert client.get(f"{base}/{other.pk}/").status_code == 404
    assert client.get(f"{base}/{UNKNOWN}/").status_code == 404
    assert client.get(f"{base}/nonsense/").status_code == 400
    assert client.get(f"{base}/{org.pk}/", {"config_id": "nonsense"}).status_code == 400
    inactive = factories.organization(is_active=False)
    root = Client()
    root.force_login(factories.superuser())
    assert root.get(f"{base}/{inactive.pk}/").status_code == 404


def test_default_values_merge_group_over_organization_over_templates(org: Any, other: Any) -> None:
    first = factories.template(org, default_values={"a": "t1", "b": "t1", "c": "t1", "d": "t1"})
    second = factories.template(org, default_values={"b": "t2", "c": "t2", "d": "t2"})
    foreign = factories.template(other, default_values={"x": "foreign"})
    factories.fleet_of(org, context={"c": "org", "d": "org"})
    group = factories.group(org, context={"d": "group"})
    query = {
        "pks": f"{first.pk},{second.pk},{foreign.pk}", "organization": str(org.pk), "group": str(group.pk),
    }  # fmt: skip
    client, path = signed_in(org), "/admin/config/device/get-template-default-values/"
    assert client.get(path, query).json() == {
        "default_values": {"a": "t1", "b": "t2", "c": "org", "d": "group"}
    }
    assert client.get(path, {"pks": "nonsense"}).status_code == 400
    assert client.get(path, {"organization": str(other.pk)}).json() == {"default_values": {}}


def test_a_superusers_deletion_of_an_organization_takes_active_devices_along(org: Any) -> None:
    from tenancy.services import organization_delete

    factories.configured(org)
    configs.device_delete(factories.configured(org), force=True)
    organization_delete(org)
    assert not Device.objects.exists()
    assert not DeletedDevice.objects.exists()
    assert APIClient().get("/api/v1/controller/device/deleted/").status_code == 401
