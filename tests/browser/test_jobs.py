"""The page of a job, as a person who waits for it sees it."""

from typing import Any

import pytest

from config_merge.services import job_runs, jobs
from devices.models import Device
from tests import factories
from tests.admin.conftest import page as path_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_job_is_watched_until_its_results_are_there(visit: Any) -> None:
    org = factories.organization("alpha", name="Alpha")
    olga = factories.user("olga", role="operator", organization=org, is_staff=True)
    for number in range(3):
        factories.configured(org, name=f"ap-{number}")
    job = jobs.job_create(
        kind="deactivate", devices=Device.objects.all(), organization_id=org.pk, creator=olga, reason="old"
    )
    page = visit.sign_in("olga")
    page.get_by_role("link", name="Jobs").first.click()
    page.get_by_role("link", name="Deactivate").click()
    page.wait_for_url(f"**{path_of('config_merge_job_change', job.pk)}*")
    page.get_by_text("0 done, 0 failed, 0 skipped").wait_for()
    assert page.locator(".mu-job__table .mu-badge", has_text="Pending").count() == 3
    assert page.get_by_role("button", name="Save").count() == 0
    while job_runs.run(job.pk):
        pass
    page.get_by_text("3 done, 0 failed, 0 skipped").wait_for(timeout=30_000)
    page.locator(".mu-job__table .mu-badge", has_text="Done").first.wait_for()
    page.get_by_role("link", name="Failed").click()
    page.get_by_text("No device has this outcome.").wait_for()
    assert (visit.complaints, visit.foreign) == ([], [])
