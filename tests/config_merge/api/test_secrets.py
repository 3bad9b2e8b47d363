"""Secrets over REST: who sees them, what others see instead, and that an edited copy loses none of them."""

from typing import Any

import pytest

from config_merge.models import Config, Template
from core.redaction import is_mark, mark_of
from devices.models import Device, DeviceGroup
from tenancy.disclosure import recent
from tenancy.models import AuditEvent, Membership, Organization, Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

SECRET = "correct-horse"


def wifi(key: str = SECRET) -> dict[str, Any]:
    encryption = {"protocol": "wpa2_personal", "key": key}
    wireless = {"radio": "radio0", "mode": "access_point", "ssid": "guests", "encryption": encryption}
    return {"interfaces": [{"name": "wlan0", "type": "wireless", "wireless": wireless}]}


@pytest.fixture(autouse=True)
def nobody_has_looked_yet() -> None:
    recent.forget()


@pytest.fixture
def device(org: Organization) -> Device:
    return factories.device(
        org, config={"config": wifi(), "context": {"wifi_password": SECRET, "lan": "10.0.0.1"}}
    )


@pytest.fixture
def blind(org: Organization) -> Api:
    """An operator whose right to reveal was withdrawn."""
    user = factories.operator(org)
    Membership.objects.filter(user=user).update(can_reveal=False)
    return api_as(user)


def test_who_may_not_reveal_sees_marks_everywhere(
    viewer: Api, blind: Api, org: Organization, device: Device
) -> None:
    template = factories.template(org, config=wifi(), default_values={"psk": SECRET})
    group = factories.group(org, context={"admin_password": SECRET})
    paths = (
        f"device/{device.pk}/",
        "device/",
        f"template/{template.pk}/",
        "template/",
        f"group/{group.pk}/",
        "group/",
    )
    for who in (viewer, blind):
        for path in paths:
            text = who.get(path).content.decode()
            assert SECRET not in text and device.key not in text, path
        body = who.get(f"device/{device.pk}/").json()
        assert body["key"] == mark_of(device.key)
        assert body["config"]["context"] == {"wifi_password": mark_of(SECRET), "lan": "10.0.0.1"}
        assert who.get(f"device/{device.pk}/configuration/").status_code == 403
        assert who.get(f"template/{template.pk}/configuration/").status_code == 403


def test_a_variable_that_feeds_a_secret_is_one(blind: Api, org: Organization) -> None:
    template = factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": SECRET})
    device = factories.device(org, config={"templates": [template], "context": {"guests": "another-secret"}})
    assert is_mark(blind.get(f"template/{template.pk}/").json()["default_values"]["guests"])
    assert is_mark(blind.get(f"device/{device.pk}/").json()["config"]["context"]["guests"])


def test_an_edited_copy_brings_no_secret_to_harm(blind: Api, org: Organization, device: Device) -> None:
    template = factories.template(org, config=wifi(), default_values={"psk": SECRET})
    group = factories.group(org, context={"admin_password": SECRET})
    for path in (f"device/{device.pk}/", f"template/{template.pk}/", f"group/{group.pk}/"):
        body = blind.get(path).json()
        answer = blind.put(path, body | {"notes": "edited", "description": "edited"})
        assert answer.status_code == 200, answer.content
    config = Config.objects.get(device=device)
    assert config.config == wifi() and config.context["wifi_password"] == SECRET
    assert Device.objects.get(pk=device.pk).key == device.key
    stored = Template.objects.get(pk=template.pk)
    assert stored.config == wifi() and stored.default_values == {"psk": SECRET}
    assert DeviceGroup.objects.get(pk=group.pk).context == {"admin_password": SECRET}


