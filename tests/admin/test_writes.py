"""Forms and actions go through the services, and what a service refuses is shown on the form."""

import json
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from config_merge.models import Cause, Config, Status, Template
from config_merge.services import reports
from devices.models import Device, DeviceGroup, FleetSettings
from tenancy.models import Organization
from tests import factories
from tests.admin.conftest import device_form, page


def messages_of(answer: Any) -> str:
    """Return what the answer tells people."""
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def template_form(template: Template | None = None, **changes: Any) -> dict[str, Any]:
    """Return what a browser posts from the template form."""
    posted: dict[str, Any] = {
        "name": "New",
        "organization": "",
        "backend": "netjsonconfig.OpenWrt",
        "config": "{}",
        "default_values": "{}",
        "tags": "",
        "notes": "",
    }
    if template is not None:
        posted |= {
            "name": template.name,
            "organization": str(template.organization_id or ""),
            "config": json.dumps(template.config),
        }
    return {**posted, **changes}


def test_a_new_device_gets_key_configuration_and_revision(operator: Client, org: Organization) -> None:
    factories.template(org, name="Everyone", default=True)
    chosen = factories.template(org, name="Chosen", config=factories.interface("eth1"))
    posted = device_form(
        name="ap-1",
        mac_address="02:00:00:00:00:01",
        organization=str(org.pk),
        config_templates=[str(chosen.pk)],
    )
    answer = operator.post(page("devices_device_add"), posted)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    device = Device.objects.get()
    assert len(device.key) == 32
    config = factories.config_of(device)
    assert [row.template.name for row in config.config_templates.all()] == ["Everyone", "Chosen"]
    assert config.revision.number == 1
    assert config.revision.actor_id == operator.user.pk  # type: ignore[attr-defined]


