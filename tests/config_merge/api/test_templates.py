"""Templates over REST: OpenWISP spec 1B.2 and acceptance list G, 64-72."""

import hashlib
import io
import tarfile
from typing import Any
from uuid import uuid4

import pytest

from config_merge.models import ConfigTemplate, Status, Template
from config_merge.services import recompute, reports
from tests import factories
from tests.config_merge.api.conftest import Api

KEYS = [
    "id", "name", "organization", "type", "backend", "vpn", "auto_cert", "tags", "default", "required", "notes",
    "default_values", "config", "created", "modified",
]  # fmt: skip


def body(org: Any, **fields: Any) -> dict[str, Any]:
    return {
        "name": "tmpl1",
        "organization": str(org.pk) if org else None,
        "backend": "netjsonconfig.OpenWrt",
        "config": factories.interface(),
        **fields,
    }


def test_a_template_has_the_peers_fourteen_keys_in_order_and_auto_cert(operator: Api, org: Any) -> None:
    made = operator.post("template/", body(org, default_values={"lan_ip": "192.168.9.1"}))
    assert made.status_code == 201, made.json()
    assert list(made.json()) == KEYS
    assert made.json() | {"id": 0, "created": 0, "modified": 0} == {
        **body(org),
        "id": 0,
        "created": 0,
        "modified": 0,
        "type": "generic",
        "vpn": None,
        "auto_cert": False,
        "tags": [],
        "default": False,
        "required": False,
        "notes": "",
        "default_values": {"lan_ip": "192.168.9.1"},
    }
    path = f"template/{made.json()['id']}/"
    assert operator.get(path).json() == made.json()
    assert operator.get("template/").json()["results"] == [made.json()]


def test_an_empty_configuration_is_named_where_the_peer_names_it(operator: Api, org: Any) -> None:
    said = ["The configuration field cannot be empty."]
    assert operator.post("template/", body(org, config={})).json() == {"__all__": said}
    assert operator.post("template/", {k: v for k, v in body(org).items() if k != "config"}).json() == {
        "__all__": said
    }
    assert operator.post("template/", body(org, config={}, type="generic")).json() == {"config": said}
    assert "vpn" in operator.post("template/", body(org, config={}, type="vpn")).json()
    path = f"template/{factories.template(org).pk}/"
    assert operator.patch(path, {"config": {}}).json() == {"__all__": said}
    assert operator.patch(path, {"config": {}, "type": "generic"}).json() == {"config": said}
    assert operator.patch(path, {"notes": "n"}).status_code == 200


def test_only_superusers_share(operator: Api, root: Api, org: Any) -> None:
    for sent in (body(None), {k: v for k, v in body(org).items() if k != "organization"}):
        answer = operator.post("template/", sent)
        assert answer.status_code == 400
        assert list(answer.json()) == ["organization"]
    assert operator.post("template/", body(None)).json() == {"organization": ["This field may not be null."]}
    assert root.post("template/", body(None)).json()["organization"] is None
    own = operator.post("template/", body(org, name="own")).json()["id"]
    assert operator.patch(f"template/{own}/", {"organization": None}).status_code == 400
    assert root.patch(f"template/{own}/", {"organization": None}).json()["organization"] is None


def test_shared_templates_are_read_by_members_and_written_by_superusers(
    operator: Api, viewer: Api, root: Api
) -> None:
    path = f"template/{factories.template(name='shared').pk}/"
    for reader in (operator, viewer, root):
        assert reader.get(path).json()["name"] == "shared"
        assert reader.get(f"{path}configuration/").status_code == 200
        assert reader.get("template/").json()["count"] == 1
    for refused in (operator.patch(path, {"notes": "x"}), operator.put(path, {}), operator.delete(path)):
        assert refused.status_code == 403
        assert list(refused.json()) == ["detail"]
    assert root.patch(path, {"notes": "x"}).status_code == 200
    assert root.delete(path).status_code == 204


