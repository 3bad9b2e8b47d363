"""What is done to many devices from the list as a job: more than at once, templates, and what is only tried."""

from typing import Any

import pytest
from django.test import Client

from config_merge.models import Job, JobItem, Managed, SiteDevice
from config_merge.services import configs, job_runs, places, sites
from devices.models import Device
from tenancy.models import AuditEvent, Organization
from tests import factories
from tests.admin.conftest import page
from tests.admin.test_writes import messages_of

LIST = "devices_device_changelist"


def ask(client: Client, action: str, devices: list[Device], **posted: Any) -> Any:
    """Run an action on the list, confirmed unless `confirmed` is None."""
    body = {"action": action, "_selected_action": [str(device.pk) for device in devices], "index": "0"}
    body |= {"confirmed": "1", **posted}
    query = body.pop("query", "")
    return client.post(page(LIST) + query, {name: value for name, value in body.items() if value is not None})


def ran() -> Job:
    """Work the one job off."""
    job = Job.objects.get()
    while job_runs.run(job.pk):
        pass
    job.refresh_from_db()
    return job


def templates_of(device: Device) -> list[str]:
    rows = factories.config_of(device).config_templates.order_by("position")
    return [row.template.name for row in rows]


def test_a_template_is_assigned_and_taken_away_by_jobs(
    operator: Client, org: Organization, other: Organization
) -> None:
    first, second = factories.configured(org), factories.configured(org)
    foreign = factories.configured(other)
    template, secret = factories.template(org, name="Lan"), factories.template(other, name="hidden-template")
    asked = ask(operator, "assign_selected", [first, second, foreign], confirmed=None).content.decode()
    assert "Change 2 devices?" in asked and "Lan (Alpha)" in asked and "hidden-template" not in asked
    assert not Job.objects.exists()
    for wrong in (str(secret.pk), "", "garbage"):
        told = ask(operator, "assign_selected", [first], template=wrong)
        assert "Choose one of the templates" in messages_of(told)
    assert not Job.objects.exists()
    answer = ask(
        operator, "assign_selected", [first, second, foreign], template=str(template.pk), reason="new lan"
    )
    job = ran()
    assert answer.status_code == 302 and answer.url == page("config_merge_job_change", job.pk)
    assert (job.kind, job.total, job.reason, job.organization_id) == ("assign_template", 2, "new lan", org.pk)
    assert templates_of(first)[-1:] == templates_of(second)[-1:] == ["Lan"]
    assert "Lan" not in templates_of(foreign)
    Job.objects.all().delete()
    ask(operator, "unassign_selected", [first], template=str(template.pk))
    ran()
    assert "Lan" not in templates_of(first) and "Lan" in templates_of(second)


def test_devices_are_put_into_a_site_and_out_of_it_by_jobs(
    operator: Client, org: Organization, other: Organization
) -> None:
    first, second = factories.configured(org), factories.device(org)
    foreign = factories.configured(other)
    site = sites.site_create(organization=org, name="Vilnius")
    secret = sites.site_create(organization=other, name="hidden-site")
    asked = ask(operator, "place_selected", [first, second, foreign], confirmed=None).content.decode()
    assert "Move 2 devices?" in asked and "Vilnius (Alpha)" in asked and "hidden-site" not in asked
    for wrong in (
        {"site": str(secret.pk)},
        {"site": "garbage"},
        {"managed_by": "chance", "site": str(site.pk)},
    ):
        assert "Select a valid choice" in messages_of(ask(operator, "place_selected", [first], **wrong))
    assert "This field is required" in messages_of(ask(operator, "place_selected", [first]))
    assert not Job.objects.exists()
    chosen = {"site": str(site.pk), "managed_by": "site", "reason": "opening"}
    answer = ask(operator, "place_selected", [first, second, foreign], **chosen)
    job = ran()
    assert answer.status_code == 302 and answer.url == page("config_merge_job_change", job.pk)
    assert (job.kind, job.total, job.reason) == ("change_site", 2, "opening")
    managed = SiteDevice.objects.filter(site=site, device__config__managed_by=Managed.SITE)
    assert set(managed.values_list("device_id", flat=True)) == {first.pk, second.pk}
    Job.objects.all().delete()
    asked = ask(operator, "leave_selected", [first], confirmed=None).content.decode()
    assert "Take out 1 device?" in asked and "own settings and serial numbers go" in asked
    ask(operator, "leave_selected", [first])
    ran()
    assert not SiteDevice.objects.filter(device=first).exists()
    assert factories.config_of(first).managed_by == Managed.TEMPLATES


def test_what_manages_devices_is_changed_by_a_job(operator: Client, org: Organization) -> None:
    inside, outside = factories.configured(org, name="inside"), factories.configured(org, name="outside")
    out = factories.configured(org, name="out")
    configs.device_deactivate(out)
    site = sites.site_create(organization=org, name="Vilnius")
    places.placement_change(inside, site=site)
    asked = ask(operator, "manage_selected", [inside], confirmed=None).content.decode()
    assert "Change 1 device?" in asked and "Site settings" in asked
    assert "This field is required" in messages_of(ask(operator, "manage_selected", [inside]))
    ask(operator, "manage_selected", [inside, outside, out], managed_by="site")
    ran()
    assert dict(JobItem.objects.values_list("name", "message")) == {
        "inside": "", "outside": "The device is in no site.", "out": "The device is deactivated."
    }  # fmt: skip
    assert factories.config_of(inside).managed_by == Managed.SITE