def test_a_mark_cannot_be_used_to_read_the_secret(blind: Api, device: Device, org: Organization) -> None:
    stolen = {"general": {"description": mark_of(SECRET)}}
    answer = blind.patch(f"device/{device.pk}/", {"config": {"config": stolen}})
    assert answer.status_code == 400 and "config" in answer.json()
    own = factories.device(org, config={"config": factories.interface()})
    answer = blind.patch(f"device/{own.pk}/", {"config": {"config": wifi(mark_of(SECRET))}})
    assert answer.status_code == 400, "another object's secret"
    answer = blind.patch(f"device/{own.pk}/", {"key": mark_of(device.key)})
    assert answer.status_code == 400 and "key" in answer.json()
    new = {
        "name": "n",
        "organization": str(org.pk),
        "backend": "netjsonconfig.OpenWrt",
        "config": wifi(mark_of(SECRET)),
    }
    assert blind.post("template/", new).status_code == 400


def test_every_look_at_a_secret_is_written_down_once(operator: Api, device: Device) -> None:
    for _ in range(3):
        assert operator.get(f"device/{device.pk}/").json()["key"] == device.key
    looks = AuditEvent.objects.filter(action="secret.revealed")
    assert [(row.actor_name, row.target_id, row.via) for row in looks] == [
        ("operator", str(device.pk), "rest")
    ]
    operator.get(f"device/{device.pk}/configuration/")
    assert looks.count() == 1


def test_marks_are_no_look(viewer: Api, device: Device) -> None:
    viewer.get(f"device/{device.pk}/")
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()


def test_what_people_do_is_in_the_trail_without_its_secrets(operator: Api, org: Organization) -> None:
    AuditEvent.objects.all().delete()
    body = {"name": "ap-1", "organization": str(org.pk), "mac_address": "00:11:22:33:44:55"}
    config = {
        "backend": "netjsonconfig.OpenWrt",
        "templates": [],
        "context": {"psk": SECRET},
        "config": wifi(),
    }
    pk = operator.post(
        "device/",
        body | {"config": config},
        HTTP_X_CHANGE_REASON="neues Gerät, 新".encode().decode("latin-1"),
    ).json()["id"]
    operator.patch(f"device/{pk}/", {"notes": "n", "config": {"config": wifi("other-secret")}})
    operator.post(f"device/{pk}/deactivate/")
    operator.post(f"device/{pk}/activate/")
    operator.delete(f"device/{pk}/?force=true")
    events = AuditEvent.objects.exclude(action="secret.revealed").order_by("created")
    assert [row.action for row in events] == [
        "device.created", "config.created", "device.changed", "config.changed", "device.deactivated",
        "device.activated", "device.deleted",
    ]  # fmt: skip
    assert {(row.actor_name, row.organization_id, row.target_id) for row in events} == {
        ("operator", org.pk, pk)
    }
    assert events[0].reason == "neues Gerät, 新" and events[0].request_id
    changed = events[3].changes
    assert list(changed) == ["config/interfaces/0/wireless/encryption/key"]
    assert changed["config/interfaces/0/wireless/encryption/key"] == [
        mark_of(SECRET),
        mark_of("other-secret"),
    ]
    assert SECRET not in str([row.changes for row in events])


def test_a_viewer_given_the_right_sees_secrets(viewer: Api, org: Organization, device: Device) -> None:
    Membership.objects.filter(user__username="viewer").update(can_reveal=True)
    assert viewer.get(f"device/{device.pk}/").json()["key"] == device.key
    assert viewer.get(f"device/{device.pk}/configuration/").status_code == 200


def test_shared_secrets_are_for_superusers(operator: Api, root: Api) -> None:
    shared = factories.template(None, config=wifi())
    assert SECRET not in operator.get(f"template/{shared.pk}/").content.decode()
    assert operator.get(f"template/{shared.pk}/configuration/").status_code == 403
    assert SECRET in root.get(f"template/{shared.pk}/").content.decode()


