"""The device's pages as a person uses them: order, variables, preview, provenance, history, and secrets on request."""

from typing import Any

import pytest

from tenancy.models import AuditEvent
from tests import factories
from tests.admin.conftest import page as path_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WIFI = {
    "interfaces": [
        {
            "name": "wlan0",
            "type": "wireless",
            "wireless": {
                "radio": "radio0",
                "mode": "access_point",
                "ssid": "{{ ssid }}",
                "encryption": {"protocol": "wpa2_personal", "key": "{{ phrase }}", "cipher": "auto"},
            },
        }
    ],
    "radios": [
        {"name": "radio0", "phy": "phy0", "driver": "mac80211", "protocol": "802.11n", "channel": 6,
         "channel_width": 20, "country": "DE"}
    ],
}  # fmt: skip
PHRASE = "correct-horse-battery"


@pytest.fixture
def fleet(transactional_db: None) -> dict[str, Any]:
    """A manager, three templates of which one is required, and a device that has them."""
    org = factories.organization("alpha", name="Alpha", context={"ssid": "Alpha Wi-Fi"})
    factories.user("mia", role="manager", organization=org, is_staff=True)
    factories.user("olga", role="operator", organization=org, is_staff=True)
    zone = factories.template(org, name="Time zone", config={"general": {"timezone": "UTC"}})
    wifi = factories.template(org, name="Wi-Fi", config=WIFI, default_values={"phrase": PHRASE, "ssid": "x"})
    must = factories.template(
        org, name="Must", config=factories.interface("eth7"), default=True, required=True
    )
    device = factories.device(
        org,
        name="ap-1",
        config={"templates": [zone, wifi], "config": {"general": {"timezone": "Europe/Rome"}}},
    )
    return {"org": org, "zone": zone, "wifi": wifi, "must": must, "device": device}


def titles(page: Any) -> list[str]:
    found: list[str] = page.locator(".mu-ordered__title").all_inner_texts()
    return found


def stored(device: Any) -> list[str]:
    rows = factories.config_of(device).config_templates.order_by("position")
    return [row.template.name for row in rows]


def save(page: Any) -> None:
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was changed successfully").wait_for()


