"""The template page as a person uses it: what is wrong while one types, and what an edit would do to the fleet."""

import json
from typing import Any

import pytest

from config_merge.models import Job
from config_merge.services import job_runs
from tests import factories
from tests.admin.conftest import page as path_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WRONG = {"interfaces": [{"name": "lan0", "type": "ethernet", "mtu": "big"}], "dns_servers": ["9.9.9.9", 4]}


@pytest.fixture
def fleet(transactional_db: None) -> dict[str, Any]:
    """An operator, a template, and three devices with it, one of which overrules it."""
    org = factories.organization("alpha", name="Alpha")
    factories.user("olga", role="operator", organization=org, is_staff=True)
    template = factories.template(org, name="Time zone", config={"general": {"timezone": "UTC"}})
    devices = [factories.device(org, name=f"ap-{n}", config={"templates": [template]}) for n in range(2)]
    own = {"templates": [template], "config": {"general": {"timezone": "Asia/Tokyo"}}}
    devices.append(factories.device(org, name="ap-2", config=own))
    return {"org": org, "template": template, "devices": devices}


def type_json(page: Any, value: Any) -> None:
    """Replace what stands in the editor, key by key."""
    text = page.locator("#id_config").locator(
        "xpath=preceding-sibling::div[contains(@class, 'mu-json-host')][1]"
    )
    text.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(value if isinstance(value, str) else json.dumps(value, indent=2))


def test_what_is_wrong_is_marked_while_one_types_and_the_mark_goes_when_it_is_mended(
    fleet: dict[str, Any], visit: Any
) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    state = page.locator("#id_config + .mu-json-state")
    type_json(page, WRONG)
    problems = page.locator("#id_config ~ .mu-json-problems li")
    problems.filter(has_text="/interfaces/0/mtu").filter(has_text="Line 6").wait_for()
    assert "must be a text, not 4" in problems.filter(has_text="/dns_servers/1").inner_text()
    assert "mu-json-state--bad" in state.get_attribute("class")
    page.locator(".cm-gutter-lint .cm-lint-marker-error").first.wait_for()
    page.get_by_text("The server would refuse this.").wait_for()

    problems.filter(has_text="/dns_servers/1").get_by_role("button").click()
    selected = page.evaluate("window.getSelection().toString()")
    assert selected == "4", "a click leads to the place"

    type_json(page, {"interfaces": [{"name": "lan0", "type": "ethernet", "mtu": 1400}]})
    page.get_by_text("The server would accept this, with the default values.").wait_for()
    assert problems.count() == 0
    assert page.locator(".cm-gutter-lint .cm-lint-marker-error").count() == 0
    assert (visit.complaints, visit.foreign) == ([], [])


def test_variables_in_typed_places_are_no_mistake_once_they_have_a_value(
    fleet: dict[str, Any], visit: Any
) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    type_json(page, {"general": {"timezone": "{{ zone }}"}})
    problems = page.locator("#id_config ~ .mu-json-problems li")
    problems.filter(has_text="says the server").filter(has_text="/general/timezone").wait_for()
    assert problems.count() == 1
    page.locator("#id_default_values").fill('{"zone": "Europe/Berlin"}')
    page.get_by_text("The server would accept this, with the default values.").wait_for()
    assert problems.count() == 0
    assert (visit.complaints, visit.foreign) == ([], [])


def test_the_keyboard_enters_and_leaves_the_editor_and_snippets_are_inserted(
    fleet: dict[str, Any], visit: Any
) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    page.locator("label[for=id_config]").click()
    assert "cm-content" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert "cm-content" not in page.evaluate("document.activeElement.className")
    page.locator(".mu-json-insert").first.select_option(label="NTP")
    page.get_by_text("The server would accept this, with the default values.").wait_for()
    assert json.loads(page.locator("#id_config").input_value())["ntp"]["enabled"] is True
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/")
    page.get_by_text("was changed successfully").wait_for()
    fleet["template"].refresh_from_db()
    assert fleet["template"].config["ntp"]["enabled"] is True
    assert (visit.complaints, visit.foreign) == ([], [])


def test_where_the_editor_cannot_load_the_text_area_does(fleet: dict[str, Any], visit: Any) -> None:
    visit.page.route("**/vanilla-jsoneditor/**", lambda route: route.abort())
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    assert page.locator(".mu-json-host").count() == 0
    page.locator("#id_config").fill(json.dumps(WRONG, indent=2))
    problem = page.locator("#id_config ~ .mu-json-problems li").filter(has_text="/interfaces/0/mtu")
    problem.get_by_role("button").click()
    assert page.evaluate("document.activeElement.id") == "id_config"
    page.locator("#id_config").fill('{"general": {"timezone": "Europe/Rome"}}')
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_url("**/change/")
    page.get_by_text("was changed successfully").wait_for()
    fleet["template"].refresh_from_db()
    assert fleet["template"].config == {"general": {"timezone": "Europe/Rome"}}
    assert visit.foreign == []