def test_secrets_are_not_taken_to_where_one_may_see_them(
    blind: Api, org: Organization, device: Device
) -> None:
    elsewhere = factories.organization()
    person = Membership.objects.get(organization=org, role=Role.OPERATOR, can_reveal=False).user
    factories.tenancy.membership_set(user=person, organization=elsewhere, role=Role.OPERATOR)
    template = factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": SECRET})
    group = factories.group(org, context={"guests": SECRET})
    for path in (f"device/{device.pk}/", f"template/{template.pk}/", f"group/{group.pk}/"):
        answer = blind.patch(path, {"organization": str(elsewhere.pk)})
        assert (answer.status_code, list(answer.json())) == (400, ["organization"]), answer.content
    plain = factories.template(org)
    assert blind.patch(f"template/{plain.pk}/", {"organization": str(elsewhere.pk)}).status_code == 200


def test_who_may_not_reveal_chooses_no_key(blind: Api, org: Organization, device: Device) -> None:
    answer = blind.patch(f"device/{device.pk}/", {"key": "a-key-i-know"})
    assert (answer.status_code, list(answer.json())) == (400, ["key"])
    new = {"name": "n", "organization": str(org.pk), "mac_address": factories.mac(), "key": "a-key-i-know"}
    assert blind.post("device/", new).status_code == 400
    new.pop("key")
    assert blind.post("device/", new).status_code == 201


def test_variables_of_groups_that_feed_secrets_are_secrets(viewer: Api, org: Organization) -> None:
    factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": "x" * 8})
    group = factories.group(
        org, context={"guests": SECRET, "lan": "10.0.0.1"}, meta_data={"password": SECRET}
    )
    body = viewer.get(f"group/{group.pk}/").json()
    assert body["context"] == {"guests": mark_of(SECRET), "lan": "10.0.0.1"}
    assert body["meta_data"] == {"password": mark_of(SECRET)}
    assert SECRET not in viewer.get("group/").content.decode()


def test_default_values_that_feed_secrets_of_other_templates_are_secrets(
    blind: Api, org: Organization
) -> None:
    factories.template(org, config={"x": [{"password": "{{ phrase }}"}]})
    source = factories.template(org, default_values={"phrase": "open sesame", "zone": "attic"})
    path = f"template/{source.pk}/"
    for shown in (blind.get(path).json(), blind.get("template/").json()["results"][0]):
        assert shown["default_values"] == {"phrase": mark_of("open sesame"), "zone": "attic"}
    answer = blind.patch(path, {"default_values": {**shown["default_values"], "zone": "cellar"}})
    assert answer.status_code == 200, answer.json()
    source.refresh_from_db()
    assert source.default_values == {"phrase": "open sesame", "zone": "cellar"}


def test_an_archive_whose_secret_is_a_default_value_is_refused_too(viewer: Api, org: Organization) -> None:
    template = factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": SECRET})
    assert viewer.get(f"template/{template.pk}/configuration/").status_code == 403


def test_the_trail_holds_no_value_of_a_variable(operator: Api, org: Organization) -> None:
    factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": SECRET})
    factories.group(org, context={"guests": SECRET})
    factories.fleet_of(org, context={"guests": SECRET})
    factories.device(org, config={"context": {"guests": SECRET}})
    assert SECRET not in str(list(AuditEvent.objects.values_list("changes", flat=True)))


def test_a_move_is_told_in_both_places_and_tells_neither_of_the_other(root: Api, org: Organization) -> None:
    elsewhere = factories.organization()
    moved = (
        ("device", factories.device(org, group=factories.group(org))),
        ("template", factories.template(org)),
        ("group", factories.group(org)),
    )
    for kind, row in moved:
        AuditEvent.objects.all().delete()
        body = {"organization": str(elsewhere.pk)} | ({"group": None} if kind == "device" else {})
        assert root.patch(f"{kind}/{row.pk}/", body).status_code == 200
        (left,) = AuditEvent.objects.filter(organization=org)
        (came,) = AuditEvent.objects.filter(organization=elsewhere, action=f"{kind}.changed")
        assert left.action == f"{kind}.moved_away" and str(elsewhere.pk) not in str(left.changes)
        assert came.changes["organization"] == [None, str(elsewhere.pk)] and str(org.pk) not in str(
            came.changes
        )