def test_a_dragged_template_stays_where_it_was_dropped(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_change", fleet["device"].pk))
    assert titles(page) == ["Must", "Time zone", "Wi-Fi"]
    assert page.get_by_role("button", name="Remove Must").count() == 0, "required ones are locked"
    assert (
        page.locator(".mu-ordered__item", has_text="Must").locator(".mu-badge", has_text="required").count()
        == 1
    )
    handle = page.get_by_role("button", name="Move Wi-Fi: drag")
    # The bar with the buttons covers the lower edge of the window.
    handle.evaluate("each => each.scrollIntoView({block: 'center'})")
    at, to = handle.bounding_box(), page.locator(".mu-ordered__item").first.bounding_box()
    page.mouse.move(at["x"] + 8, at["y"] + 8)
    page.mouse.down()
    page.mouse.move(at["x"] + 8, to["y"] + to["height"] + 4, steps=6)
    page.mouse.move(at["x"] + 8, to["y"] + 2, steps=6)
    page.mouse.up()
    assert titles(page) == ["Wi-Fi", "Must", "Time zone"]
    page.get_by_role("button", name="Move Wi-Fi: drag").focus()
    page.keyboard.press("ArrowDown")
    assert titles(page) == ["Must", "Wi-Fi", "Time zone"]
    assert page.locator(".mu-ordered__said").inner_text() == "Wi-Fi is number 2 of 3."
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    save(page)
    assert stored(fleet["device"]) == ["Wi-Fi", "Must", "Time zone"] == titles(page)
    assert (visit.complaints, visit.foreign) == ([], [])


def test_a_new_device_starts_with_the_automatic_templates_of_its_organization(
    fleet: dict[str, Any], visit: Any
) -> None:
    factories.template(fleet["org"], name="Usual", config=factories.interface("eth8"), default=True)
    visit.sign_in("mia")
    page = visit.to(path_of("devices_device_add"))
    page.locator("#id_organization").select_option(label="Alpha")
    page.get_by_role("button", name="Remove Usual").wait_for()
    assert titles(page) == ["Must", "Usual"]
    page.get_by_role("button", name="Remove Usual").click()
    page.fill("#id_name", "ap-2")
    page.fill("#id_mac_address", "02:00:00:00:77:01")
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text("The new device would get these files.").wait_for()
    assert "eth7" in page.locator("[data-preview-body]").inner_text()
    assert "eth8" not in page.locator("[data-preview-body]").inner_text()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    created = fleet["org"].devices.get(name="ap-2")
    assert stored(created) == ["Must"]
    page = visit.to(path_of("devices_device_change", created.pk))
    page.locator("#id_config_backend").select_option("netjsonconfig.OpenWisp")
    page.wait_for_function("document.querySelectorAll('.mu-ordered__title').length === 0")
    assert (visit.complaints, visit.foreign) == ([], [])


def test_own_variables_mark_what_they_override(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_change", fleet["device"].pk))
    line = page.locator("[data-variable=ssid]")
    line.wait_for()
    assert "Alpha Wi-Fi" in line.inner_text() and "Organization" in line.inner_text()
    assert not line.locator(".mu-sys__over").is_visible()
    assert PHRASE not in page.content() and fleet["device"].key not in page.content()
    page.get_by_role("button", name="Add a variable").click()
    row = page.locator(".mu-variables__row").last
    row.get_by_label("Name").fill("ssid")
    row.locator("input").nth(1).fill("My Wi-Fi")
    assert line.locator(".mu-sys__over").is_visible()
    assert row.locator(".mu-variables__note").inner_text() == "overrides Organization Alpha: Alpha Wi-Fi"
    page.get_by_role("button", name="Edit as JSON").click()
    assert '"ssid": "My Wi-Fi"' in page.locator("#id_config_context").input_value()
    page.get_by_role("button", name="Edit as rows").click()
    save(page)
    assert factories.config_of(fleet["device"]).context == {"ssid": "My Wi-Fi"}
    page.get_by_role("button", name="Remove ssid").click()
    save(page)
    assert factories.config_of(fleet["device"]).context == {}
    assert (visit.complaints, visit.foreign) == ([], [])


def test_a_preview_tells_and_saves_nothing(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    device = fleet["device"]
    before = factories.config_of(device)
    page = visit.to(path_of("devices_device_change", device.pk))
    page.locator("#id_config_config").fill('{"general": {"timezone": "Asia/Tokyo"}}')
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text("The files of the device would change.").wait_for()
    assert page.locator("dialog .mu-diff__new", has_text="Asia/Tokyo").count() == 1
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator("#id_config_config").fill('{"interfaces": [{"name": "eth0", "type": "nonsense"}]}')
    visit.complaints.clear()
    page.get_by_role("button", name="Preview", exact=True).click()
    page.locator("dialog [role=alert]").wait_for()
    after = factories.config_of(device)
    assert (after.config, after.checksum, after.modified) == (before.config, before.checksum, before.modified)
    assert visit.foreign == []


def test_a_value_tells_where_it_came_from(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    page = visit.to(path_of("devices_device_effective", fleet["device"].pk))
    row = page.locator(".mu-row[data-layer]", has_text="timezone")
    note = row.locator("[data-explain-note]")
    assert not note.is_visible()
    row.hover()
    assert note.is_visible()
    assert "Europe/Rome comes from" in note.inner_text() and "overrules UTC" in note.inner_text()
    assert note.get_by_role("link", name="Template Time zone").get_attribute("href") == path_of(
        "config_merge_template_change", fleet["zone"].pk
    )
    page.mouse.move(5, 5)
    assert not note.is_visible()
    page.get_by_role("button", name="Expand all").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if note.is_visible():
            break
    assert note.is_visible(), "the keyboard gets there too"
    page.keyboard.press("Escape")
    assert not note.is_visible()
    page.get_by_role("button", name="Collapse all").click()
    assert not row.is_visible()
    page.locator("[data-explain-search]").fill("timezone")
    page.get_by_role("button", name="Expand all").click()
    assert row.is_visible()
    assert PHRASE not in page.content(), "the value of a variable that is a password"
    assert (visit.complaints, visit.foreign) == ([], [])


def test_two_revisions_are_compared_and_an_old_one_restored(fleet: dict[str, Any], visit: Any) -> None:
    visit.sign_in("olga")
    device = fleet["device"]
    page = visit.to(path_of("devices_device_change", device.pk))
    page.locator("#id_config_config").fill('{"general": {"timezone": "Asia/Tokyo"}}')
    save(page)
    page.get_by_role("link", name="Revisions").click()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(lambda url: url.endswith("/revisions/compare/?to=2&from=1"))
    assert page.locator(".mu-diff__new", has_text="Asia/Tokyo").count() == 1
    assert page.locator(".mu-diff__gone", has_text="Europe/Rome").count() == 1
    page.get_by_role("link", name="Swap sides").click()
    assert page.locator(".mu-diff__new", has_text="Europe/Rome").count() == 1
    page.get_by_role("link", name="Side by side").click()
    assert page.locator(".mu-split td.mu-diff__gone", has_text="Asia/Tokyo").count() == 1
    page.get_by_role("link", name="All revisions").click()
    hidden = page.locator(".mu-scroll").evaluate("box => box.scrollWidth - box.clientWidth")
    assert hidden == 0, "one sees the link without scrolling sideways"
    page.get_by_role("link", name="Restore…").click()
    page.get_by_role("heading", name="Restore revision 1?").wait_for()
    assert page.locator(".mu-diff__new", has_text="Europe/Rome").count() == 1
    assert factories.config_of(device).revision_number == 2, "a question changes nothing"
    page.get_by_role("button", name="Restore revision 1").click()
    page.get_by_text("Revision 1 was restored as revision 3.").wait_for()
    assert factories.config_of(device).config == {"general": {"timezone": "Europe/Rome"}}
    assert (visit.complaints, visit.foreign) == ([], [])


def test_secrets_are_shown_to_who_may_see_them_when_they_ask(fleet: dict[str, Any], visit: Any) -> None:
    device = fleet["device"]
    visit.sign_in("mia")
    page = visit.to(path_of("devices_device_change", device.pk))
    assert device.key not in page.content()
    box = page.locator("[data-secret]", has=page.locator("#id_key"))
    box.get_by_role("button", name="Reveal").click()
    box.get_by_role("button", name="Hide").wait_for()
    assert page.locator("#id_key").input_value() == device.key
    box.get_by_role("button", name="Hide").click()
    assert page.locator("#id_key").input_value() == ""
    page = visit.to(path_of("devices_device_files", device.pk))
    assert PHRASE not in page.content() and "redacted:" in page.content()
    page.get_by_role("button", name="Reveal secrets").click()
    page.get_by_role("button", name="Hide secrets").wait_for()
    assert PHRASE in page.inner_text("#content, main, body")
    parts = list(AuditEvent.objects.filter(action="secret.revealed").values_list("actor_name", "changes"))
    assert sorted(parts, key=str) == [("mia", {"part": ["", "files"]}), ("mia", {"part": ["", "key"]})]
    assert (visit.complaints, visit.foreign) == ([], [])