def test_the_effect_on_the_fleet_is_shown_before_saving(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Nothing that reaches devices was edited.").wait_for()

    type_json(page, {"general": {"timezone": "Europe/Berlin"}})
    page.get_by_role("button", name="Preview").click()
    panel = page.locator("[data-effect-result]")
    panel.get_by_text("2 devices change").wait_for()
    assert "1 stays the same" in panel.inner_text()
    assert panel.locator("summary").inner_text() == "2 devices ap-0, ap-1"
    assert panel.locator(".mu-diff__new", has_text="Europe/Berlin").count() == 1
    assert panel.locator(".mu-diff__gone", has_text="UTC").count() >= 1
    fleet["template"].refresh_from_db()
    assert fleet["template"].config == {"general": {"timezone": "UTC"}}, "nothing is written"

    page.get_by_role("button", name="Save and continue editing").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("2 devices change").wait_for()
    dialog.get_by_role("button", name="Back to the form").click()
    fleet["template"].refresh_from_db()
    assert fleet["template"].config == {"general": {"timezone": "UTC"}}
    page.get_by_role("button", name="Save and continue editing").click()
    dialog.get_by_role("button", name="Save, and change 2 devices").click()
    page.get_by_text("still being computed").wait_for()
    fleet["template"].refresh_from_db()
    assert fleet["template"].config == {"general": {"timezone": "Europe/Berlin"}}
    assert (visit.complaints, visit.foreign) == ([], [])


def test_what_concerns_too_many_devices_is_computed_by_a_job_that_the_page_follows(
    fleet: dict[str, Any], visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.template.MOST_DEVICES", 1)
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    type_json(page, {"general": {"timezone": "Europe/Berlin"}})
    page.get_by_role("button", name="Save and continue editing").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("it is computed in the background").wait_for()
    assert dialog.get_by_role("button", name="Save anyway").count() == 1
    dialog.get_by_role("button", name="Back to the form").click()
    assert not Job.objects.exists(), "who saves does not wait for a job"

    page.get_by_role("button", name="Preview").click()
    panel = page.locator("[data-effect-result]")
    panel.get_by_text("3 devices are concerned").wait_for()
    page.get_by_text("0 of 3 devices").wait_for()
    while job_runs.run(Job.objects.get().pk):
        pass
    panel.get_by_text("2 devices change").wait_for(timeout=30_000)
    assert panel.locator(".mu-diff__new", has_text="Europe/Berlin").count() == 1

    page.get_by_role("button", name="Save and continue editing").click()
    dialog.get_by_text("2 devices change").wait_for()
    dialog.get_by_role("button", name="Back to the form").click()
    assert Job.objects.count() == 1, "what is known is not computed again"
    type_json(page, {"general": {"timezone": "Europe/Rome"}})
    assert panel.inner_text() == ""
    page.get_by_role("button", name="Save and continue editing").click()
    dialog.get_by_text("it is computed in the background").wait_for()
    dialog.get_by_role("button", name="Save anyway").click()
    page.get_by_text("still being computed").wait_for()

    page = visit.to(path_of("config_merge_job_change", Job.objects.get().pk))
    page.get_by_text("2 devices change").wait_for()
    assert (visit.complaints, visit.foreign) == ([], [])


def test_a_device_that_would_fail_is_named_with_its_reason(fleet: dict[str, Any], visit: Any) -> None:
    factories.device(
        fleet["org"], name="odd", config={"templates": [fleet["template"]], "context": {"zone": "Nowhere"}}
    )
    visit.sign_in("olga")
    page = visit.to(path_of("config_merge_template_change", fleet["template"].pk))
    page.locator(".cm-content").first.wait_for()
    page.locator("#id_default_values").fill('{"zone": "UTC"}')
    type_json(page, {"general": {"timezone": "{{ zone }}"}})
    page.get_by_role("button", name="Preview").click()
    failed = page.locator(".mu-effect__failures li")
    failed.wait_for()
    assert "odd" in failed.inner_text() and "'Nowhere' is not one of" in failed.inner_text()
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("still being computed").wait_for()
    assert (visit.complaints, visit.foreign) == ([], [])


def test_variables_of_a_group_and_of_an_organization_show_their_effect(
    fleet: dict[str, Any], visit: Any
) -> None:
    group = factories.group(fleet["org"], name="Roof", context={"note": "a"})
    banner = factories.template(
        fleet["org"],
        name="Banner",
        config={"files": [{"path": "/etc/banner", "mode": "0644", "contents": "{{ note }}{{ city }}"}]},
        default_values={"note": "n", "city": "c"},
    )
    factories.device(fleet["org"], name="roof-1", group=group, config={"templates": [banner]})
    factories.superuser("root")
    visit.sign_in("root")
    for path, field, context in (
        (path_of("devices_devicegroup_change", group.pk), "#id_context", {"note": "b"}),
        (path_of("devices_fleetsettings_change", fleet["org"].pk), "#id_context", {"city": "Rome"}),
    ):
        page = visit.to(path)
        page.locator(field).fill(json.dumps(context))
        page.get_by_role("button", name="Preview").click()
        page.get_by_text("1 device changes").wait_for()
        assert page.locator("[data-effect-result] .mu-diff__new").count() >= 1
    assert (visit.complaints, visit.foreign) == ([], [])
