"""The roof's pages in a real browser: they work offline, under their own policy, without a complaint."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.controller.processes import Up, running_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "orchard-lantern-42"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "data", MUSTER_ADMIN_PASSWORD=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """A page, what it complained of, and what it asked other hosts for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.base = page, url
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.foreign.append(request.url)

    def to(self, path: str) -> Page:
        self.page.goto(self.base + path, wait_until="networkidle")
        return self.page


@pytest.fixture
def visit(up: Up, browser: Browser) -> Iterator[Visit]:
    page = browser.new_page()
    yield Visit(page, up.url)
    page.close()


def test_swagger_ui_shows_the_api_offline_and_without_a_complaint(visit: Visit, tmp_path: Path) -> None:
    page = visit.to("/api/v1/docs/")
    page.wait_for_selector(".swagger-ui .info .title")
    assert "Muster" in page.inner_text(".swagger-ui .info .title")
    page.wait_for_selector(".opblock")
    assert (visit.complaints, visit.foreign) == ([], [])


def test_redoc_shows_the_api_offline(visit: Visit) -> None:
    page = visit.to("/api/v1/redoc/")
    page.wait_for_selector("redoc h1")
    assert "Muster" in page.inner_text("redoc h1")
    assert not [url for url in visit.foreign if "redoc" not in url], "only the makers' logo, which is refused"
    assert not [text for text in visit.complaints if "redoc" not in text.lower()]


def test_one_signs_in_to_the_admin_and_finds_no_complaint(visit: Visit) -> None:
    page = visit.to("/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    page.wait_for_load_state("networkidle")
    assert "Devices" in page.inner_text("body")
    assert (visit.complaints, visit.foreign) == ([], [])
