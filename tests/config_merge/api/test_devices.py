"""Devices over REST: OpenWISP spec 1B.1 and acceptance list F."""

import hashlib
import io
import json
import tarfile
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError

from config_merge.models import Config, Status
from config_merge.services import reports
from core.clock import now
from devices.models import Device
from tenancy.models import Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

# Parametrised ids must be the same in every test process.
UNKNOWN = "11111111-2222-4333-8444-555555555555"

LIST_KEYS = [
    "id",
    "name",
    "organization",
    "group",
    "mac_address",
    "key",
    "last_ip",
    "management_ip",
    "model",
    "os",
    "system",
    "notes",
    "config",
    "created",
    "modified",
]
DETAIL_KEYS = [*LIST_KEYS[:8], "is_deactivated", *LIST_KEYS[8:]]
CONFIG_KEYS = ["status", "error_reason", "backend", "templates", "context", "config"]


def body(org: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "ap1", "organization": str(org.pk), "mac_address": "00:11:22:AA:44:55", **fields}


def settings_of(**fields: Any) -> dict[str, Any]:
    return {"backend": "netjsonconfig.OpenWrt", "templates": [], "context": {}, "config": {}, **fields}


def applied(device: Device) -> None:
    config = factories.config_of(device)
    reports.take(reports.Report(config_id=config.pk, device_id=device.pk, status="applied"))


def test_the_list_has_the_peers_fifteen_keys_in_order(operator: Api, org: Any) -> None:
    device = factories.configured(org, name="ap1")
    answer = operator.get("device/")
    assert answer.status_code == 200
    assert list(answer.json()) == ["count", "next", "previous", "results"]
    item = answer.json()["results"][0]
    assert list(item) == LIST_KEYS
    assert item["config"] == {"status": "modified", "error_reason": "", "backend": "netjsonconfig.OpenWrt"}
    assert item["id"] == str(device.pk)
    assert item["key"] == device.key


def test_the_detail_adds_the_whole_configuration(operator: Api, org: Any) -> None:
    template = factories.template(org)
    device = factories.device(
        org,
        config={"templates": [template], "context": {"a": "1"}, "config": {"general": {"timezone": "UTC"}}},
    )
    item = operator.get(f"device/{device.pk}/").json()
    assert list(item) == DETAIL_KEYS
    assert list(item["config"]) == CONFIG_KEYS
    assert item["config"]["templates"] == [str(template.pk)]
    assert item["config"]["context"] == {"a": "1"}
    assert item["config"]["config"] == {"general": {"timezone": "UTC"}}
    assert item["is_deactivated"] is False


def test_a_device_without_a_configuration_has_null(operator: Api, org: Any) -> None:
    device = factories.device(org)
    assert operator.get(f"device/{device.pk}/").json()["config"] is None
    assert operator.get("device/").json()["results"][0]["config"] is None


@pytest.mark.parametrize("slash", ["", "/"])
def test_paths_work_with_and_without_a_trailing_slash(operator: Api, org: Any, slash: str) -> None:
    device = factories.device(org)
    assert operator.get(f"device{slash}").status_code == 200
    assert operator.get(f"device/{device.pk}{slash}").status_code == 200
    assert operator.get(f"device/{device.pk.hex}{slash}").status_code == 200


def test_create_answers_in_the_list_shape(operator: Api, org: Any) -> None:
    template = factories.template(org)
    sent = body(org, mac_address="00:11:22:aa:44:55", config=settings_of(templates=[str(template.pk)]))
    answer = operator.post("device/", sent)
    assert answer.status_code == 201, answer.json()
    assert list(answer.json()) == LIST_KEYS
    assert answer.json()["mac_address"] == "00:11:22:AA:44:55"
    config = Config.objects.get(device_id=answer.json()["id"])
    assert config.stale_actor.username == "operator"
    assert config.checksum