def test_required_implies_default(operator: Api, org: Any) -> None:
    """The peer stores default=false (bug P3)."""
    answer = operator.post("template/", body(org, required=True))
    assert (answer.json()["required"], answer.json()["default"]) == (True, True)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"config": {}}, "__all__"),
        ({"config": []}, "config"),
        ({"config": "text"}, "config"),
        ({"config": None}, "config"),
        ({"config": {"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": "{{ mtu }}"}]}}, "__all__"),
        ({"config": {"a": {"b": {"c": []}}, "interfaces": "x"}}, "__all__"),
        ({"config": {"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": 10**400}]}}, "__all__"),
        ({"default_values": [1]}, "default_values"),
        ({"default_values": {"a": "\x00"}}, "default_values"),
        ({"vpn": str(uuid4())}, "vpn"),
        ({"vpn": 5}, "vpn"),
        ({"type": "vpn", "vpn": str(uuid4())}, "vpn"),
        ({"type": "vpn"}, "vpn"),
        ({"type": "vpn", "vpn": None}, "vpn"),
        ({"type": "other"}, "type"),
        ({"backend": "other"}, "backend"),
        ({"tags": ["two words"]}, "tags"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"tags": "word"}, "tags"),
        ({"tags": [[]]}, "tags"),
        ({"default": "perhaps"}, "default"),
        ({"name": ""}, "name"),
    ],
)
def test_a_bad_field_is_named(operator: Api, org: Any, fields: dict[str, Any], key: str) -> None:
    answer = operator.post("template/", body(org, **fields))
    assert answer.status_code == 400
    assert list(answer.json()) == [key]
    assert not Template.objects.exists()


def test_the_backend_and_the_configuration_must_be_said(operator: Api, org: Any) -> None:
    sent = body(org)
    assert list(operator.post("template/", {**sent, "backend": ""}).json()) == ["backend"]
    assert "backend" in operator.post("template/", {"name": "x", "organization": str(org.pk)}).json()
    sent.pop("config")
    assert list(operator.post("template/", sent).json()) == ["__all__"]


def test_names_are_unique_where_they_can_meet(operator: Api, root: Api, org: Any, other: Any) -> None:
    factories.template(org, name="tmpl1")
    assert set(operator.post("template/", body(org)).json()) == {"non_field_errors"}
    assert set(root.post("template/", body(None)).json()) == {"name"}
    assert root.post("template/", body(other)).status_code == 201
    factories.template(name="shared")
    assert set(operator.post("template/", body(org, name="shared")).json()) == {"name"}
    assert set(root.post("template/", body(None, name="shared")).json()) == {"name"}


def test_tags_are_written_sorted_and_kept_when_not_sent(operator: Api, org: Any) -> None:
    made = operator.post("template/", body(org, tags=["mesh", "dev", "mesh"])).json()
    assert made["tags"] == ["dev", "mesh"]
    path = f"template/{made['id']}/"
    assert operator.patch(path, {"notes": "x"}).json()["tags"] == ["dev", "mesh"]
    assert operator.patch(path, {"tags": ["lan"]}).json()["tags"] == ["lan"]
    assert operator.patch(path, {"tags": []}).json()["tags"] == []


def test_a_form_carries_json_as_text(operator: Api, org: Any) -> None:
    sent = {
        **body(org),
        "config": '{"general": {"timezone": "UTC", "hostname": "host-1"}}',
        "default_values": '{"a": 1}',
        "tags": ["b", "a"],
    }
    answer = operator.post("template/", sent, format="multipart")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["default_values"] == {"a": 1}
    assert answer.json()["tags"] == ["a", "b"]
    bad = operator.post("template/", {**sent, "config": "[" * 3000, "name": "n"}, format="multipart")
    assert list(bad.json()) == ["config"]


def test_put_and_patch(operator: Api, org: Any) -> None:
    template = factories.template(org, notes="before", tags=["t"])
    path = f"template/{template.pk}/"
    answer = operator.patch(path, {"name": "other"})
    assert (answer.status_code, answer.json()["name"], answer.json()["notes"]) == (200, "other", "before")
    answer = operator.put(path, body(org, name="third"))
    assert (answer.status_code, answer.json()["name"]) == (200, "third")
    assert set(operator.put(path, {"notes": "x"}).json()) == {"name", "organization", "backend"}