def test_what_is_only_tried_changes_nothing(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    ask(operator, "deactivate_selected", [device], dry_run="on")
    job = ran()
    assert (job.kind, job.dry_run) == ("deactivate", True)
    assert JobItem.objects.get().message == "It would be deactivated."
    device.refresh_from_db()
    assert not device.is_deactivated


def test_more_than_a_person_waits_for_are_a_job(
    operator: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.bulk.AT_ONCE", 2)
    devices = [factories.configured(org) for _ in range(3)]
    few = ask(operator, "deactivate_selected", devices[:2], confirmed=None).content.decode()
    assert "in the background" not in few
    assert "2 devices deactivated" in messages_of(ask(operator, "deactivate_selected", devices[:2]))
    assert not Job.objects.exists()
    asked = ask(operator, "activate_selected", devices, confirmed=None).content.decode()
    assert "in the background" in asked and asked.count('name="_selected_action"') == 3
    ask(operator, "activate_selected", devices)
    assert ran().total == 3
    assert sorted(JobItem.objects.values_list("outcome", flat=True)) == ["done", "done", "skipped"]


def test_all_of_a_list_are_a_job_when_they_are_more_than_at_once(
    operator: Client, org: Organization, other: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.device.DeviceAdmin.bulk_limit", 2)
    devices = [factories.configured(org, name=f"cafe-{n}") for n in range(4)]
    apart = factories.configured(org, name="library")
    factories.configured(other, name="cafe-foreign")
    group = factories.group(org)
    refused = ask(operator, "move_selected", devices, confirmed=None)
    assert "at most 2 devices" in messages_of(refused)
    across = {"select_across": "1", "query": "?q=cafe"}
    asked = ask(operator, "move_selected", devices[:1], confirmed=None, **across).content.decode()
    assert "Move 4 devices?" in asked and "in the background" in asked and "cafe-foreign" not in asked
    assert asked.count('name="_selected_action"') == 1 and 'name="select_across" value="1"' in asked
    ask(operator, "move_selected", devices[:1], group=str(group.pk), **across)
    assert ran().total == 4
    assert set(group.devices.values_list("pk", flat=True)) == {device.pk for device in devices}
    apart.refresh_from_db()
    assert apart.group is None


def test_a_superuser_asks_for_one_job_and_a_member_of_two_for_two(
    root: Client, org: Organization, other: Organization
) -> None:
    devices = [factories.configured(org), factories.configured(other)]
    ask(root, "deactivate_selected", devices, dry_run="on")
    assert Job.objects.get().organization_id is None
    Job.objects.all().delete()
    both = factories.user("both", role="operator", organization=org, is_staff=True)
    factories.tenancy.membership_set(user=both, organization=other, role="operator")
    client = Client()
    client.force_login(both)
    told = ask(client, "deactivate_selected", devices, dry_run="on")
    assert "2 jobs begun" in messages_of(told)
    assert set(Job.objects.values_list("organization_id", "total")) == {(org.pk, 1), (other.pk, 1)}


def test_who_may_only_read_one_of_them_changes_the_other_alone(
    org: Organization, other: Organization, staff: Any
) -> None:
    mixed = factories.user("mixed", role="operator", organization=org, is_staff=True)
    factories.tenancy.membership_set(user=mixed, organization=other, role="viewer")
    client = Client()
    client.force_login(mixed)
    own, read = factories.configured(org), factories.configured(other)
    ask(client, "deactivate_selected", [own, read], dry_run="on")
    assert list(JobItem.objects.values_list("device_id", flat=True)) == [own.pk]
    Job.objects.all().delete()
    told = ask(client, "deactivate_selected", [read], dry_run="on")
    assert "no device among them" in messages_of(told)
    ask(staff("viewer"), "assign_selected", [own], template=str(factories.template(org).pk))
    assert not Job.objects.exists()


def test_the_reason_of_what_is_done_at_once_stands_in_the_trail(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    assert "too long" in messages_of(ask(operator, "deactivate_selected", [device], reason="x" * 257))
    ask(operator, "deactivate_selected", [device], reason="moving out")
    event = AuditEvent.objects.get(action="device.deactivated")
    assert (event.reason, event.via, event.actor_id) == ("moving out", "admin", operator.user.pk)  # type: ignore[attr-defined]
    assert not Job.objects.exists()


def test_a_job_is_cancelled_on_its_page_by_who_may_ask_for_one(
    staff: Any, org: Organization, other: Organization
) -> None:
    operator, viewer = staff("operator"), staff("viewer")
    device = factories.configured(org)
    ask(operator, "deactivate_selected", [device], dry_run="on")
    job = Job.objects.get()
    path, shown = page("config_merge_job_cancel", job.pk), page("config_merge_job_change", job.pk)
    assert "Cancel the job" in operator.get(shown).content.decode()
    assert "Cancel the job" not in viewer.get(shown).content.decode()
    stranger = Client()
    stranger.force_login(factories.user("far", role="operator", organization=other, is_staff=True))
    assert viewer.post(path).status_code == 403
    assert stranger.post(path).url == page("index")
    assert operator.get(path).status_code == 405
    job.refresh_from_db()
    assert job.state == "queued"
    assert operator.post(path).url == shown
    job.refresh_from_db()
    assert job.state == "cancelled" and JobItem.objects.get().outcome == "skipped"
    assert "has ended already" in messages_of(operator.post(path))
    assert "Cancel the job" not in operator.get(shown).content.decode()
