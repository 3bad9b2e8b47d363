"""Signing in and one's own account as a person uses them: nothing complains, and the QR code is drawn."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.clock import now
from tenancy.sign_in import factors
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def shot(visit: Any, name: str) -> None:
    """Keep pictures of a page in both widths and colours, for who asks for them (PYTEST_MUSTER_SHOTS=directory)."""
    directory = os.environ.get("PYTEST_MUSTER_SHOTS")
    if not directory:
        return
    Path(directory).mkdir(parents=True, exist_ok=True)
    for width in (1440, 420):
        visit.page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            visit.page.evaluate(
                f"document.documentElement.classList.toggle('dark', {str(theme == 'dark').lower()})"
            )
            visit.page.wait_for_timeout(150)
            visit.page.screenshot(path=f"{directory}/{name}-{width}-{theme}.png", full_page=True)
    visit.page.evaluate("document.documentElement.classList.remove('dark')")
    visit.page.set_viewport_size({"width": 1280, "height": 900})


def test_a_person_enrols_signs_in_with_a_code_and_signs_out_everywhere(
    visit: Any, transactional_db: None
) -> None:
    org = factories.organization("alpha", name="Alpha")
    olga = factories.user("olga", role="operator", organization=org, is_staff=True)
    visit.to("/admin/")
    visit.page.fill("#id_username", "olga")
    visit.page.fill("#id_password", "wrong")
    visit.page.click("button[type=submit]")
    shot(visit, "sign-in-wrong")
    page = visit.sign_in("olga")
    visit.to("/admin/account/")
    shot(visit, "account-plain")
    page.get_by_role("link", name="Set up").click()
    page.wait_for_url("**/second-factor/")
    picture = page.locator(".mu-qr")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 100
    shot(visit, "enrol")
    secret = page.get_by_test_id("secret").inner_text().replace(" ", "")
    page.fill("#id_otp", "000000")
    page.get_by_role("button", name="Turn it on").click()
    page.get_by_text(factors.WRONG_CODE).wait_for()
    shot(visit, "enrol-wrong")
    page.fill("#id_otp", factors.code_at(secret, now() - timedelta(seconds=factors.STEP)))
    page.get_by_role("button", name="Turn it on").click()
    page.get_by_test_id("codes").wait_for()
    assert page.get_by_test_id("codes").locator("li").count() == 10
    shot(visit, "recovery-codes")
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="New codes or disable").click()
    page.wait_for_url("**/second-factor/")
    shot(visit, "manage")

    for _ in range(3):
        factories.session(olga)
    visit.to("/admin/account/")
    assert page.get_by_text("this one").count() == 1
    shot(visit, "account-full")
    page.get_by_role("button", name="End").first.click()
    page.get_by_text("The session was ended.").wait_for()
    page.get_by_label("revoke my API tokens too").check()
    page.get_by_role("button", name="Sign out everywhere").click()
    page.get_by_text("You are signed out everywhere").wait_for()

    page.fill("#id_username", "olga")
    page.fill("#id_password", factories.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("#id_otp")
    shot(visit, "code")
    page.fill("#id_otp", "000000")
    page.click("button[type=submit]")
    page.get_by_text(factors.WRONG_CODE).wait_for()
    shot(visit, "code-wrong")
    page.fill("#id_otp", factors.code_at(secret, now()))
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    assert visit.complaints == []
    assert visit.foreign == []


def test_a_superuser_helps_somebody_who_is_locked_out(
    visit: Any, transactional_db: None, settings: Any
) -> None:
    olga = factories.user("olga", is_staff=True)
    factories.superuser("root")
    factories.session(olga)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        visit.to("/admin/login/")
        visit.page.fill("#id_username", "olga")
        visit.page.fill("#id_password", "wrong")
        visit.page.click("button[type=submit]")
    visit.page.fill("#id_username", "olga")
    visit.page.fill("#id_password", factories.PASSWORD)
    visit.page.click("button[type=submit]")
    visit.page.get_by_text("Too many failed attempts.").wait_for()
    shot(visit, "locked")
    page = visit.sign_in("root")
    visit.to(f"/admin/tenancy/user/{olga.pk}/change/")
    shot(visit, "user")
    page.get_by_role("link", name="Sign-in and sessions").click()
    page.wait_for_url("**/sign-in/")
    shot(visit, "user-sign-in")
    page.get_by_role("button", name="Unlock").click()
    page.get_by_text("may try again from everywhere").wait_for()
    # The browser reports the 429 of the locked attempt; nothing else is wrong.
    assert [said for said in visit.complaints if "429" not in said] == []
