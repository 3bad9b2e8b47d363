"""A manager makes a webhook, copies its secret, tries it and sends a message again."""

import os
from pathlib import Path

import pytest
from pytest_django import Settings

from controller.env import Environment
from tenancy import webhook_delivery
from tenancy.models import Role, WebhookDelivery
from tests import factories
from tests.browser.conftest import Visit
from tests.tenancy.endpoint import answering, endpoint

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# Where pictures go when somebody wants to look at the pages.
SHOTS = os.environ.get("WEBHOOK_SHOTS", "")


def picture(visit: Visit, name: str) -> None:
    if not SHOTS:
        return
    for width in (420, 1440):
        for scheme in ("light", "dark"):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.page.emulate_media(color_scheme=scheme)
            visit.page.evaluate(
                "dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark"
            )
            visit.page.screenshot(path=str(Path(SHOTS) / f"{name}-{scheme}-{width}.png"), full_page=True)
    visit.page.evaluate("document.documentElement.classList.remove('dark')")
    visit.page.set_viewport_size({"width": 1280, "height": 900})


def test_a_manager_makes_tries_and_replays_a_webhook(visit: Visit, settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_WEBHOOK_PRIVATE": "yes"})
    org = factories.organization(name="Acme")
    factories.user("mia", role=Role.MANAGER, organization=org, is_staff=True)
    page = visit.sign_in("mia")
    visit.to("/admin/tenancy/webhook/")
    picture(visit, "list-empty")
    with endpoint() as there:
        visit.to("/admin/tenancy/webhook/add/")
        page.select_option("#id_organization", label="Acme")
        page.fill("#id_url", there.url)
        page.fill("#id_description", "Ticket system")
        page.check("input[name=events][value='device.registered']")
        page.check("input[name=events][value='job.finished']")
        picture(visit, "form")
        page.click("[name=_save]")
        secret = page.inner_text("[data-testid=secret]")
        assert secret.startswith("whsec_")
        picture(visit, "secret")
        page.click("text=Done")
        assert secret not in page.content()
        picture(visit, "webhook")
        page.click("text=Deliveries")
        assert "Nothing was sent" in page.inner_text("[data-testid=deliveries]")
        picture(visit, "deliveries-empty")
        page.click("text=Send a test")
        assert "Pending" in page.inner_text("[data-testid=deliveries]")
        webhook_delivery.run()
        page.reload()
        assert "Delivered" in page.inner_text("[data-testid=deliveries]")
        there.behave = answering(500)
        page.click("summary >> nth=0")
        page.click("text=Send again")
        page.wait_for_selector("text=sent again")
        webhook_delivery.run()
        page.reload()
        assert "The answer was 500." in page.inner_text("[data-testid=deliveries]")
        page.click("summary >> nth=0")
        picture(visit, "deliveries")
        page.click("text=Replace the secret")
        picture(visit, "replace")
        page.click("text=Replace it")
        assert page.inner_text("[data-testid=secret]") != secret
    visit.to("/admin/tenancy/webhook/")
    picture(visit, "list")
    assert len(there.requests) == 2
    assert WebhookDelivery.objects.count() == 2
    assert visit.complaints == []
    assert visit.foreign == []