def test_an_edit_of_a_device_makes_a_revision_with_its_author(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    wanted = {"general": {"timezone": "Europe/Berlin"}}
    answer = operator.post(
        page("devices_device_change", device.pk), device_form(device, config_config=json.dumps(wanted))
    )
    assert answer.status_code == 302
    config = factories.config_of(device)
    assert (config.config, config.revision.number, config.revision.cause) == (wanted, 2, Cause.DEVICE)
    assert config.revision.actor_id == operator.user.pk  # type: ignore[attr-defined]


def test_a_form_that_changes_nothing_makes_no_revision(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    config = factories.config_of(device)
    posted = device_form(device, config_config=json.dumps(config.config))
    assert operator.post(page("devices_device_change", device.pk), posted).status_code == 302
    assert factories.config_of(device).revision_number == 1


def test_templates_keep_the_order_in_which_they_are_posted(operator: Client, org: Organization) -> None:
    first, second, third = (factories.template(org, name=name) for name in "ABC")
    device = factories.device(org, config={"templates": [first, second]})
    order = [str(third.pk), str(second.pk), str(first.pk)]
    operator.post(page("devices_device_change", device.pk), device_form(device, config_templates=order))
    rows = factories.config_of(device).config_templates.order_by("position")
    assert [str(row.template_id) for row in rows] == order
    shown = (
        operator.get(page("devices_device_change", device.pk)).context["adminform"].form["config_templates"]
    )
    assert [str(value) for value, *_ in shown.value() and [(value,) for value in shown.value()]] == order


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"a": ' + "9" * 5_000 + "}",
        "\x00",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("field", ["config_config", "config_context"])
def test_bad_json_is_a_form_error_and_shown_as_typed(
    operator: Client, org: Organization, text: str, field: str
) -> None:
    device = factories.configured(org)
    answer = operator.post(page("devices_device_change", device.pk), device_form(device, **{field: text}))
    assert answer.status_code == 200
    form = answer.context["adminform"].form
    assert form.errors[field]
    assert form[field].value() == text
    assert factories.config_of(device).revision_number == 1


def test_netjson_the_engine_refuses_is_a_form_error(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    bad = json.dumps({"interfaces": [{"name": "eth0"}]})
    answer = operator.post(page("devices_device_change", device.pk), device_form(device, config_config=bad))
    assert answer.status_code == 200
    assert "Invalid configuration" in answer.content.decode()
    assert factories.config_of(device).config == factories.interface()
    answer = operator.post(
        page("config_merge_template_add"), template_form(organization=str(org.pk), config=bad)
    )
    assert answer.status_code == 200
    assert "Invalid configuration" in answer.content.decode()
    assert not Template.objects.exists()


def test_an_empty_template_is_refused_on_its_field(operator: Client, org: Organization) -> None:
    answer = operator.post(page("config_merge_template_add"), template_form(organization=str(org.pk)))
    assert "cannot be empty" in str(answer.context["adminform"].form.errors["config"])


def test_a_name_taken_and_a_group_of_another_organization_are_refused(
    root: Client, org: Organization, other: Organization
) -> None:
    factories.device(org, name="taken")
    device = factories.device(org)
    answer = root.post(page("devices_device_change", device.pk), device_form(device, name="TAKEN"))
    assert answer.status_code == 200 and "already exists" in answer.content.decode()
    group = factories.group(other)
    answer = root.post(page("devices_device_change", device.pk), device_form(device, group=str(group.pk)))
    assert answer.context["adminform"].form.errors["group"]


def test_the_device_limit_is_told_on_the_form(operator: Client, org: Organization) -> None:
    factories.fleet_of(org, device_limit=1)
    factories.device(org)
    posted = device_form(name="second", mac_address="02:00:00:00:00:77", organization=str(org.pk))
    answer = operator.post(page("devices_device_add"), posted)
    assert answer.status_code == 200 and "maximum number of devices" in answer.content.decode()
    assert Device.objects.count() == 1


def test_a_device_that_moves_takes_the_templates_of_its_new_organization(
    root: Client, org: Organization, other: Organization
) -> None:
    old = factories.template(org, name="Old", config=factories.interface("eth1"))
    factories.template(other, name="New", required=True, config=factories.interface("eth2"))
    device = factories.device(org, config={"templates": [old]})
    posted = device_form(device, organization=str(other.pk), config_templates=[str(old.pk)])
    assert root.post(page("devices_device_change", device.pk), posted).status_code == 302
    rows = factories.config_of(device).config_templates.all()
    assert [row.template.name for row in rows] == ["New"]


@pytest.mark.django_db(transaction=True)
def test_a_template_edit_marks_its_devices_and_leaves_the_work_to_the_worker() -> None:
    org = factories.organization(name="Alpha")
    client = Client()
    client.force_login(factories.user(role="operator", organization=org, is_staff=True))
    template = factories.template(org)
    device = factories.device(org, config={"templates": [template]})
    before = factories.config_of(device)
    wanted = template_form(template, config=json.dumps(factories.interface("eth7")), tags="lan base")
    assert client.post(page("config_merge_template_change", template.pk), wanted).status_code == 302
    after = factories.config_of(device)
    assert after.generation == before.generation + 1
    assert after.stale_cause == Cause.TEMPLATE
    assert set(template.tag_rows.values_list("name", flat=True)) == {"lan", "base"}


def test_deleting_a_template_marks_its_devices(operator: Client, org: Organization) -> None:
    template = factories.template(org)
    device = factories.device(org, config={"templates": [template]})
    assert operator.get(page("config_merge_template_delete", template.pk)).status_code == 200
    operator.post(page("config_merge_template_delete", template.pk), {"post": "yes"})
    assert not Template.objects.exists()
    assert factories.config_of(device).is_stale


def test_a_group_gives_its_templates_to_its_members(operator: Client, org: Organization) -> None:
    first, second = factories.template(org, name="A"), factories.template(org, name="B")
    group = factories.group(org)
    device = factories.configured(org, group=group)
    posted = {
        "name": "Renamed", "organization": str(org.pk), "description": "", "meta_data": '{"floor": 2}',
        "context": '{"ssid": "x"}', "templates": [str(second.pk), str(first.pk)],
    }  # fmt: skip
    assert operator.post(page("devices_devicegroup_change", group.pk), posted).status_code == 302
    group.refresh_from_db()
    assert (group.name, group.meta_data, group.context) == ("Renamed", {"floor": 2}, {"ssid": "x"})
    rows = factories.config_of(device).config_templates.order_by("position")
    assert [row.template.name for row in rows] == ["B", "A"]
    operator.post(page("devices_devicegroup_delete", group.pk), {"post": "yes"})
    assert not DeviceGroup.objects.exists()
    assert not factories.config_of(device).config_templates.exists()


def test_fleet_settings_are_changed_and_the_secret_replaced(staff: Any, org: Organization) -> None:
    manager = staff("manager")
    before = FleetSettings.objects.get(pk=org.pk)
    posted = {"shared_secret": "another-secret-1", "device_limit": "5", "context": '{"a": "b"}'}
    assert manager.post(page("devices_fleetsettings_change", org.pk), posted).status_code == 302
    after = FleetSettings.objects.get(pk=org.pk)
    assert (after.shared_secret, after.device_limit, after.registration_enabled) == (
        "another-secret-1",
        5,
        False,
    )
    assert after.shared_secret_digest != before.shared_secret_digest
    short = manager.post(page("devices_fleetsettings_change", org.pk), {**posted, "shared_secret": "short"})
    assert short.context["adminform"].form.errors["shared_secret"]
    rotate = page("devices_fleetsettings_rotate", org.pk)
    assert manager.get(rotate).status_code == 200
    assert FleetSettings.objects.get(pk=org.pk).shared_secret == "another-secret-1", "asking changes nothing"
    assert manager.post(rotate).status_code == 302
    assert len(FleetSettings.objects.get(pk=org.pk).shared_secret) == 32
    assert staff("operator").post(rotate).status_code == 403


def test_switching_a_device_off_and_on_asks_first(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    path = page("devices_device_deactivate", device.pk)
    assert "Deactivate" in operator.get(path).content.decode()
    assert not Device.objects.get().is_deactivated, "asking changes nothing"
    assert "was deactivated" in messages_of(operator.post(path))
    assert factories.config_of(device).status == Status.DEACTIVATING
    assert "already is deactivated" in messages_of(operator.post(path))
    assert operator.put(page("devices_device_activate", device.pk)).status_code == 405


def test_only_a_device_out_of_service_is_deleted(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    path = page("devices_device_delete", device.pk)
    assert "must be deactivated" in messages_of(operator.post(path, {"post": "yes"}))
    operator.post(page("devices_device_deactivate", device.pk))
    assert "must be deactivated" in messages_of(operator.post(path, {"post": "yes"})), (
        "it has not confirmed yet"
    )
    config = factories.config_of(device)
    reports.take(reports.Report(config.pk, device.pk, "applied"))
    assert operator.post(path, {"post": "yes"}).status_code == 302
    assert not Device.objects.exists() and not Config.objects.exists()


def bulk(client: Client, action: str, devices: list[Device], *, confirmed: bool = True) -> Any:
    """Run an action on the list."""
    posted: dict[str, Any] = {"action": action, "_selected_action": [str(device.pk) for device in devices]}
    return client.post(
        page("devices_device_changelist"), {**posted, **({"confirmed": "1"} if confirmed else {})}
    )


def test_bulk_actions_ask_first_then_say_what_was_done_and_what_was_not(
    operator: Client, org: Organization, other: Organization
) -> None:
    first, second = factories.configured(org, name="one"), factories.configured(org, name="two")
    foreign = factories.configured(other, name="foreign-device")
    asked = bulk(operator, "deactivate_selected", [first, second, foreign], confirmed=False)
    text = asked.content.decode()
    assert "Deactivate 2 devices?" in text and "one" in text and "foreign" not in text
    assert not Device.objects.filter(is_deactivated=True).exists()
    assert "2 devices deactivated." in messages_of(
        bulk(operator, "deactivate_selected", [first, second, foreign])
    )
    assert not Device.objects.get(pk=foreign.pk).is_deactivated
    again = messages_of(bulk(operator, "deactivate_selected", [first, second]))
    assert "2 devices left alone" in again and "already is deactivated" in again
    assert "1 device activated." in messages_of(bulk(operator, "activate_selected", [first]))
    config = factories.config_of(second)
    reports.take(reports.Report(config.pk, second.pk, "applied"))
    told = messages_of(bulk(operator, "delete_retired", [first, second, foreign]))
    assert "1 device deleted." in told and "must be deactivated" in told
    assert set(Device.objects.values_list("name", flat=True)) == {"one", "foreign-device"}


def test_devices_are_moved_to_a_group_of_their_organization(
    operator: Client, root: Client, org: Organization, other: Organization
) -> None:
    group = factories.group(org, name="Cafes", templates=[factories.template(org, name="Coffee")])
    foreign_group = factories.group(other)
    device, foreign = factories.configured(org), factories.configured(other)
    asked = bulk(operator, "move_selected", [device], confirmed=False).content.decode()
    assert "Cafes (Alpha)" in asked and foreign_group.name not in asked
    posted = {
        "action": "move_selected",
        "confirmed": "1",
        "_selected_action": [str(device.pk), str(foreign.pk)],
    }
    path = page("devices_device_changelist")
    assert "Choose one" in messages_of(operator.post(path, {**posted, "group": str(foreign_group.pk)}))
    assert "1 device moved." in messages_of(operator.post(path, {**posted, "group": str(group.pk)}))
    assert [row.template.name for row in factories.config_of(device).config_templates.all()] == ["Coffee"]
    told = messages_of(root.post(path, {**posted, "group": str(group.pk)}))
    assert "1 device moved." in told and "belongs to another organization" in told
    operator.post(path, {**posted, "group": ""})
    device.refresh_from_db()
    assert device.group is None


def test_a_viewer_has_no_bulk_actions(staff: Any, org: Organization) -> None:
    device = factories.configured(org)
    bulk(staff("viewer"), "deactivate_selected", [device])
    assert not Device.objects.get().is_deactivated
