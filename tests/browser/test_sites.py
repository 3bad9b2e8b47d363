"""Sites, a device's settings and its delivery as people use them, with a linked device at the other end."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.linked import LinkedDevice
from tests.controller.processes import ROOT, Up, plain_environment, running_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "orchard-lantern-42"
WIFI = "wireless/1000000001"
_macs = iter(range(1, 250))


@dataclass
class House:
    """A running server with an organization, and a way to ask it."""

    up: Up
    token: str
    secret: str
    organization: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.up.url}/api/v1/controller/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def site(self, name: str, **settings: str) -> str:
        """Create a site that is set to something; returns its id."""
        made = self.ask("POST", "site/", {"name": name, "organization": self.organization})
        changes = {key.replace("__", "/"): {"value": value} for key, value in settings.items()}
        self.ask("PATCH", f"site/{made['id']}/settings/", {"version": made["version"], "changes": changes})
        return str(made["id"])

    def device(self, name: str, site: str = "") -> LinkedDevice:
        """Register a device, and put it into a site that manages it."""
        mac = f"02:00:00:00:07:{next(_macs):02X}"
        fields = {"secret": self.secret, "name": name, "mac_address": mac, "backend": "netjsonconfig.OpenWrt"}
        body = urllib.parse.urlencode(fields).encode()
        with urllib.request.urlopen(f"{self.up.url}/controller/register/", data=body, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        told = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        device = LinkedDevice(self.up.url, told["uuid"], told["key"])
        if site:
            self.ask("PUT", f"device/{told['uuid']}/site/", {"site": site, "managed_by": "site"})
        return device


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data = tmp_path_factory.mktemp("up") / "data"
    with running_up(data, MUSTER_ADMIN_PASSWORD=PASSWORD, MUSTER_COALESCE_SECONDS="0") as up:
        yield House(up, *_provisioned(data))


def _provisioned(data: Path) -> tuple[str, str, str]:
    command = [
        sys.executable,
        "manage.py",
        "provision",
        "--organization",
        "alpha",
        "--user",
        "olga",
        "--json",
    ]
    environment = plain_environment(MUSTER_DATA_DIR=str(data), PATH=os.environ["PATH"])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return told["user"]["token"], told["organization"]["shared_secret"], told["organization"]["id"]


@pytest.fixture
def admin(house: House, chromium: Any) -> Iterator[Visit]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context, house.up.url)
    page = visit.to("/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    yield visit
    assert (visit.complaints, visit.foreign) == ([], [])
    context.close()


def live(page: Any) -> None:
    """Wait until the page hears of changes, and mark it so that loading it anew shows."""
    page.locator("html[data-presence=live]").wait_for(state="attached")
    page.evaluate("window.stayed = true")


def setting(page: Any, key: str) -> Any:
    return page.locator(f'[data-setting="{key}"]')


def test_a_sites_setting_is_previewed_saved_and_arrives_while_one_looks(house: House, admin: Visit) -> None:
    site = house.site("Vilnius", ntp__server="one", radio__r5__channel="36")
    device, other = house.device("ap-1", site), house.device("ap-2", site)
    house.ask(
        "PATCH",
        f"device/{other.id}/site/settings/",
        {
            "version": house.ask("GET", f"device/{other.id}/site/settings/")["version"],
            "changes": {"ntp/server": {"value": "mine", "origin": "site-device"}},
        },
    )
    with device.linked():
        page = admin.to(f"/admin/config_merge/site/{site}/settings/")
        setting(page, "ntp/server").locator("input").fill("two")
        page.get_by_text("1 change not saved yet").first.wait_for()
        page.get_by_role("button", name="Preview", exact=True).click()
        panel = page.locator("[data-effect-result]")
        panel.get_by_text("1 device changes").wait_for()
        assert panel.locator(".mu-diff__new", has_text="two").count() == 1
        panel.get_by_text("1 overrides").click()
        assert "ap-2" in panel.inner_text() and "ntp/server" in panel.inner_text()
        assert house.ask("GET", f"site/{site}/settings/")["settings"]["ntp/server"]["value"] == "one"

        watching = admin.context.new_page()
        watching.goto(f"{house.up.url}/admin/devices/device/{device.id}/delivery/")
        live(watching)
        before = watching.locator(".mu-tasks tbody tr:not(.mu-tasks__more)").count()
        page.get_by_role("button", name="Save changes").click()
        page.get_by_role("dialog").get_by_role("button", name="Save, and change 1 device").click()
        page.get_by_text("The settings were saved").wait_for()
        rows = watching.locator(".mu-tasks tbody tr:not(.mu-tasks__more)")
        rows.nth(before).wait_for()
        rows.first.get_by_text("Applied").wait_for()
        watching.locator(".mu-steps").first.get_by_text("written").wait_for()
        assert watching.evaluate("window.stayed"), "the page was not loaded anew"
        assert "option server 'two'" in device.files["etc/config/ntp"]


def test_an_error_stands_at_its_key_and_a_stale_page_loses_nothing(house: House, admin: Visit) -> None:
    site = house.site("Riga", ntp__server="one", ntp__enable="1")
    page = admin.to(f"/admin/config_merge/site/{site}/settings/")
    page.get_by_label("Key of the new setting").fill("wireless/12/ssid")
    page.get_by_label("Value of the new setting").fill("x")
    page.get_by_role("button", name="Add a setting").click()
    error = setting(page, "wireless/12/ssid").locator("[data-settings-error]")
    error.get_by_text("above 1000000000").wait_for()
    setting(page, "wireless/12/ssid").get_by_role("button", name="Discard").click()
    setting(page, "ntp/server").locator("input").fill("two")
    page.select_option("[data-settings-kind]", "ssid")
    page.get_by_role("button", name="Add ssid").click()
    setting(page, f"{WIFI}/ssid").locator("input").fill("Guests")
    setting(page, f"{WIFI}/key").locator("input").fill("guestpass1")

    version = house.ask("GET", f"site/{site}/settings/")["version"]
    changes = {"ntp/enable": {"value": "0"}}
    house.ask("PATCH", f"site/{site}/settings/", {"version": version, "changes": changes})
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save changes").click()
    stale = page.get_by_role("alert")
    stale.get_by_text("Not saved: the settings were changed meanwhile").wait_for()
    assert "ntp/enable" in stale.inner_text() and "olga" in stale.inner_text()
    assert setting(page, "ntp/enable").locator("input").input_value() == "0"
    assert setting(page, "ntp/server").locator("input").input_value() == "two"
    assert setting(page, f"{WIFI}/ssid").locator("input").input_value() == "Guests"
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("The settings were saved").wait_for()
    stored = house.ask("GET", f"site/{site}/settings/")["settings"]
    assert (stored["ntp/server"]["value"], stored["ntp/enable"]["value"]) == ("two", "0")
    assert stored[f"{WIFI}/ssid"]["value"] == "Guests"
    page.locator('[data-section="wireless/1000000001/"]').get_by_role(
        "button", name="Remove all of it"
    ).click()
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("The settings were saved").wait_for()
    assert not [key for key in house.ask("GET", f"site/{site}/settings/")["settings"] if key.startswith(WIFI)]


def test_an_override_and_its_revert_on_a_devices_page(house: House, admin: Visit) -> None:
    site = house.site("Tallinn", radio__r5__channel="36", **{f"{WIFI.replace('/', '__')}__ssid": "Office",
                      f"{WIFI.replace('/', '__')}__key": "sitepass1"})  # fmt: skip
    device = house.device("ap-3", site)
    path = f"/admin/devices/device/{device.id}/settings/"
    page = admin.to(path)
    row = setting(page, "radio/r5/channel")
    assert row.locator(".mu-origin--site").count() == 1 and row.locator("input").is_disabled()
    row.get_by_role("button", name="Override").click()
    row.locator("input").fill("40")
    page.get_by_role("button", name="Preview", exact=True).click()
    page.locator(".mu-diff__new", has_text="'40'").wait_for()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_role("dialog").get_by_role("button", name="Save, and change 1 device").click()
    page.get_by_text("The settings were saved").wait_for()
    row = setting(page, "radio/r5/channel")
    assert row.locator(".mu-origin--device").count() == 1
    assert "overrides 36 of the site" in row.inner_text()

    section = page.locator(f'[data-section="{WIFI}/"]')
    section.get_by_role("button", name="Override all of it").click()
    setting(page, f"{WIFI}/ssid").locator("input").fill("Cellar")
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("The settings were saved").wait_for()
    own = house.ask("GET", f"device/{device.id}/site/effective/")["settings"]
    assert {own[f"{WIFI}/{name}"]["source"] for name in ("ssid", "key")} == {"device"}, "an entity goes whole"
    files = house.ask("GET", f"device/{device.id}/site/effective/")["uci"]
    assert "Cellar" in files

    setting(page, "radio/r5/channel").get_by_role("button", name="Revert").click()
    page.locator(f'[data-section="{WIFI}/"]').get_by_role("button", name="Revert to the site's").click()
    page.get_by_label("Save without preview").check()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_text("The settings were saved").wait_for()
    assert house.ask("GET", f"device/{device.id}/site/settings/")["settings"] == {}
    assert page.locator(".mu-set .mu-origin--device").count() == 0

    page.get_by_text("Change…").click()
    page.get_by_role("link", name="Manage by templates…").click()
    page.locator(".mu-diff__gone", has_text="Office").first.wait_for()
    page.get_by_role("button", name="Manage by templates").click()
    page.get_by_text("Templates manage this device").wait_for()


def test_a_dot_follows_the_link_without_a_reload(house: House, admin: Visit) -> None:
    device = house.device("ap-dot", house.site("Oulu", ntp__server="one"))
    admin.to("/admin/devices/device/?q=ap-dot")
    page = admin.page
    live(page)
    row = page.locator("tr", has_text="ap-dot")
    assert row.count() == 1
    with device.linked():
        row.locator(".mu-dot--on").wait_for(timeout=20_000)
        row.get_by_text("Applied").wait_for()
    row.locator(".mu-dot:not(.mu-dot--on)").wait_for(timeout=20_000)
    assert page.evaluate("window.stayed"), "the page was not loaded anew"


def test_an_edit_on_a_device_is_seen_and_accepted(house: House, admin: Visit) -> None:
    site = house.site("Kaunas", ntp__server="one", ntp__enable="1")
    device = house.device("ap-drift", site)
    page = admin.to(f"/admin/devices/device/{device.id}/delivery/")
    live(page)
    with device.linked():
        page.locator(".mu-tasks").get_by_text("Applied").wait_for()
        device.edit("etc/config/ntp", "'one'", "'by-hand'")
        for place in (".mu-head", "[data-live-panel]"):
            page.locator(place).get_by_text("edited on the device", exact=True).wait_for()
        page.get_by_role("button", name="Accept as device override…").click()
        page.locator(".mu-diff__new", has_text="by-hand").wait_for()
        key = f"device/{device.id}/site/settings/"
        assert house.ask("GET", key)["settings"] == {}, "nothing is saved before it was seen"
        page.get_by_role("button", name="Accept", exact=True).click()
        page.get_by_text("What was edited on the device is its own setting now.").wait_for()
        assert house.ask("GET", key)["settings"] == {
            "ntp/server": {"value": "by-hand", "origin": "site-device"}
        }
        for place in (".mu-head", "[data-live-panel]"):
            page.locator(place).get_by_text("as applied", exact=True).wait_for()
        assert "'by-hand'" in device.files["etc/config/ntp"]
    page.get_by_role("button", name="Push again").click()
    page.get_by_text("The configuration is pushed again.").wait_for()
    page.locator(".mu-tasks").get_by_role("button", name="Cancel").click()
    page.get_by_text("The push was taken back.").wait_for()
    page.locator(".mu-tasks").get_by_text("Cancelled").wait_for()
