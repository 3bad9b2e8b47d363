"""Previews, the effective configuration and revisions over REST."""

import base64
from typing import Any

import pytest
from django.db import connection

from config_merge.engine import File, packed
from config_merge.models import Config, ConfigRevision, Template
from config_merge.services import recompute, templates
from devices.models import Device
from tenancy import services as tenancy
from tenancy.models import Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as
from tests.isolation.world import snapshot

ROME = {"general": {"timezone": "Europe/Rome"}}
UTC = {"general": {"timezone": "UTC"}}


def wifi(key: str = "{{ wifi_password }}") -> dict[str, Any]:
    return {
        "interfaces": [
            {
                "name": "wlan0",
                "type": "wireless",
                "wireless": {
                    "radio": "radio0",
                    "mode": "access_point",
                    "ssid": "net",
                    "encryption": {"protocol": "wpa2_personal", "key": key},
                },
            }
        ]
    }


@pytest.fixture
def revealing(org: Any) -> Api:
    person = factories.user("revealing", role=Role.OPERATOR, organization=org)
    membership = tenancy.Membership.objects.get(user=person)
    tenancy.Membership.objects.filter(pk=membership.pk).update(can_reveal=True)
    return api_as(person)


# --- previews ---


@pytest.fixture
def blind(org: Any) -> Api:
    """Return an operator whose right to see secrets was withdrawn."""
    return api_as(factories.without_reveal(factories.user("blind", role=Role.OPERATOR, organization=org)))


def test_a_preview_says_how_many_devices_change_and_shows_each_diff_once(operator: Api, org: Any) -> None:
    template = factories.template(org, config=UTC, default=True)
    devices = [factories.configured(org) for _ in range(3)]
    factories.device(org, config={"config": {"general": {"timezone": "Asia/Tokyo"}}})
    rows = snapshot()
    answer = operator.post(f"template/{template.pk}/preview/", {"config": ROME})
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert {k: body[k] for k in ("total", "changed", "unchanged", "failed", "failures")} == {
        "total": 4, "changed": 3, "unchanged": 1, "failed": 0, "failures": [],
    }  # fmt: skip
    (group,) = body["groups"]
    assert list(group) == ["count", "devices", "diff"]
    assert group["devices"] == [
        {"id": str(device.pk), "name": device.name} for device in sorted(devices, key=lambda each: each.name)
    ]
    assert "-\toption zonename 'UTC'\n" in group["diff"]
    assert "+\toption zonename 'Europe/Rome'\n" in group["diff"]
    gone = operator.post(f"template/{template.pk}/preview/?delete=true", {}).json()
    assert (gone["changed"], gone["unchanged"]) == (3, 1)
    assert snapshot() == rows


def test_every_preview_route_answers_with_the_same_shape(operator: Api, root: Api, org: Any) -> None:
    group = factories.group(org)
    template = factories.template(org, config=UTC)
    device = factories.configured(org, group=group)
    new = {
        "name": "n",
        "organization": str(org.pk),
        "backend": "netjsonconfig.OpenWrt",
        "config": ROME,
        "default": True,
    }
    manager = api_as(factories.user(role=Role.MANAGER, organization=org))
    for caller, path, body in (
        (operator, "template/preview/", new),
        (operator, f"group/{group.pk}/preview/", {"templates": [str(template.pk)]}),
        (operator, f"device/{device.pk}/preview/", {"name": "other", "config": {"config": ROME}}),
        (manager, f"organization/{org.pk}/variables/preview/", {"context": {"name": "x"}}),
    ):
        answer = caller.post(path, body)
        assert answer.status_code == 200, answer.json()
        assert list(answer.json()) == ["total", "changed", "unchanged", "failed", "groups", "failures"]
        assert answer.json()["total"] == 1
    assert operator.post(f"organization/{org.pk}/variables/preview/", {"context": {}}).status_code == 403
    assert (
        operator.post(f"device/{device.pk}/preview/", {"config": {"context": {"a": "\x00"}}}).status_code
        == 400
    )