@pytest.mark.parametrize("config", [None, settings_of()])
def test_a_configuration_that_says_nothing_is_not_created(operator: Api, org: Any, config: Any) -> None:
    answer = operator.post("device/", body(org, config=config))
    assert answer.status_code == 201, answer.json()
    assert answer.json()["config"] is None
    assert not Config.objects.exists()


def test_a_group_with_templates_brings_a_configuration(operator: Api, org: Any) -> None:
    template = factories.template(org)
    group = factories.group(org, templates=[template])
    answer = operator.post("device/", body(org, group=str(group.pk)))
    assert answer.status_code == 201
    detail = operator.get(f"device/{answer.json()['id']}/").json()
    assert detail["config"]["templates"] == [str(template.pk)]


def test_a_configuration_names_the_three_keys_it_lacks(operator: Api, org: Any) -> None:
    answer = operator.post("device/", body(org, config={"backend": "netjsonconfig.OpenWrt"}))
    assert answer.status_code == 400
    assert set(answer.json()["config"]) == {"templates", "context", "config"}


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"name": "bad name"}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": ["list"]}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "\u00e9"}, "name"),
        ({"mac_address": "00:11"}, "mac_address"),
        ({"mac_address": 10**40}, "mac_address"),
        ({"last_ip": "notanip"}, "last_ip"),
        ({"management_ip": {"a": 1}}, "management_ip"),
        ({"key": "with space"}, "key"),
        ({"group": "nonsense"}, "group"),
        ({"group": True}, "group"),
        ({"group": 10**60}, "group"),
        ({"organization": None}, "organization"),
        ({"organization": [1]}, "organization"),
        ({"organization": {}}, "organization"),
    ],
)
def test_a_bad_field_is_named(operator: Api, org: Any, fields: dict[str, Any], key: str) -> None:
    answer = operator.post("device/", body(org, **fields))
    assert answer.status_code == 400
    assert set(answer.json()) == {key}
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"templates": ["nonsense"]}, {"config": {"templates": list}}),
        ({"templates": "nonsense"}, {"config": {"templates": list}}),
        ({"templates": [str(uuid4())]}, {"config": {"templates": list}}),
        ({"context": [1]}, {"config": {"context": list}}),
        ({"context": "text"}, {"config": {"context": list}}),
        ({"context": {"a": "\x00"}}, {"config": {"context": list}}),
        ({"config": None}, {"config": {"config": list}}),
        ({"backend": "nonsense"}, {"config": {"backend": list}}),
        ({"config": {"interfaces": [{"name": 1}]}}, {"config": {"__all__": list}}),
        ({"config": {"interfaces": {}, "files": "x"}}, {"config": {"__all__": list}}),
    ],
)
def test_errors_of_the_configuration_stand_where_the_peer_puts_them(
    operator: Api, org: Any, config: dict[str, Any], expected: dict[str, dict[str, type]]
) -> None:
    answer = operator.post("device/", body(org, config=settings_of(**config)))
    assert answer.status_code == 400, answer.json()
    assert set(answer.json()) == {"config"}
    assert set(answer.json()["config"]) == set(expected["config"])
    assert not Device.objects.exists()


def test_invalid_netjson_quotes_the_place(operator: Api, org: Any) -> None:
    answer = operator.post("device/", body(org, config=settings_of(config={"interfaces": [{"name": "a"}]})))
    message = answer.json()["config"]["__all__"][0]
    assert message.startswith('Invalid configuration triggered by "#/interfaces/0", validator says:')


def test_a_template_of_another_own_organization_is_a_flat_error_with_its_name(org: Any, other: Any) -> None:
    both = factories.user(role=Role.OPERATOR, organization=org)
    factories.tenancy.membership_set(user=both, organization=other, role=Role.OPERATOR)
    template = factories.template(other, name="elsewhere")
    client = api_as(both)
    answer = client.post("device/", body(org, config=settings_of(templates=[str(template.pk)])))
    assert answer.status_code == 400
    assert isinstance(answer.json()["config"], list)
    assert "elsewhere" in answer.json()["config"][0]
    device = factories.device(org)
    answer = client.patch(f"device/{device.pk}/", {"config": {"templates": [str(template.pk)]}})
    assert answer.status_code == 400
    assert "elsewhere" in answer.json()["config"][0]


