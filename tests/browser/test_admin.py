"""The admin as a person uses it, in a real browser: nothing complains and nothing leaves the house."""

import json
from typing import Any

import pytest

from config_merge.models import Status
from config_merge.services import recompute, reports
from tests import factories
from tests.admin.conftest import page as path_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def fleet(transactional_db: None) -> dict[str, Any]:
    """An operator, a template, and three devices that have applied it."""
    org = factories.organization("alpha", name="Alpha")
    factories.user("olga", role="operator", organization=org, is_staff=True)
    template = factories.template(org, name="Time zone", config={"general": {"timezone": "UTC"}})
    devices = [factories.device(org, name=f"ap-{n}", config={"templates": [template]}) for n in range(3)]
    for device in devices:
        config = factories.config_of(device)
        reports.take(reports.Report(config.pk, device.pk, "applied"))
    return {"org": org, "template": template, "devices": devices}


def test_a_template_edit_reaches_the_devices_before_ones_eyes(fleet: dict[str, Any], visit: Any) -> None:
    page = visit.sign_in("olga")
    page.get_by_role("link", name="Templates").first.click()
    page.get_by_role("link", name="Time zone").click()
    page.locator("#id_config").fill('{"general": {"timezone": "Europe/Berlin"}')
    assert "mu-json-state--bad" in page.locator("#id_config + .mu-json-state").get_attribute("class")
    page.locator("#id_config").fill(json.dumps({"general": {"timezone": "Europe/Berlin"}}))
    assert "Valid JSON" in page.locator("#id_config + .mu-json-state").inner_text()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("button", name="Save, and change 3 devices").click()
    page.get_by_text("3 still being computed").wait_for()
    recompute.drain()
    page.get_by_text("all computed").wait_for(timeout=20_000)

    page.get_by_role("link", name="Used by 3 devices").click()
    page.wait_for_url("**/admin/devices/device/?template=*")
    assert page.locator("#result_list .mu-badge", has_text="Modified").count() == 3
    page.get_by_role("link", name="ap-1").click()
    page.get_by_role("link", name="Effective configuration").click()
    row = page.locator(".mu-row", has_text="timezone")
    assert "Europe/Berlin" in row.inner_text()
    assert row.locator(".mu-row__origin a.mu-origin--template").inner_text() == "Template Time zone"
    assert page.get_by_role("link", name="Template Time zone").first.get_attribute("href") == path_of(
        "config_merge_template_change", fleet["template"].pk
    )
    page.get_by_role("link", name="Revisions").click()
    page.get_by_role("link", name="Revision 2").click()
    assert page.locator(".mu-diff__new", has_text="Europe/Berlin").count() == 1
    assert (visit.complaints, visit.foreign) == ([], [])


def test_templates_are_ordered_with_buttons_and_the_key_is_not_in_the_page(
    fleet: dict[str, Any], visit: Any
) -> None:
    device = fleet["devices"][0]
    factories.template(fleet["org"], name="Second", config=factories.interface("eth1"))
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_change", device.pk))
    assert device.key not in page.content() and page.locator("#id_key").input_value() == ""
    page.locator("[data-ordered-add]").select_option(label="Second")
    page.get_by_role("button", name="Move Second up").click()
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state("networkidle")
    rows = factories.config_of(device).config_templates.order_by("position")
    assert [row.template.name for row in rows] == ["Second", "Time zone"]
    assert page.locator(".mu-ordered__title").all_inner_texts() == ["Second", "Time zone"]
    page.get_by_role("button", name="Remove Second").click()
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state("networkidle")
    assert factories.config_of(device).config_templates.count() == 1
    device.refresh_from_db()
    assert (visit.complaints, visit.foreign) == ([], [])


def test_the_effective_configuration_is_narrowed_by_words_layer_and_overruling(
    fleet: dict[str, Any], visit: Any
) -> None:
    extra = factories.template(
        fleet["org"],
        name="LAN",
        config={"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": 1400}]},
    )
    device = factories.device(
        fleet["org"],
        name="ap-9",
        config={"templates": [fleet["template"], extra], "config": {"general": {"timezone": "Europe/Rome"}}},
    )
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_effective", device.pk))
    leaves = page.locator("[data-explain-section] [data-layer]:visible")
    everything = leaves.count()
    assert everything >= 5
    page.locator("[data-explain-search]").fill("mtu")
    assert leaves.count() == 1
    assert page.locator(".mu-row--branch:visible").count() == 1, "the branch above what is found stays"
    page.locator("[data-explain-search]").fill("")
    page.get_by_label("only overruled").check()
    assert leaves.count() == 1 and "Europe/Rome" in leaves.first.inner_text()
    page.get_by_label("only overruled").uncheck()
    page.locator("[data-explain-layer='template:LAN']").click()
    assert leaves.count() == 3
    page.locator("[data-explain-search]").fill("nothing like it")
    page.get_by_text("Nothing matches.").wait_for()
    assert (visit.complaints, visit.foreign) == ([], [])


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1440, "light")])
def test_every_page_is_quiet_and_fits_the_window(
    fleet: dict[str, Any], chromium: Any, live_server: Any, visit: Any, width: int, scheme: str
) -> None:
    superuser = factories.superuser("root")
    device = fleet["devices"][0]
    factories.notification(fleet["org"])
    factories.token_for(superuser)
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.emulate_media(color_scheme=scheme)
    visit.sign_in("root")
    paths = ["/admin/", "/admin/password_change/"]
    paths += [
        path_of(f"devices_device_{name}", device.pk)
        for name in ("change", "effective", "files", "revisions", "deactivate", "history")
    ]
    paths += [path_of("devices_device_revision", device.pk, 1), path_of("devices_device_add")]
    paths += [path_of("config_merge_template_change", fleet["template"].pk)]
    paths += [path_of("tenancy_organization_change", fleet["org"].pk)]
    paths += [path_of("devices_fleetsettings_change", fleet["org"].pk)]
    paths += [
        path_of("tenancy_user_change", superuser.pk),
        path_of("tenancy_user_add"),
        path_of("tenancy_apitoken_add"),
        path_of("tenancy_apikey_add"),
    ]
    paths += [
        path_of(f"{name}_changelist")
        for name in ("devices_device", "devices_devicegroup", "config_merge_template", "tenancy_notification")
    ]
    for path in paths:
        page = visit.to(path)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"{path} is {wider} px too wide"
    assert (visit.complaints, visit.foreign) == ([], [])


def test_a_bulk_action_asks_and_acts(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_changelist"))
    page.locator("#result_list .action-select").first.check()
    page.locator("select[name=action]").select_option("deactivate_selected")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("heading", name="Deactivate 1 device?").wait_for()
    page.get_by_role("button", name="Deactivate").click()
    page.get_by_text("1 device deactivated.").wait_for()
    assert page.locator("#result_list .mu-badge", has_text="Deactivating").count() == 1
    statuses = {factories.config_of(device).status for device in fleet["devices"]}
    assert statuses == {Status.APPLIED, Status.DEACTIVATING}
    assert (visit.complaints, visit.foreign) == ([], [])