def test_a_preview_is_refused_as_the_change_would_be(operator: Api, viewer: Api, org: Any) -> None:
    template = factories.template(org)
    device = factories.configured(org)
    for path, body in (
        (f"template/{template.pk}/", {"config": {}}),
        (f"template/{template.pk}/", {"config": {"interfaces": "x"}}),
        (f"template/{template.pk}/", {"name": "\x00"}),
        (f"device/{device.pk}/", {"name": "not a name"}),
        (f"device/{device.pk}/", {"config": {"backend": "x"}}),
    ):
        told, done = operator.post(f"{path}preview/", body), operator.patch(path, body)
        assert told.status_code == done.status_code == 400
        assert told.json() == done.json()
        assert viewer.post(f"{path}preview/", body).status_code == 403
    operator.post(f"device/{device.pk}/deactivate/")
    assert operator.post(f"device/{device.pk}/preview/", {"notes": "x"}).status_code == 403


def test_secrets_in_a_preview_are_marks_without_the_right(blind: Api, revealing: Api, org: Any) -> None:
    values = {"wifi_password": "first-secret"}
    template = factories.template(org, config=wifi(), default_values=values, default=True)
    factories.configured(org)
    edit = {"default_values": {"wifi_password": "second-secret"}}
    hidden = blind.post(f"template/{template.pk}/preview/", edit).json()
    shown = revealing.post(f"template/{template.pk}/preview/", edit).json()
    assert "-secret" not in str(hidden) and hidden["groups"][0]["diff"].count("redacted:") == 2
    assert "-\toption key 'first-secret'\n+\toption key 'second-secret'" in shown["groups"][0]["diff"]


# --- the effective configuration ---


def test_the_effective_tree_hides_secrets_wherever_they_went(blind: Api, revealing: Api, org: Any) -> None:
    script = {"path": "/x", "mode": "0644", "contents": "join {{ place }} {{ wifi_password }} {{ carried }}"}
    shared = factories.template(
        org,
        config={**wifi("{{ carried }}"), "files": [script]},
        default_values={"wifi_password": "weak-secret", "carried": "low-secret", "place": "roof"},
        default=True,
    )
    device = factories.device(
        org,
        config={
            "context": {"wifi_password": "strong-secret", "carried": "high-secret"},
            "config": wifi("own-secret"),
        },
    )
    factories.fleet_of(org, context={"carried": "mid-secret"})
    hidden = blind.get(f"device/{device.pk}/effective/").json()
    assert list(hidden) == ["backend", "tree", "leaves", "variables"]
    assert hidden["tree"]["interfaces"][0]["wireless"]["ssid"] == "net"
    assert hidden["tree"]["interfaces"][0]["wireless"]["encryption"]["key"].startswith("redacted:")
    assert "roof" in hidden["tree"]["files"][0]["contents"]
    for secret in (
        "weak-secret",
        "strong-secret",
        "low-secret",
        "high-secret",
        "mid-secret",
        "own-secret",
        device.key,
    ):
        assert secret not in str(hidden), secret
    shown = revealing.get(f"device/{device.pk}/effective/").json()
    assert "join roof strong-secret high-secret" in str(shown) and "own-secret" in str(shown)
    assert "low-secret" in str(shown)
    key = next(leaf for leaf in shown["leaves"] if leaf["path"].endswith("/key"))
    assert (key["value"], key["source"]["layer"]) == ("own-secret", "device")
    assert key["shadowed"][0]["source"]["id"] == str(shared.pk)


# --- revisions ---


def revised(org: Any) -> tuple[Device, Template]:
    """Return a device with two revisions: Rome by its own word, then Tokyo."""
    template = factories.template(
        org,
        name="lan",
        config={**wifi(), "general": {"description": "t"}},
        default_values={"wifi_password": "one-secret"},
    )
    device = factories.device(org, config={"config": ROME, "context": {"a": "1"}, "templates": [template]})
    api_as(factories.superuser()).patch(
        f"device/{device.pk}/",
        {"config": {"config": {"general": {"timezone": "Asia/Tokyo"}}, "context": {}, "templates": []}},
    )
    return device, template


def test_a_revision_shows_its_files_and_secrets_only_to_those_who_may(
    blind: Api, revealing: Api, org: Any
) -> None:
    device, _ = revised(org)
    body = blind.get(f"device/{device.pk}/revisions/1/").json()
    assert (body["number"], body["cause"], body["restorable"]) == (1, "created", True)
    files = {file["path"]: file for file in body["files"]}
    assert "Europe/Rome" in files["etc/config/system"]["text"]
    assert "one-secret" not in str(body) and "redacted:" in files["etc/config/wireless"]["text"]
    assert "one-secret" in str(revealing.get(f"device/{device.pk}/revisions/1/").json())
    for number in ("0", "3", "999999999"):
        assert blind.get(f"device/{device.pk}/revisions/{number}/").status_code == 404
    assert blind.get(f"device/{device.pk}/revisions/1000000000/").status_code == 404


