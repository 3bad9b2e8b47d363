"""Device groups over REST: OpenWISP spec 1B.4 and acceptance list G, 73-74."""

from typing import Any
from uuid import uuid4

import pytest

from config_merge.services import recompute
from devices.models import DeviceGroup
from tests import factories
from tests.config_merge.api.conftest import Api

KEYS = [
    "id",
    "name",
    "organization",
    "description",
    "templates",
    "context",
    "meta_data",
    "created",
    "modified",
]


def body(org: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "grp", "organization": str(org.pk), "templates": [], **fields}


def test_a_group_has_the_peers_nine_keys_in_order(operator: Api, org: Any) -> None:
    second, first = factories.template(org), factories.template()
    sent = body(
        org,
        description="d",
        templates=[str(first.pk), str(second.pk)],
        context={"a": "1"},
        meta_data={"b": [1]},
    )
    made = operator.post("group/", sent)
    assert made.status_code == 201, made.json()
    assert list(made.json()) == KEYS
    assert {key: made.json()[key] for key in sent} == sent
    assert operator.get("group/").json()["results"] == [made.json()]
    assert operator.get(f"group/{made.json()['id']}/").json() == made.json()


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"templates": None}, "templates"),
        ({"templates": "x"}, "templates"),
        ({"templates": ["x"]}, "templates"),
        ({"templates": [None]}, "templates"),
        ({"templates": {}}, "templates"),
        ({"templates": [str(uuid4())]}, "templates"),
        ({"context": []}, "context"),
        ({"context": "x"}, "context"),
        ({"meta_data": 1}, "meta_data"),
        ({"meta_data": {"a": "\x00"}}, "meta_data"),
        ({"meta_data": {"\x00": 1}}, "meta_data"),
        ({"name": None}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"organization": "x"}, "organization"),
        ({"description": {}}, "description"),
    ],
)
def test_a_bad_field_is_named(operator: Api, org: Any, fields: dict[str, Any], key: str) -> None:
    answer = operator.post("group/", body(org, **fields))
    assert answer.status_code == 400
    assert list(answer.json()) == [key]
    assert not DeviceGroup.objects.exists()


def test_templates_must_be_listed(operator: Api, org: Any) -> None:
    sent = {"name": "grp", "organization": str(org.pk)}
    assert list(operator.post("group/", sent).json()) == ["templates"]


def test_automatic_and_foreign_templates_are_invalid(operator: Api, org: Any, other: Any) -> None:
    for template in (
        factories.template(org, default=True),
        factories.template(org, required=True),
        factories.template(other),
    ):
        answer = operator.post("group/", body(org, templates=[str(template.pk)]))
        assert answer.status_code == 400
        assert "Invalid pk" in answer.json()["templates"][0]


def test_names_are_unique_in_an_organization(operator: Api, org: Any, other: Any) -> None:
    factories.group(other, name="grp")
    assert operator.post("group/", body(org)).status_code == 201
    assert set(operator.post("group/", body(org)).json()) == {"non_field_errors"}


def test_patch_without_templates_keeps_them(operator: Api, org: Any) -> None:
    """The peer wipes them (bug P4)."""
    first, second = factories.template(org), factories.template(org)
    group = factories.group(org, templates=[second, first])
    device = factories.device(org, group=group)
    path = f"group/{group.pk}/"
    answer = operator.patch(path, {"meta_data": {"x": 1}})
    assert answer.status_code == 200
    assert answer.json()["templates"] == [str(second.pk), str(first.pk)]
    assert answer.json()["meta_data"] == {"x": 1}
    assert len(operator.get(f"device/{device.pk}/").json()["config"]["templates"]) == 2


def test_members_follow_the_templates_of_their_group(operator: Api, org: Any) -> None:
    first, second = factories.template(org), factories.template(org, config=factories.interface("eth1"))
    group = factories.group(org, templates=[first])
    device = factories.device(org, group=group)
    operator.put(f"group/{group.pk}/", body(org, templates=[str(second.pk)]))
    assert operator.get(f"device/{device.pk}/").json()["config"]["templates"] == [str(second.pk)]
    before = factories.config_of(device).checksum
    assert operator.delete(f"group/{group.pk}/").status_code == 204
    recompute.drain()
    assert operator.get(f"device/{device.pk}/").json()["config"]["templates"] == []
    assert operator.get(f"device/{device.pk}/").json()["group"] is None
    assert factories.config_of(device).checksum != before


def test_filters(operator: Api, org: Any, other: Any) -> None:
    full = factories.group(org, name="full")
    factories.group(org, name="empty")
    factories.group(other, name="foreign")
    for _ in range(3):
        factories.device(org, group=full)

    def found(**query: Any) -> list[str]:
        answer = operator.get("group/", **query)
        assert answer.status_code == 200, answer.json()
        return [item["name"] for item in answer.json()["results"]]

    assert found() == ["empty", "full"]
    assert found(empty="true") == ["empty"]
    assert found(empty="false") == ["full"]
    assert found(empty="x") == ["empty", "full"]
    assert found(organization=org.pk) == ["empty", "full"]
    assert found(organization_slug=other.slug) == []
    assert operator.get("group/", organization=other.pk).status_code == 400


def test_lists_ask_the_database_equally_often_however_long_they_are(
    operator: Api, org: Any, django_assert_num_queries: Any
) -> None:
    operator.get("group/")
    template = factories.template(org)
    for count in (1, 8):
        for _ in range(count):
            factories.group(org, templates=[template])
        with django_assert_num_queries(5):  # token, roles, count, groups, templates
            assert operator.get("group/").status_code == 200
