"""Secrets in the admin: in no page; on request for who may see them; back in place when a form is saved."""

import json
from typing import Any

import pytest
from django.test import Client

from config_merge.models import Template
from config_merge.services import recompute, templates
from core.redaction import mark_of
from devices.models import DeviceGroup, FleetSettings
from tenancy.disclosure import recent
from tenancy.models import AuditEvent, Organization
from tests import factories
from tests.admin.conftest import device_form, page
from tests.browser.test_device_page import PHRASE, WIFI

KEPT = {"wifi_password": "own-secret-1", "phrase": "own-secret-2", "vlan": "7"}


@pytest.fixture
def device(org: Organization) -> Any:
    template = factories.template(
        org, name="Wi-Fi", config=WIFI, default_values={"phrase": PHRASE, "ssid": "x"}
    )
    return factories.device(org, name="ap-1", config={"templates": [template], "context": KEPT})


def revealed(client: Client, name: str, pk: Any, part: str) -> Any:
    return client.post(page(f"{name}_reveal", pk), {"part": part})


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", None])
def test_no_page_of_a_device_holds_a_secret(staff: Any, device: Any, role: str | None) -> None:
    client = staff(role)
    paths = [
        page(f"devices_device_{name}", device.pk) for name in ("change", "effective", "files", "revisions")
    ]
    paths += [page("devices_device_revision", device.pk, 1)]
    for path in paths:
        text = client.get(path).content.decode()
        for secret in (device.key, PHRASE, *list(KEPT.values())[:2]):
            assert secret not in text, path


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("config_context", {"own-secret-1", "own-secret-2"}),
        ("effective", {"own-secret-1", "own-secret-2", PHRASE}),
        ("files", {"own-secret-2"}),
        ("revision:1", {"own-secret-2"}),
        ("compare:1:1", {"own-secret-2"}),
    ],
)
def test_who_may_sees_them_on_request_and_that_is_written_down(
    staff: Any, device: Any, part: str, expected: set[str]
) -> None:
    blind = staff("operator")
    factories.without_reveal(blind.user)
    assert revealed(blind, "devices_device", device.pk, part).status_code == 403
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()
    answer = revealed(staff("manager"), "devices_device", device.pk, part)
    secrets = answer.json()["secrets"]
    assert expected <= set(secrets.values()) and all(
        mark_of(value) == mark for mark, value in secrets.items()
    )
    assert "no-store" in answer["Cache-Control"]
    event = AuditEvent.objects.get(action="secret.revealed")
    assert (event.target_id, event.changes) == (str(device.pk), {"part": ["", part]})


@pytest.mark.parametrize("part", ["", "nothing", "revision:x", "compare:1", "revision:99999999999", "\x00"])
def test_what_is_not_a_part_reveals_nothing(staff: Any, device: Any, part: str) -> None:
    assert revealed(staff("manager"), "devices_device", device.pk, part).status_code == 400
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()


def test_a_saved_form_puts_the_stored_secrets_back(operator: Client, device: Any) -> None:
    path = page("devices_device_change", device.pk)
    shown = json.loads(operator.get(path).context["adminform"].form.initial["config_context"])
    assert shown == {**KEPT, "wifi_password": mark_of("own-secret-1"), "phrase": mark_of("own-secret-2")}
    rows = factories.config_of(device).config_templates.order_by("position")
    posted = device_form(device, config_context=json.dumps({**shown, "vlan": "8"}), key="")
    posted["config_templates"] = [str(row.template_id) for row in rows]
    assert operator.post(path, posted).status_code == 302
    assert factories.config_of(device).context == {**KEPT, "vlan": "8"}
    key = device.key
    device.refresh_from_db()
    assert device.key == key
    moved = {"note": shown["wifi_password"], "phrase": shown["wifi_password"]}
    refused = operator.post(path, {**posted, "config_context": json.dumps(moved)})
    assert refused.context["adminform"].form.errors["config_context"]
    assert "own-secret-1" not in refused.content.decode()