def test_a_foreign_template_is_as_unknown_as_any(operator: Api, org: Any, other: Any) -> None:
    foreign, unknown = str(factories.template(other, name="secret").pk), str(uuid4())
    answers = [
        operator.post("device/", body(org, config=settings_of(templates=[pk])))
        .content.decode()
        .replace(pk, "ID")
        for pk in (foreign, unknown)
    ]
    assert answers[0] == answers[1]
    assert "object does not exist" in answers[0]


def test_duplicates_are_told_under_the_peers_keys(operator: Api, org: Any, other: Any) -> None:
    factories.device(org, name="AP1", mac_address="00:11:22:AA:44:55")
    assert set(operator.post("device/", body(org, name="ap2")).json()) == {"non_field_errors"}
    assert set(operator.post("device/", body(org, mac_address="00:11:22:AA:44:66")).json()) == {"__all__"}
    factories.device(other, name="ap3", mac_address="00:11:22:AA:44:77")
    assert operator.post("device/", body(org, name="ap3", mac_address="00:11:22:AA:44:77")).status_code == 201


@pytest.mark.parametrize(("limit", "status"), [(None, 400), (0, 201), (1, 201), (2, 201)])
def test_the_limit_of_the_organization_counts(
    operator: Api, org: Any, limit: int | None, status: int
) -> None:
    factories.fleet_of(org, device_limit=limit)
    answer = operator.post("device/", body(org))
    assert answer.status_code == status
    if status == 400:
        assert org.name in answer.json()["__all__"][0]


def test_a_reached_limit_refuses_one_more(operator: Api, org: Any) -> None:
    factories.fleet_of(org, device_limit=1)
    factories.device(org)
    answer = operator.post("device/", body(org))
    assert answer.status_code == 400
    assert org.name in answer.json()["__all__"][0]


def test_the_limit_counts_for_devices_that_move_in_too(root: Api, org: Any, other: Any) -> None:
    factories.device(other)
    factories.fleet_of(other, device_limit=1)
    device = factories.device(org)
    answer = root.patch(f"device/{device.pk}/", {"organization": str(other.pk)})
    assert answer.status_code == 400
    assert other.name in answer.json()["__all__"][0]
    with pytest.raises(ValidationError):
        factories.device(other)


def test_the_limit_is_not_lowered_below_what_there_is(org: Any) -> None:
    for _ in range(2):
        factories.device(org)
    for refused in (1, -1):
        with pytest.raises(ValidationError):
            factories.fleet_of(org, device_limit=refused)
    for accepted in (2, 0, None):
        assert factories.fleet_of(org, device_limit=accepted).device_limit == accepted


def test_organizations_one_may_not_write_cannot_be_chosen(
    operator: Api, viewer: Api, org: Any, other: Any
) -> None:
    foreign = operator.post("device/", body(other))
    assert foreign.status_code == 400
    assert set(foreign.json()) == {"organization"}
    assert viewer.post("device/", body(org)).status_code == 403


def test_viewing_in_one_organization_does_not_help_to_write_there(org: Any, other: Any) -> None:
    mixed = factories.user(role=Role.VIEWER, organization=org)
    factories.tenancy.membership_set(user=mixed, organization=other, role=Role.OPERATOR)
    client = api_as(mixed)
    assert set(client.post("device/", body(org)).json()) == {"organization"}
    device = factories.device(org)
    assert client.get(f"device/{device.pk}/").status_code == 200
    assert client.patch(f"device/{device.pk}/", {"notes": "x"}).status_code == 403
    assert client.post("device/", body(other)).status_code == 201


