"""Chromium, and a visit that remembers what the page complained of and whom it asked."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests import factories

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module.

    The driver runs an event loop in this thread for as long as it lives; Django would refuse to touch the
    database beside it, in fixtures too.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "install chromium"
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A page, what it complained of (console, exceptions), and its requests to other hosts."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.is_wsgi = False
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, kind: str, text: str) -> None:
        if "/ws/dashboard/" in text or ("/ws/presence/" in text and self.is_wsgi):
            return  # pytest's server is WSGI and has no websockets; test_dashboard.py and test_sites.py have a real one
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def to(self, path: str) -> Page:
        """Open a page and wait until it is quiet."""
        self.page.goto(self.url + path, wait_until="networkidle")
        return self.page

    def sign_in(self, username: str) -> Page:
        """Sign in through the form."""
        page = self.to("/admin/")
        page.fill("#id_username", username)
        page.fill("#id_password", factories.PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url("**/admin/")
        return page


@pytest.fixture
def visit(live_server: object, chromium: Browser) -> Iterator[Visit]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context, str(live_server))
    visit.is_wsgi = True
    yield visit
    context.close()