def test_groups_and_fleet_settings_keep_theirs(staff: Any, org: Organization) -> None:
    manager = staff("manager")
    group = factories.group(org, context={"vpn_password": "group-secret"}, meta_data={})
    secret = factories.fleet_of(org, context={"api_token": "org-secret-9"}).shared_secret
    for name, pk, hidden, part in (
        ("devices_devicegroup", group.pk, "group-secret", "context"),
        ("devices_fleetsettings", org.pk, "org-secret-9", "context"),
        ("devices_fleetsettings", org.pk, secret, "shared_secret"),
    ):
        for client in (staff("viewer"), manager):
            assert hidden not in client.get(page(f"{name}_change", pk)).content.decode()
        assert revealed(staff("viewer"), name, pk, part).status_code == 403
        assert revealed(manager, name, pk, part).json()["secrets"] == {mark_of(hidden): hidden}
    posted = {
        "shared_secret": "",
        "device_limit": "9",
        "context": json.dumps({"api_token": mark_of("org-secret-9")}),
    }
    answer = manager.post(
        page("devices_fleetsettings_change", org.pk), {**posted, "registration_enabled": "on"}
    )
    assert answer.status_code == 302
    row = FleetSettings.objects.get(pk=org.pk)
    assert (row.shared_secret, row.device_limit, row.context) == (secret, 9, {"api_token": "org-secret-9"})
    posted = {"name": "G2", "organization": str(org.pk), "description": "", "meta_data": "{}"}
    posted["context"] = json.dumps({"vpn_password": mark_of("group-secret"), "a": "b"})
    assert manager.post(page("devices_devicegroup_change", group.pk), posted).status_code == 302
    assert DeviceGroup.objects.get(pk=group.pk).context == {"vpn_password": "group-secret", "a": "b"}


@pytest.mark.parametrize("kind", ["devicegroup", "fleetsettings", "template"])
def test_a_variable_that_a_template_puts_at_a_secret_place_is_no_text_of_a_form(
    staff: Any, org: Organization, device: Any, kind: str
) -> None:
    secret, values = "never-on-a-page-1", {"phrase": "never-on-a-page-1", "zone": "attic"}
    if kind == "devicegroup":
        name, pk, part = "devices_devicegroup", factories.group(org, context=values).pk, "context"
    elif kind == "template":
        row = factories.template(org, default_values=values)
        name, pk, part = "config_merge_template", row.pk, "default_values"
    else:
        FleetSettings.objects.filter(pk=org.pk).update(context=values)
        name, pk, part = "devices_fleetsettings", org.pk, "context"
    client = staff("manager")
    text = client.get(page(f"{name}_change", pk)).content.decode()
    assert secret not in text and mark_of(secret) in text and "attic" in text
    assert revealed(client, name, pk, part).json() == {"secrets": {mark_of(secret): secret}}
    factories.without_reveal(client.user)
    assert revealed(client, name, pk, part).status_code == 403
    viewer = staff("viewer").get(page(f"{name}_change", pk))
    assert secret not in viewer.content.decode()


def test_a_group_saved_with_such_a_mark_keeps_the_variable(
    operator: Client, org: Organization, device: Any
) -> None:
    group = factories.group(org, context={"phrase": "never-on-a-page-1", "zone": "attic"})
    posted = {
        "name": group.name,
        "organization": str(org.pk),
        "description": "moved",
        "context": json.dumps({"phrase": mark_of("never-on-a-page-1"), "zone": "cellar"}),
        "meta_data": "{}",
    }
    assert operator.post(page("devices_devicegroup_change", group.pk), posted).status_code == 302
    group.refresh_from_db()
    assert group.context == {"phrase": "never-on-a-page-1", "zone": "cellar"}


def test_the_form_asks_only_about_what_its_user_may_see(
    operator: Client, org: Organization, other: Organization, device: Any
) -> None:
    foreign = factories.device(other, name="theirs", config={"config": factories.interface()})
    for name in ("relevant_templates", "system_variables"):
        for organization in (str(other.pk), "nonsense", "", "\x00"):
            answer = operator.get(page(f"devices_device_{name}"), {"organization": organization})
            assert (answer.status_code, answer.json()) == (404, {"error": "Not found."})
    shown = operator.get(
        page("devices_device_system_variables"), {"organization": str(org.pk), "device": str(foreign.pk)}
    )
    assert "theirs" not in shown.content.decode() and str(foreign.pk) not in shown.content.decode()
    assert operator.post(page("devices_device_preview", foreign.pk), device_form(foreign)).status_code == 302
    assert operator.get(page("devices_device_preview", device.pk)).status_code == 405


def test_a_viewer_neither_previews_nor_restores(staff: Any, device: Any) -> None:
    viewer = staff("viewer")
    assert viewer.post(page("devices_device_preview", device.pk), device_form(device)).status_code == 403
    assert viewer.get(page("devices_device_restore", device.pk, 1)).status_code == 403
    assert viewer.post(page("devices_device_restore", device.pk, 1)).status_code == 403