def test_put_needs_the_configuration_key_and_null_leaves_it_alone(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    path = f"device/{device.pk}/"
    assert set(operator.put(path, body(org)).json()) == {"config"}
    answer = operator.put(path, body(org, config=None))
    assert answer.status_code == 200, answer.json()
    assert answer.json()["name"] == "ap1"
    assert answer.json()["config"]["config"] == factories.interface()


def test_put_replaces_device_and_configuration(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    sent = body(org, config=settings_of(backend="netjsonconfig.OpenWisp", context={"x": "1"}, config={}))
    answer = operator.put(f"device/{device.pk}/", sent)
    assert answer.status_code == 200, answer.json()
    assert list(answer.json()) == DETAIL_KEYS
    assert answer.json()["config"]["backend"] == "netjsonconfig.OpenWisp"
    assert answer.json()["config"]["context"] == {"x": "1"}


def test_put_of_default_settings_clears_everything(operator: Api, org: Any) -> None:
    """The peer ignores it (bug P4)."""
    device = factories.configured(
        org, config={"config": factories.interface(), "templates": [factories.template(org)]}
    )
    answer = operator.put(f"device/{device.pk}/", body(org, config=settings_of()))
    assert answer.status_code == 200
    assert answer.json()["config"]["config"] == {}
    assert answer.json()["config"]["templates"] == []


def test_put_of_default_settings_does_not_make_a_configuration(operator: Api, org: Any) -> None:
    device = factories.device(org)
    answer = operator.put(f"device/{device.pk}/", body(org, config=settings_of()))
    assert answer.status_code == 200
    assert answer.json()["config"] is None


def test_a_form_with_dotted_keys_says_the_same(operator: Api, org: Any) -> None:
    first, second = factories.template(org), factories.template(org, config={"general": {"timezone": "UTC"}})
    sent = {
        **body(org),
        "config.backend": "netjsonconfig.OpenWrt",
        "config.templates": [str(second.pk), str(first.pk)],
        "config.context": '{"a": "1"}',
        "config.config": json.dumps(factories.interface("eth1")),
    }
    made = operator.post("device/", sent, format="multipart")
    assert made.status_code == 201, made.json()
    config = operator.get(f"device/{made.json()['id']}/").json()["config"]
    assert config["templates"] == [str(second.pk), str(first.pk)]
    assert config["context"] == {"a": "1"}
    again = operator.put(
        f"device/{made.json()['id']}/",
        {**sent, "config.templates": json.dumps([str(first.pk)])},
        format="multipart",
    )
    assert again.status_code == 200, again.json()
    assert again.json()["config"]["templates"] == [str(first.pk)]
    assert again.json()["config"]["config"] == factories.interface("eth1")


def test_a_form_that_says_nothing_of_importance_makes_no_configuration(operator: Api, org: Any) -> None:
    device = factories.device(org)
    sent = {
        **body(org), "config.backend": "netjsonconfig.OpenWrt", "config.templates": "",
        "config.context": "{}",
        "config.config": "{}",
    }  # fmt: skip
    answer = operator.put(f"device/{device.pk}/", sent, format="multipart")
    assert answer.status_code == 200, answer.json()
    assert answer.json()["config"] is None


def test_patch_sets_the_order_and_required_templates_come_back_in_front(operator: Api, org: Any) -> None:
    required = factories.template(org, required=True, name="a-required")
    first = factories.template(org, config={"general": {"timezone": "UTC"}})
    second = factories.template(org)
    device = factories.configured(org)
    path = f"device/{device.pk}/"
    answer = operator.patch(path, {"config": {"templates": [str(second.pk), str(first.pk)]}})
    assert answer.status_code == 200
    assert answer.json()["config"]["templates"] == [str(required.pk), str(second.pk), str(first.pk)]
    answer = operator.patch(path, {"config": {"templates": []}})
    assert answer.json()["config"]["templates"] == [str(required.pk)]
    assert answer.json()["config"]["config"] == factories.interface()


def test_the_same_template_twice_counts_once(operator: Api, org: Any) -> None:
    template, device = factories.template(org), factories.configured(org)
    answer = operator.patch(f"device/{device.pk}/", {"config": {"templates": [str(template.pk)] * 2}})
    assert answer.status_code == 200
    assert answer.json()["config"]["templates"] == [str(template.pk)]


def test_moving_swaps_required_templates_and_wants_a_group_of_the_new_organization(
    root: Api, org: Any, other: Any
) -> None:
    here = factories.template(org, required=True)
    there = factories.template(other, required=True, config={"general": {"timezone": "UTC"}})
    device = factories.configured(org, group=factories.group(org))
    path = f"device/{device.pk}/"
    assert operator_templates(root, path) == [str(here.pk)]
    assert set(root.patch(path, {"organization": str(other.pk)}).json()) == {"group"}
    answer = root.patch(path, {"organization": str(other.pk), "group": None})
    assert answer.status_code == 200, answer.json()
    assert operator_templates(root, path) == [str(there.pk)]


def operator_templates(client: Api, path: str) -> list[str]:
    return client.get(path).json()["config"]["templates"]


def test_an_operator_cannot_move_a_device_out_of_reach(operator: Api, org: Any, other: Any) -> None:
    device = factories.device(org)
    answer = operator.patch(f"device/{device.pk}/", {"organization": str(other.pk)})
    assert answer.status_code == 400
    assert set(answer.json()) == {"organization"}


def test_templates_follow_the_group_and_the_backend(operator: Api, org: Any) -> None:
    openwrt, openwisp = (
        factories.template(org),
        factories.template(org, backend="netjsonconfig.OpenWisp", config={"general": {"hostname": "wisp"}}),
    )
    group, second = factories.group(org, templates=[openwrt, openwisp]), factories.group(org)
    device = factories.configured(org)
    path = f"device/{device.pk}/"
    operator.patch(path, {"group": str(group.pk)})
    assert operator_templates(operator, path) == [str(openwrt.pk)]
    operator.patch(path, {"config": {"backend": "netjsonconfig.OpenWisp"}})
    assert operator_templates(operator, path) == [str(openwisp.pk)]
    operator.patch(path, {"group": str(second.pk)})
    assert operator_templates(operator, path) == []


def test_renaming_and_notes_move_the_status_only_when_the_bytes_change(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    applied(device)
    path = f"device/{device.pk}/"
    assert operator.patch(path, {"notes": "hello"}).json()["config"]["status"] == "applied"
    assert operator.patch(path, {"name": "renamed"}).json()["config"]["status"] == "modified"


def test_out_of_service_and_back(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    applied(device)
    path = f"device/{device.pk}/"
    assert operator.post(f"{path}activate/").status_code == 404
    answer = operator.post(f"{path}deactivate/")
    assert answer.status_code == 200
    assert list(answer.json()) == DETAIL_KEYS
    assert answer.json()["is_deactivated"] is True
    assert answer.json()["config"]["status"] == "deactivating"
    assert operator.post(f"{path}deactivate/").status_code == 404
    assert operator.get(path).status_code == 200
    assert operator.get(f"{path}configuration/").status_code == 200
    for refused in (operator.put(path, {}), operator.patch(path, {"notes": "x"})):
        assert refused.status_code == 403
        assert list(refused.json()) == ["detail"]
    answer = operator.post(f"{path}activate/")
    assert answer.status_code == 200
    assert answer.json()["is_deactivated"] is False
    assert answer.json()["config"]["config"] == factories.interface(), "kept, unlike the peer's (bug P12)"


def test_only_retired_devices_are_deleted_unless_forced(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    path = f"device/{device.pk}/"
    assert operator.delete(path).status_code == 403
    operator.post(f"{path}deactivate/")
    assert operator.delete(path).status_code == 403
    applied(device)
    assert factories.config_of(device).status == Status.DEACTIVATED
    assert operator.delete(path).status_code == 204
    active = factories.configured(org)
    assert operator.delete(f"device/{active.pk}/?force=True").status_code == 403
    assert operator.delete(f"device/{active.pk}/?force=true").status_code == 204
    assert not Device.objects.exists()


def test_the_download_is_the_archive_the_agent_gets(operator: Api, org: Any) -> None:
    device = factories.configured(org, name="ap1")
    answer = operator.get(f"device/{device.pk}/configuration/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Openwisp-Controller"] == "true"
    assert answer["Content-Disposition"] == "attachment; filename=ap1.tar.gz"
    assert hashlib.md5(answer.content).hexdigest() == factories.config_of(device).checksum
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert "etc/config/network" in archive.getnames()


def test_downloads_stay_inside_the_organization(operator: Api, anonymous: Api, org: Any, other: Any) -> None:
    """The peer hands them to everyone (bug P1)."""
    foreign, unknown = factories.configured(other).pk, uuid4()
    answers = [operator.get(f"device/{pk}/configuration/") for pk in (foreign, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert operator.get(f"device/{factories.device(org).pk}/configuration/").status_code == 404
    assert anonymous.get(f"device/{foreign}/configuration/").status_code == 401


def test_a_stale_configuration_is_computed_when_it_is_downloaded(operator: Api, org: Any) -> None:
    template = factories.template(org)
    device = factories.device(org, config={"templates": [template]})
    before = operator.get(f"device/{device.pk}/configuration/").content
    operator.patch(f"template/{template.pk}/", {"config": factories.interface("eth9")})
    assert factories.config_of(device).is_stale
    assert operator.get(f"device/{device.pk}/configuration/").content != before


def test_filters_apply_together(operator: Api, org: Any) -> None:
    template, group = factories.template(org), factories.group(org)
    wanted = factories.device(org, name="Kitchen", group=group, config={"templates": [template]})
    factories.device(org, name="kitchen-2")
    factories.configured(org, name="garden")

    def found(**query: Any) -> set[str]:
        answer = operator.get("device/", **query)
        assert answer.status_code == 200, answer.json()
        return {item["name"] for item in answer.json()["results"]}

    assert found(name="kitch") == {"Kitchen", "kitchen-2"}
    assert found(mac_address=wanted.mac_address[-8:].lower()) == {"Kitchen"}
    assert found(config__status="modified") == {"Kitchen", "garden"}
    assert found(config__status="applied") == set()
    assert found(config__backend="netjsonconfig.OpenWrt") == {"Kitchen", "garden"}
    assert found(config__templates=template.pk) == {"Kitchen"}
    assert found(config__templates=template.pk, name="garden") == set(), "bug P4"
    assert found(group=group.pk) == {"Kitchen"}
    assert found(organization=org.pk, name="gard") == {"garden"}
    assert found(organization_slug="org-a", name="gard") == {"garden"}
    assert found(organization_slug="unknown") == set()
    moment = wanted.created
    assert found(created=moment.isoformat()) == {"Kitchen"}
    assert found(created__lt=(moment - timedelta(seconds=1)).isoformat()) == set()
    assert len(found(created__gte=moment.isoformat())) == 3
    assert len(found(nonsense="1", ordering="name")) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", "nonsense"), ("group", UNKNOWN), ("organization", "1"), ("organization", UNKNOWN),
        ("config__templates", f"{UNKNOWN},{UNKNOWN}"), ("config__templates", "x"),
        ("config__status", "great"),
        ("config__backend", "x"), ("created", "yesterday"), ("created__gte", "2020-13-45"),
        ("created__lt", "0001-01-01T00:00:00+23:00"), ("created__lt", "9999-12-31T23:59:59-23:00"),
        ("name", "a\x00b"), ("group", "\x00"),
    ],
)  # fmt: skip
def test_a_filter_that_names_nothing_is_an_error(operator: Api, name: str, value: str) -> None:
    answer = operator.get("device/", **{name: value})
    assert answer.status_code == 400
    assert list(answer.json()) == [name]
    assert isinstance(answer.json()[name], list)


def test_a_foreign_filter_value_is_as_unknown_as_any(operator: Api, other: Any) -> None:
    foreign = {
        "organization": other.pk, "group": factories.group(other).pk,
        "config__templates": factories.template(other).pk,
    }  # fmt: skip
    for name, value in foreign.items():
        mine = operator.get("device/", **{name: value})
        unknown = operator.get("device/", **{name: uuid4()})
        assert mine.status_code == unknown.status_code == 400
        assert mine.content == unknown.content


def test_pages(operator: Api, org: Any) -> None:
    for number in range(12):
        factories.device(org, name=f"ap{number}")
    first = operator.get("device/").json()
    assert (first["count"], len(first["results"]), first["previous"]) == (12, 10, None)
    assert first["results"][0]["name"] == "ap11"
    assert first["next"].startswith("http://testserver/api/v1/controller/device/?page=2")
    names = [
        item["name"]
        for page in (1, 2, 3)
        for item in operator.get("device/", page=page, page_size=5).json()["results"]
    ]
    assert names == [f"ap{number}" for number in reversed(range(12))]
    assert len(operator.get("device/", page_size=0).json()["results"]) == 10
    assert len(operator.get("device/", page_size="x").json()["results"]) == 10
    assert len(operator.get("device/", page_size=1000).json()["results"]) == 12
    for page in ("3", "0", "-1", "x", "9" * 30, "9" * 5000):
        answer = operator.get("device/", page=page)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid page."})


def test_lists_ask_the_database_equally_often_however_long_they_are(
    operator: Api, org: Any, django_assert_num_queries: Any
) -> None:
    group = factories.group(org)
    template = factories.template(org)
    for _ in range(2):
        factories.device(org)
    operator.get("device/")  # the token's first use is noted, and that keys were shown
    for count in (1, 8):
        for _ in range(count):
            factories.device(org, group=group, config={"templates": [template]})
        with django_assert_num_queries(5):  # token, roles, count, keys, devices
            assert operator.get("device/").status_code == 200


def test_the_list_does_not_decrypt_what_it_does_not_show(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    Config.objects.filter(device=device).update(context={"a": "b"})
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE config_merge_config SET config = 'not a token', context = 'not a token'")
    assert operator.get("device/").status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[]", b"null", b"1", b'"text"', b"\xff", b"", b"NaN", b'{"name": NaN}',
        b"[" * 5000 + b"]" * 5000,
        b'{"name": "\\ud800"}', b'{"name": ' + b"9" * 5000 + b"}", b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)  # fmt: skip
def test_a_body_that_is_no_object_is_a_400(operator: Api, raw: bytes) -> None:
    answer = operator.client.post("/api/v1/controller/device/", raw, content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "nonsense", "utf-7"])
def test_no_charset_a_client_names_breaks_the_answer(operator: Api, org: Any, charset: str) -> None:
    raw = json.dumps(body(org))
    kind = f"application/json; charset={charset}"
    answer = operator.client.generic("POST", "/api/v1/controller/device/?a=%20b", raw, content_type=kind)
    assert answer.status_code == 201


def test_a_body_beyond_the_limit_is_a_413(operator: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    raw = json.dumps({"name": "x" * 200})
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        answer = operator.client.post("/api/v1/controller/device/", raw, content_type=kind)
        assert answer.status_code == 413


def test_wrong_type_and_wrong_method(operator: Api, org: Any) -> None:
    answer = operator.client.post("/api/v1/controller/device/", b"x", content_type="text/csv")
    assert answer.status_code == 415
    answer = operator.delete("device/")
    assert answer.status_code == 405
    assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize(
    "path", ["device/nonsense/", "device/1/", f"device/{UNKNOWN}x/", "device/%00/", "nothing/"]
)
def test_a_path_that_names_nothing_is_json_too(operator: Api, path: str) -> None:
    answer = operator.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not found."}


def test_an_unknown_device_is_told_in_the_peers_words(operator: Api, other: Any) -> None:
    for pk in (uuid4(), factories.device(other).pk):
        answer = operator.get(f"device/{pk}/")
        assert (answer.status_code, answer.json()) == (404, {"detail": "No Device matches the given query."})


def test_the_effective_configuration_tells_who_said_what(operator: Api, org: Any) -> None:
    template = factories.template(
        org, name="base", config={"general": {"timezone": "{{ zone }}"}}, default_values={"zone": "UTC"}
    )
    device = factories.device(
        org, name="ap1", config={"templates": [template], "config": {"general": {"timezone": "Europe/Rome"}}}
    )
    seen = operator.get(f"device/{device.pk}/effective/").json()
    assert seen["backend"] == "netjsonconfig.OpenWrt"
    leaves = {leaf["path"]: leaf for leaf in seen["leaves"]}
    zone = leaves["/general/timezone"]
    assert zone["value"] == "Europe/Rome"
    assert zone["source"] == {"layer": "device", "id": str(device.pk), "name": "ap1"}
    assert zone["shadowed"] == [
        {"source": {"layer": "template", "id": str(template.pk), "name": "base"}, "value": "{{ zone }}"}
    ]
    assert leaves["/general/hostname"]["source"]["layer"] == "system"
    assert {item["name"]: item["value"] for item in seen["variables"]}["zone"] == "UTC"
    assert operator.get(f"device/{factories.device(org).pk}/effective/").status_code == 404


def test_revisions_are_listed_newest_first(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    operator.patch(f"device/{device.pk}/", {"name": "renamed"})
    seen = operator.get(f"device/{device.pk}/revisions/").json()
    assert [item["number"] for item in seen["results"]] == [2, 1]
    newest = seen["results"][0]
    assert list(newest) == ["id", "number", "checksum", "sha256", "cause", "actor", "size", "created"]
    assert newest["checksum"] == factories.config_of(device).checksum
    assert newest["cause"] == "device"
    assert operator.get(f"device/{factories.device(org).pk}/revisions/").json()["count"] == 0


def test_nothing_is_told_without_credentials(anonymous: Api) -> None:
    answer = anonymous.get("device/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert list(answer.json()) == ["detail"]


def test_the_browsable_pages_render(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    for path in ("device/", f"device/{device.pk}/", "template/", "group/", f"device/{device.pk}/effective/"):
        answer = operator.client.get(f"/api/v1/controller/{path}", HTTP_ACCEPT="text/html")
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/html")


def test_options_describe_the_fields(operator: Api) -> None:
    answer = operator.client.options("/api/v1/controller/device/")
    assert answer.status_code == 200
    assert {"name", "renders", "parses", "actions"} <= set(answer.json())


def test_a_disabled_organization_is_lost_at_once(operator: Api, root: Api, org: Any) -> None:
    device = factories.device(org)
    factories.tenancy.organization_update(org, is_active=False)
    assert operator.get("device/").status_code == 403
    assert root.get(f"device/{device.pk}/").status_code == 200


def test_times_are_aware(operator: Api, org: Any) -> None:
    device = factories.device(org)
    created = operator.get(f"device/{device.pk}/").json()["created"]
    assert created.endswith(("Z", "+00:00"))
    assert device.created <= now()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("device/", {"group": "…"}),
        ("device/", {"organization": "…"}),
        ("device/", {"config": {"templates": ["…"], "context": {}, "config": {}}}),
        ("template/", {"organization": "…"}),
        ("group/", {"templates": ["…"]}),
        ("batch/", {"action": "assign_template", "filter": {}, "template": "…"}),
    ],
)
def test_a_list_is_no_id_however_deep_it_nests(
    operator: Api, org: Any, path: str, body: dict[str, Any]
) -> None:
    nested = "[" * 450 + "]" * 450
    named = {"name": "ap1", "organization": str(org.pk), "mac_address": "00:11:22:AA:44:55"}
    text = json.dumps({**named, "backend": "netjsonconfig.OpenWrt", **body}).replace('"\\u2026"', nested)
    answer = operator.client.generic(
        "POST", f"/api/v1/controller/{path}", text, content_type="application/json"
    )
    assert answer.status_code == 400, answer.content
    assert "received list" in answer.content.decode()
