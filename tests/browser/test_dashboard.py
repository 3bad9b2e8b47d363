"""The dashboard on a real server: its numbers follow the fleet without a reload."""

import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.controller.processes import Up, running_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "orchard-lantern-42"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "data", MUSTER_ADMIN_PASSWORD=PASSWORD) as server:
        yield server


def post(url: str, **fields: str) -> str:
    body = urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(url, data=body, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_a_device_that_registers_and_reports_changes_the_open_dashboard(up: Up, chromium: Any) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context, up.url)
    page = visit.to("/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    page.locator("[data-state=live]").wait_for()
    page.evaluate("window.stayed = true")
    page.get_by_role("heading", name="No devices yet").wait_for()
    found = re.search(r"--secret (\S+)", page.locator(".mu-command").inner_text())
    assert found is not None
    devices, status = page.locator("[data-figure=devices]"), page.locator("[data-part=status]")
    assert devices.inner_text() == "0"

    answer = post(
        f"{up.url}/controller/register/",
        secret=found[1],
        name="first",
        mac_address="02:00:00:00:00:01",
        backend="netjsonconfig.OpenWrt",
        model="Alpha 1",
    )
    page.locator("[data-figure=devices]", has_text="1").wait_for()
    status.get_by_role("link", name="Modified 1").wait_for()
    assert page.get_by_role("heading", name="No devices yet").count() == 0
    page.locator("[data-part=models]").get_by_role("link", name="Alpha 1").wait_for()

    told = {name: value.strip() for name, _, value in (line.partition(":") for line in answer.splitlines())}
    status.get_by_role("link", name="Modified 1").focus()
    post(f"{up.url}/controller/report-status/{told['uuid']}/", key=told["key"], status="applied")
    status.get_by_role("link", name="Applied 1").wait_for()
    assert page.evaluate("window.stayed"), "the page was not loaded anew"
    assert (visit.complaints, visit.foreign) == ([], [])
    context.close()