def test_a_key_that_was_replaced_stays_hidden_in_the_history(staff: Any, device: Any) -> None:
    template = Template.objects.get(name="Wi-Fi")
    device = factories.device(template.organization, name="ap-2", config={"templates": [template]})
    templates.template_update(template, default_values={"phrase": "new-phrase-1", "ssid": "{{ phrase }}"})
    templates.template_update(template, config={**WIFI, "general": {"description": "{{ phrase }}"}})
    recompute.drain()
    templates.template_update(template, default_values={"phrase": "new-phrase-2", "ssid": "x"})
    recompute.drain()
    viewer, manager = staff("viewer"), staff("manager")
    paths = [page("devices_device_revision", device.pk, number) for number in (1, 2, 3)]
    paths += [page("devices_device_compare", device.pk) + f"?from={old}&to=3" for old in (1, 2)]
    for path in paths:
        text = viewer.get(path).content.decode()
        for secret in (PHRASE, "new-phrase-1", "new-phrase-2"):
            assert secret not in text, path
    secrets = revealed(manager, "devices_device", device.pk, "compare:1:3").json()["secrets"]
    assert {PHRASE, "new-phrase-2"} <= set(secrets.values())


def test_a_variable_of_the_organization_is_no_less_secret_to_who_does_not_use_it_as_one(
    staff: Any, org: Organization
) -> None:
    factories.fleet_of(org, context={"phrase": PHRASE, "lan": "10.0.0.1", "said": f"it is {PHRASE}"})
    factories.template(org, config=WIFI, default_values={"phrase": "weak-secret", "ssid": "x"})
    spoken = {"general": {"description": "say {{ phrase }}"}, "files": [
        {"path": "/etc/{{ phrase }}", "mode": "0644", "contents": "x"}
    ]}  # fmt: skip
    device = factories.device(org, name="ap-1", config={"config": spoken})
    blind = staff("operator")
    factories.without_reveal(blind.user)
    asked = {"organization": str(org.pk)}
    pages = [page(f"devices_device_{name}", device.pk) for name in ("effective", "files")]
    answers = [blind.get(path) for path in (*pages, page("devices_device_revision", device.pk, 1))]
    variables = blind.get(page("devices_device_system_variables"), asked)
    assert "10.0.0.1" in variables.content.decode()
    new = device_form(
        name="ap-2", mac_address=factories.mac(), organization=str(org.pk), config_config=json.dumps(spoken)
    )
    answers += [variables, blind.post(page("devices_device_preview_new"), new)]
    for answer in answers:
        assert answer.status_code == 200
        assert PHRASE not in answer.content.decode() and mark_of(PHRASE) in answer.content.decode()
    wrong = json.dumps({"general": {"timezone": "{{ phrase }}"}})
    for path, posted in (
        (page("devices_device_preview_new"), {**new, "config_config": wrong}),
        (page("devices_device_preview", device.pk), device_form(device, config_config=wrong, key="")),
        (page("devices_device_change", device.pk), device_form(device, config_config=wrong, key="")),
    ):
        text = blind.post(path, posted).content.decode()
        assert PHRASE not in text and mark_of(PHRASE) in text, path
    secrets = revealed(staff("manager"), "devices_device", device.pk, "files").json()["secrets"]
    assert secrets[mark_of(PHRASE)] == PHRASE


def test_an_effect_is_plain_only_for_who_may_see_everyones_secrets_and_that_is_written_down(
    staff: Any, org: Organization
) -> None:
    shared = factories.template(None, config=WIFI, default_values={"phrase": PHRASE, "ssid": "x"})
    own = factories.template(org, config=WIFI, default_values={"phrase": "own-phrase-1", "ssid": "x"})
    factories.device(org, config={"templates": [own]})
    operator = staff("operator")
    posted = {
        "name": own.name, "organization": str(org.pk), "backend": "netjsonconfig.OpenWrt", "tags": "", "notes": "",
        "config": json.dumps(WIFI), "default_values": json.dumps({"phrase": "own-phrase-2", "ssid": "x"}),
    }  # fmt: skip
    path = page("config_merge_template_effect", own.pk)
    recent.forget()
    assert "own-phrase-2" in operator.post(path, posted).json()["html"]
    looks = AuditEvent.objects.filter(action="secret.revealed", target_id=str(own.pk))
    assert [look.organization_id for look in looks] == [org.pk]
    factories.device(org, config={"templates": [shared, own]})
    told = operator.post(path, posted).json()
    assert told["changed"] == 2 and "own-phrase-2" not in told["html"]
    assert "Secrets are shown as marks" in told["html"]
    assert "own-phrase-2" in staff(None).post(path, posted).json()["html"]
    assert {look.organization_id for look in looks.all()} == {org.pk, None}