def test_bytes_that_are_no_text_come_as_base64_to_those_who_may(blind: Api, revealing: Api, org: Any) -> None:
    device = factories.configured(org)
    archive = packed([File("etc/x.bin", "0644", b"\xff\xfe")]).archive
    ConfigRevision.objects.filter(config__device=device).update(artefact=archive)
    path = f"device/{device.pk}/revisions/1/"
    assert blind.get(path).json()["files"][0] | {"path": ""} == {
        "path": "", "mode": "0644", "size": 2, "text": None, "base64": None,
    }  # fmt: skip
    assert base64.b64decode(revealing.get(path).json()["files"][0]["base64"]) == b"\xff\xfe"


def test_two_revisions_differ_by_a_unified_diff(blind: Api, org: Any) -> None:
    device, _ = revised(org)
    body = blind.get(f"device/{device.pk}/revisions/1/diff/2/").json()
    assert (body["from"], body["to"]) == (1, 2)
    assert (
        "-\toption zonename 'Europe/Rome'\n" in body["diff"]
        and "+\toption zonename 'Asia/Tokyo'\n" in body["diff"]
    )
    assert "one-secret" not in body["diff"] and "-\toption key 'redacted:" in body["diff"]
    assert blind.get(f"device/{device.pk}/revisions/2/diff/2/").json()["diff"] == ""
    assert blind.get(f"device/{device.pk}/revisions/1/diff/9/").status_code == 404


def test_a_restore_is_a_new_revision_with_the_old_bytes(operator: Api, viewer: Api, org: Any) -> None:
    device, template = revised(org)
    path = f"device/{device.pk}/revisions/1/restore/"
    assert viewer.post(path).status_code == 403
    assert operator.post(path).json() == {"revision": 3, "identical": True}
    first, third = ConfigRevision.objects.filter(config__device=device, number__in=(1, 3)).order_by("number")
    assert (third.cause, third.checksum) == ("restored", first.checksum)
    config = factories.config_of(device)
    assert (config.config, config.context, list(config.templates.all())) == (ROME, {"a": "1"}, [template])
    assert operator.post(path).json() == {"revision": 3, "identical": True}
    templates.template_update(template, default_values={"wifi_password": "two-secret"})
    recompute.drain()
    assert operator.post(path).json() == {"revision": 4, "identical": False}


def test_a_template_that_is_gone_refuses_a_restore_by_name_unless_it_may_be_left_out(
    operator: Api, org: Any
) -> None:
    device, template = revised(org)
    templates.template_delete(template)
    path = f"device/{device.pk}/revisions/1/restore/"
    answer = operator.post(path)
    assert answer.status_code == 400
    assert "lan" in str(answer.json()["templates"])
    assert factories.config_of(device).revision_number == 2
    assert operator.post(f"{path}?skip_missing=true").json() == {"revision": 3, "identical": False}
    assert factories.config_of(device).config == ROME


def test_a_revision_without_records_cannot_be_restored(operator: Api, org: Any) -> None:
    device, _ = revised(org)
    ConfigRevision.objects.filter(number=1).update(inputs={})
    answer = operator.post(f"device/{device.pk}/revisions/1/restore/")
    assert answer.status_code == 400 and "only its files are known" in str(answer.json())
    assert operator.get(f"device/{device.pk}/revisions/1/").json()["restorable"] is False
    assert operator.post(f"device/{device.pk}/revisions/9/restore/").status_code == 404
    operator.post(f"device/{device.pk}/deactivate/")
    assert operator.post(f"device/{device.pk}/revisions/2/restore/").status_code == 403


def test_what_a_revision_was_made_of_is_encrypted_at_rest(org: Any, operator: Api) -> None:
    factories.device(org, config={"config": wifi("own-secret")})
    with connection.cursor() as cursor:
        cursor.execute("SELECT inputs FROM config_merge_configrevision")
        raw = str(cursor.fetchall())
    assert "secret" not in raw and len(raw) > 50
    assert "own-secret" in str(ConfigRevision.objects.get().inputs)
    assert Config.objects.get().revision_number == 1