def test_an_edit_turns_devices_modified_only_when_their_bytes_change(operator: Api, org: Any) -> None:
    template = factories.template(org)
    device = factories.device(org, config={"templates": [template]})
    config = factories.config_of(device)
    reports.take(reports.Report(config_id=config.pk, device_id=device.pk, status="applied"))
    path = f"template/{template.pk}/"
    operator.patch(path, {"default_values": {"unused": "1"}})
    recompute.drain()
    assert factories.config_of(device).status == Status.APPLIED
    operator.patch(path, {"config": factories.interface("eth7")})
    recompute.drain()
    assert factories.config_of(device).status == Status.MODIFIED
    assert factories.config_of(device).checksum != config.checksum


def test_a_new_default_template_reaches_active_devices_of_its_backend(operator: Api, org: Any) -> None:
    active, retired = factories.configured(org), factories.configured(org)
    operator.post(f"device/{retired.pk}/deactivate/")
    pk = operator.post("template/", body(org, default=True)).json()["id"]
    assert operator.get(f"device/{active.pk}/").json()["config"]["templates"] == [pk]
    assert operator.get(f"device/{retired.pk}/").json()["config"]["templates"] == []
    wisp = body(org, name="w", backend="netjsonconfig.OpenWisp", default=True)
    assert operator.post("template/", wisp).status_code == 201
    assert operator.get(f"device/{active.pk}/").json()["config"]["templates"] == [pk]


def test_deleting_detaches_and_recomputes(operator: Api, org: Any) -> None:
    template = factories.template(org, config=factories.interface("eth7"))
    device = factories.device(org, config={"templates": [template]})
    before = factories.config_of(device).checksum
    assert operator.delete(f"template/{template.pk}/").status_code == 204
    assert not ConfigTemplate.objects.exists()
    recompute.drain()
    assert factories.config_of(device).checksum != before


def test_a_template_in_use_elsewhere_does_not_move(root: Api, org: Any, other: Any) -> None:
    shared = factories.template()
    factories.device(org, config={"templates": [shared]})
    answer = root.patch(f"template/{shared.pk}/", {"organization": str(other.pk)})
    assert list(answer.json()) == ["organization"]
    assert root.patch(f"template/{shared.pk}/", {"organization": str(org.pk)}).status_code == 200


def test_filters(operator: Api, org: Any) -> None:
    factories.template(name="shared")
    factories.template(org, name="generic", required=True)
    factories.template(
        org, name="wisp", backend="netjsonconfig.OpenWisp", config={"general": {"hostname": "host-1"}}
    )

    def found(**query: Any) -> set[str]:
        answer = operator.get("template/", **query)
        assert answer.status_code == 200, answer.json()
        return {item["name"] for item in answer.json()["results"]}

    assert found() == {"shared", "generic", "wisp"}
    assert found(organization=org.pk) == {"generic", "wisp"}
    assert found(organization_slug=org.slug, required="true") == {"generic"}
    assert found(backend="netjsonconfig.OpenWisp") == {"wisp"}
    assert found(type="vpn") == set()
    assert found(default="false") == {"shared", "wisp"}
    assert found(default="perhaps") == {"shared", "generic", "wisp"}
    assert operator.get("template/", type="perhaps").status_code == 400
    assert operator.get("template/", organization="perhaps").status_code == 400


def test_the_download_renders_the_template_alone(operator: Api, org: Any, other: Any) -> None:
    template = factories.template(
        org,
        name='odd "näme"',
        config={"general": {"timezone": "{{ zone }}", "hostname": "host-1"}},
        default_values={"zone": "UTC"},
    )
    answer = operator.get(f"template/{template.pk}/configuration/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/octet-stream"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        member = archive.extractfile("etc/config/system")
        assert member is not None
        assert b"option timezone 'UTC'" in member.read()
    again = operator.get(f"template/{template.pk}/configuration/")
    assert hashlib.md5(again.content).digest() == hashlib.md5(answer.content).digest()
    foreign = operator.get(f"template/{factories.template(other).pk}/configuration/")
    unknown = operator.get(f"template/{uuid4()}/configuration/")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


def test_lists_ask_the_database_equally_often_however_long_they_are(
    operator: Api, org: Any, django_assert_num_queries: Any
) -> None:
    operator.get("template/")
    for count in (1, 8):
        for _ in range(count):
            factories.template(org, tags=["a", "b"])
        with django_assert_num_queries(5):  # token, roles, count, templates, tags
            assert operator.get("template/").status_code == 200
