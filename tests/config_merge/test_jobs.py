"""Jobs over many devices: frozen when asked for, done once each, stopped by whoever may, told to whoever may know."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

from config_merge.models import Config, ConfigRevision, ConfigTemplate, Job, JobItem, Managed, SiteDevice
from config_merge.services import (
    configs,
    job_actions,
    job_portions,
    job_runs,
    job_sets,
    jobs,
    places,
    preview,
    recompute,
    sites,
    templates,
)
from core.clock import now
from core.db import uuid_parameter
from core.errors import Conflict
from devices.models import Device
from tenancy import services as tenancy
from tenancy.models import AuditEvent, Membership, Notification, Role, User
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
OPENWRT = "netjsonconfig.OpenWrt"


@pytest.fixture
def org(db: None) -> Any:
    return factories.organization("org-a")


@pytest.fixture
def person(org: Any) -> Any:
    return factories.user("operator", role=Role.OPERATOR, organization=org)


@pytest.fixture
def operator(person: Any) -> Api:
    return api_as(person)


def asked(person: Any, kind: str, devices: list[Device], **options: Any) -> Job:
    organization_id = devices[0].organization_id
    chosen = Device.objects.filter(pk__in=[device.pk for device in devices])
    return jobs.job_create(
        kind=kind, devices=chosen, organization_id=organization_id, creator=person, **options
    )


def outcomes(job: Job) -> dict[str, tuple[str, str]]:
    return {item.name: (item.outcome, item.message) for item in JobItem.objects.filter(job=job)}


def ran(job: Job) -> Job:
    while job_runs.run(job.pk):
        pass
    job.refresh_from_db()
    return job


def test_a_job_does_each_of_its_devices_and_says_what_became_of_them(org: Any, person: Any) -> None:
    active, retired = factories.configured(org, name="active"), factories.configured(org, name="retired")
    configs.device_deactivate(retired)
    gone = factories.configured(org, name="gone")
    job = asked(person, "deactivate", [active, retired, gone], reason="spring cleaning")
    late = factories.configured(org, name="late")
    configs.device_delete(gone, force=True)
    ran(job)
    assert outcomes(job) == {
        "active": ("done", ""),
        "retired": ("skipped", "The device already is deactivated."),
        "gone": ("failed", "The device is gone, or not for whoever asked."),
    }
    assert (job.state, job.total) == ("finished", 3)
    assert Device.objects.get(pk=active.pk).is_deactivated
    assert not Device.objects.get(pk=late.pk).is_deactivated
    told = Notification.objects.get(kind="job_finished")
    assert "1 done, 1 failed, 1 skipped" in told.message and told.level == "warning"
    trail = AuditEvent.objects.filter(target_type="job").order_by("created")
    assert [event.action for event in trail] == ["job.created", "job.finished"]
    assert {(event.actor_name, event.reason) for event in trail if event.via == "job"} == {
        ("operator", "spring cleaning")
    }


@pytest.mark.parametrize(
    "kind",
    [
        "activate", "deactivate", "delete", "change_group", "assign_template", "unassign_template", "change_site",
        "change_management",
    ],
)  # fmt: skip
def test_every_kind_of_job_works_and_its_dry_run_changes_nothing(org: Any, person: Any, kind: str) -> None:
    template = factories.template(org, config={"general": {"timezone": "Europe/Rome"}})
    group = factories.group(org, context={"a": "b"})
    held = [template] if kind == "unassign_template" else []
    device = factories.configured(
        org, name="one", config={"config": factories.interface(), "templates": held}
    )
    site = sites.site_create(organization=org, name="site")
    if kind == "activate":
        configs.device_deactivate(device)
    if kind == "change_management":
        places.device_join(device, site)
    parameters = {
        "group": str(group.pk), "template": str(template.pk), "force": True, "site": str(site.pk), "managed_by": "site",
    }  # fmt: skip
    before = (
        list(Device.objects.values()),
        list(Config.objects.values()),
        list(ConfigTemplate.objects.values()),
    )
    dry = ran(asked(person, kind, [device], parameters=parameters, dry_run=True))
    assert outcomes(dry)["one"][0] == "done" and "would" in outcomes(dry)["one"][1]
    assert before == (
        list(Device.objects.values()), list(Config.objects.values()), list(ConfigTemplate.objects.values())
    )  # fmt: skip
    job = ran(asked(person, kind, [device], parameters=parameters))
    assert outcomes(job) == {"one": ("done", "")}
    if kind == "delete":
        assert not Device.objects.filter(pk=device.pk).exists()
        return
    device.refresh_from_db()
    assert device.is_deactivated == (kind == "deactivate")
    assert (device.group == group) == (kind == "change_group")
    assert ConfigTemplate.objects.filter(template=template).exists() == (kind == "assign_template")
    into_site = kind in ("change_site", "change_management")
    assert SiteDevice.objects.filter(device=device, site=site).exists() == into_site
    assert (factories.config_of(device).managed_by == Managed.SITE) == into_site
    again = ran(asked(person, kind, [device], parameters=parameters))
    assert outcomes(again)["one"][0] == "skipped"


def test_one_refusal_does_not_stop_the_others(org: Any, person: Any) -> None:
    clash = factories.template(
        org, config={"general": {"timezone": "{{ zone }}"}}, default_values={"zone": "UTC"}
    )
    must = factories.template(org, required=True, config={"general": {"description": "x"}})
    good = factories.configured(org, name="good")
    bad = factories.device(
        org, name="bad", config={"context": {"zone": "nowhere"}, "config": factories.interface()}
    )
    job = ran(asked(person, "assign_template", [bad, good], parameters={"template": str(clash.pk)}))
    found = outcomes(job)
    assert (
        found["good"] == ("done", "") and found["bad"][0] == "failed" and "validator says" in found["bad"][1]
    )
    job = ran(asked(person, "unassign_template", [good], parameters={"template": str(must.pk)}))
    assert outcomes(job) == {"good": ("failed", "A required template cannot be taken away.")}


def test_a_right_that_is_taken_away_in_the_middle_ends_the_job(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [factories.configured(org, name=f"d{number}") for number in range(3)]
    job = asked(person, "deactivate", devices)
    monkeypatch.setattr(job_runs, "SLICE", timedelta(0))
    assert job_runs.run(job.pk)
    first = JobItem.objects.filter(job=job).order_by("pk")[0]
    lease = job_runs.uuid4()
    Job.objects.filter(pk=job.pk).update(state="running", lease=lease)
    job_runs._do(Job.objects.get(pk=job.pk), first)
    Job.objects.filter(pk=job.pk).update(lease=None)
    Membership.objects.filter(user=person).update(role=Role.VIEWER)
    monkeypatch.setattr(job_runs, "SLICE", timedelta(seconds=5))
    ran(job)
    assert sorted(outcomes(job).values()) == [
        ("done", ""),
        ("failed", "Whoever asked may not do this any more."),
        ("failed", "Whoever asked may not do this any more."),
    ]
    person.delete()
    assert Job.objects.get(pk=job.pk).creator_name == "operator"


def test_a_person_without_an_account_gets_nothing_done(org: Any, person: Any) -> None:
    device = factories.configured(org, name="one")
    job = asked(person, "deactivate", [device])
    tenancy.User.objects.filter(pk=person.pk).update(is_active=False)
    ran(job)
    assert outcomes(job) == {"one": ("failed", "Who asked for it has no account any more.")}


def test_work_that_was_done_is_not_done_again_and_what_was_cut_off_is(org: Any, person: Any) -> None:
    devices = [factories.configured(org, name=f"d{number}") for number in range(4)]
    job = asked(person, "deactivate", devices)
    items = list(JobItem.objects.filter(job=job).order_by("pk"))
    # A worker took the job, did one item, and died with its lease.
    lease = job_runs.uuid4()
    Job.objects.filter(pk=job.pk).update(
        state="running", lease=lease, lease_until=now() + timedelta(seconds=60), started=now()
    )
    running = Job.objects.get(pk=job.pk)
    job_runs._do(running, items[0])
    job_runs._do(running, items[0])
    assert ConfigRevision.objects.filter(cause="deactivated").count() == 1
    assert job_runs.run_open() == 0
    Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))
    assert job_runs.run_open() == 1
    job.refresh_from_db()
    assert job.state == "finished"
    assert set(outcomes(job).values()) == {("done", "")}
    assert ConfigRevision.objects.filter(cause="deactivated").count() == 4
    assert not job_runs.run(job.pk)


def test_a_cancelled_job_leaves_the_rest_alone(org: Any, person: Any) -> None:
    devices = [factories.configured(org, name=f"d{number}") for number in range(3)]
    job = asked(person, "deactivate", devices)
    jobs.job_cancel(job)
    assert not job_runs.run(job.pk)
    assert job.state == "cancelled"
    assert set(outcomes(job).values()) == {("skipped", "The job was cancelled before its turn.")}
    assert not Device.objects.filter(is_deactivated=True).exists()
    with pytest.raises(Conflict):
        jobs.job_cancel(job)


def test_freezing_the_devices_is_one_statement_however_many(org: Any, person: Any) -> None:
    counts = []
    for more in (2, 8):
        for _ in range(more):
            factories.device(org)
        with CaptureQueriesContext(connection) as statements:
            job = jobs.job_create(
                kind="deactivate", devices=Device.objects.all(), organization_id=org.pk, creator=person
            )
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert job.total == JobItem.objects.filter(job=job).count() == 10


# --- REST -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_asked_for_watched_and_read_over_rest(operator: Api, org: Any) -> None:
    names = [factories.configured(org, name=f"ap-{number}").name for number in range(3)]
    made = operator.post("batch/", {"action": "deactivate", "filter": {"name": "ap-"}, "reason": "old"})
    assert made.status_code == 202, made.json()
    body = made.json()
    assert (body["state"], body["total"], body["pending"], body["reason"]) == ("queued", 3, 3, "old")
    ran(Job.objects.get(pk=body["id"]))
    done = operator.get(f"batch/{body['id']}/").json()
    assert (done["state"], done["done"], done["failed"], done["skipped"], done["pending"]) == (
        "finished",
        3,
        0,
        0,
        0,
    )
    assert done["result"] is None and done["eta"] is None and done["finished"]
    results = operator.get(f"batch/{body['id']}/results/", outcome="done").json()
    assert [row["name"] for row in results["results"]] == names
    assert operator.get(f"batch/{body['id']}/results/", outcome="failed").json()["count"] == 0
    assert operator.get("batch/", state="finished", action="deactivate").json()["count"] == 1
    assert operator.post(f"batch/{body['id']}/cancel/").json() == {"state": ["The job has ended already."]}


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({"action": "explode", "filter": {}}, "action"),
        ({"action": "preview", "filter": {}}, "action"),
        ({"action": "deactivate"}, "devices"),
        ({"action": "deactivate", "devices": [], "filter": {}}, "devices"),
        ({"action": "deactivate", "devices": ["x"]}, "devices"),
        ({"action": "deactivate", "devices": "x"}, "devices"),
        ({"action": "deactivate", "filter": []}, "filter"),
        ({"action": "deactivate", "filter": {"nmae": "x"}}, "filter"),
        ({"action": "deactivate", "filter": {"name": ["x"]}}, "filter"),
        ({"action": "deactivate", "filter": {"group": "x"}}, "filter"),
        ({"action": "deactivate", "filter": {"name": "nobody"}}, "devices"),
        ({"action": "deactivate", "filter": {"name": "a\x00"}}, "filter"),
        ({"action": "change_group", "filter": {}}, "group"),
        ({"action": "assign_template", "filter": {}}, "template"),
        ({"action": "assign_template", "filter": {}, "template": None}, "template"),
        ({"action": "change_site", "filter": {}}, "site"),
        ({"action": "change_site", "filter": {}, "site": None, "managed_by": "site"}, "managed_by"),
        ({"action": "change_site", "filter": {}, "site": "x"}, "site"),
        ({"action": "change_management", "filter": {}}, "managed_by"),
        ({"action": "change_management", "filter": {}, "managed_by": "chance"}, "managed_by"),
        ({"action": "deactivate", "filter": {}, "reason": "x" * 257}, "reason"),
        ({"action": "deactivate", "filter": {}, "reason": "\x00"}, "reason"),
    ],
    ids=range(22),
)  # fmt: skip
def test_a_batch_that_makes_no_sense_is_refused_at_its_field(
    operator: Api, org: Any, sent: Any, key: str
) -> None:
    factories.configured(org)
    answer = operator.post("batch/", sent)
    assert answer.status_code == 400, answer.json()
    assert key in answer.json()
    assert not Job.objects.exists()


def test_members_ask_for_devices_of_one_organization_superusers_for_any(org: Any) -> None:
    other = factories.organization("org-b")
    factories.configured(org)
    factories.configured(other)
    person = factories.user("both", role=Role.OPERATOR, organization=org)
    tenancy.membership_set(user=person, organization=other, role=Role.OPERATOR)
    both = api_as(person)
    everything = {"action": "deactivate", "filter": {}, "dry_run": True}
    assert list(both.post("batch/", everything).json()) == ["organization"]
    one = both.post("batch/", {**everything, "organization": str(org.pk)}).json()
    assert (one["total"], one["organization"]) == (1, str(org.pk))
    tenancy.membership_set(user=person, organization=other, role=Role.VIEWER)
    assert api_as(person).post("batch/", everything).json()["total"] == 1
    foreign = str(Device.objects.get(organization=other).pk)
    assert api_as(person).post("batch/", {"action": "delete", "devices": [foreign]}).status_code == 403
    root = api_as(factories.superuser("root"))
    all_of_them = root.post("batch/", everything).json()
    assert (all_of_them["total"], all_of_them["organization"]) == (2, None)
    assert both.get(f"batch/{all_of_them['id']}/").status_code == 404
    group = factories.group(other)
    clash = {"action": "change_group", "filter": {"organization": str(org.pk)}, "group": str(group.pk)}
    assert list(root.post("batch/", clash).json()) == ["group"]
    site = sites.site_create(organization=other, name="site")
    clash = {"action": "change_site", "filter": {"organization": str(org.pk)}, "site": str(site.pk)}
    assert list(root.post("batch/", clash).json()) == ["site"]


def test_lists_of_jobs_and_results_cost_the_same_however_long(
    operator: Api, org: Any, person: Any, django_assert_num_queries: Any
) -> None:
    devices = [factories.device(org) for _ in range(4)]
    for _ in range(3):
        job = asked(person, "deactivate", devices)
    operator.get("batch/")
    with django_assert_num_queries(5):
        assert operator.get("batch/").json()["count"] == 3
    with django_assert_num_queries(5):
        assert operator.get(f"batch/{job.pk}/results/").json()["count"] == 4


def test_a_preview_of_too_many_devices_becomes_a_job_with_a_result(
    operator: Api, org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.api.previews.WAITED_FOR", 1)
    factories.without_reveal(User.objects.get(username="operator"))
    template = factories.template(
        org,
        config={"general": {"timezone": "UTC"}},
        default=True,
        default_values={"wifi_password": "hunter-two"},
    )
    group = factories.group(org)
    for _ in range(3):
        factories.configured(org, group=group)
    edit = {"config": {"general": {"timezone": "UTC"}, "files": [
        {"path": "/etc/x", "mode": "0644", "contents": "{{ wifi_password }}"}
    ]}}  # fmt: skip
    for path, body in (
        (f"template/{template.pk}/preview/", edit),
        (f"template/{template.pk}/preview/?delete=true", {}),
        (f"group/{group.pk}/preview/", {"context": {"a": "b"}, "templates": []}),
    ):
        answer = operator.post(path, body)
        assert answer.status_code == 202, answer.json()
        job = Job.objects.get(pk=answer.json()["job"])
        assert operator.get(f"batch/{job.pk}/").json()["result"] is None
        ran(job)
        shown = operator.get(f"batch/{job.pk}/").json()
        assert (shown["state"], shown["problem"], shown["result"]["total"]) == ("finished", "", 3)
        assert "hunter-two" not in str(shown)
    first = Job.objects.order_by("created").first()
    assert first is not None and "hunter-two" in str(first.result)
    with connection.cursor() as cursor:
        cursor.execute("SELECT result, proposal FROM config_merge_job")
        assert "hunter" not in str(cursor.fetchall()) and "timezone" not in str(cursor.fetchall())


def test_what_making_a_template_shared_would_do_is_no_business_of_its_organization(
    operator: Api, org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.api.previews.WAITED_FOR", 1)
    root = api_as(factories.user("root", is_superuser=True))
    template = factories.template(org, default=True)
    factories.configured(org)
    other = factories.organization("elsewhere")
    for _ in range(2):
        factories.configured(other)
    told = root.post(f"template/{template.pk}/preview/", {"organization": None})
    assert told.status_code == 202, told.json()
    job = Job.objects.get()
    ran(job)
    assert (job.organization_id, job.total) == (None, 3)
    assert operator.get("batch/").json()["count"] == 0
    assert operator.get(f"batch/{job.pk}/").status_code == 404
    assert not Notification.objects.filter(organization=org, kind="job_finished").exists()


def test_a_preview_job_whose_object_is_gone_says_so(
    operator: Api, org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.api.previews.WAITED_FOR", 0)
    template = factories.template(org, default=True)
    factories.configured(org)
    job = Job.objects.get(pk=operator.post(f"template/{template.pk}/preview/", {"notes": "x"}).json()["job"])
    template.delete()
    ran(job)
    assert (job.state, job.problem) == ("finished", "The template is gone.")


def test_what_nobody_expected_fails_one_device_and_not_the_job(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    devices = [factories.configured(org, name=f"ap-{number}") for number in range(3)]
    job = asked(person, "deactivate", devices)
    perform = job_actions.perform
    monkeypatch.setattr(job_sets, "perform", lambda job, device_ids, user: {}[devices[1].pk])

    def poisoned(job: Job, device_id: Any, user: Any) -> str:
        if device_id == devices[1].pk:
            raise RuntimeError("boom")
        return perform(job, device_id, user)

    monkeypatch.setattr(job_actions, "perform", poisoned)
    ran(job)
    assert job.state == "finished"
    assert [outcome for outcome, _ in outcomes(job).values()] == ["done", "failed", "done"]
    assert outcomes(job)["ap-1"][1] == job_actions.UNEXPECTED
    assert "boom" in caplog.text


def test_a_device_that_cannot_be_read_fails_alone(org: Any, person: Any, caplog: Any) -> None:
    devices = [factories.configured(org, name=f"ap-{number}") for number in range(3)]
    more = factories.template(org, config={"general": {"description": "more"}})
    with connection.cursor() as cursor:
        bad = uuid_parameter(factories.config_of(devices[1]).pk)
        cursor.execute("UPDATE config_merge_config SET config = 'no token' WHERE id = %s", [bad])
    job = ran(asked(person, "assign_template", devices, parameters={"template": str(more.pk)}))
    assert outcomes(job) == {
        "ap-0": ("done", ""), "ap-1": ("failed", job_actions.UNEXPECTED), "ap-2": ("done", "")
    }  # fmt: skip
    assert "one by one" in caplog.text


@pytest.mark.parametrize("where", ["compute", "read", "tell"])
def test_a_poisonous_job_ends_and_the_others_go_on(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    proposal = job_runs.job_previews.packed(kind="variables", pk=org.pk, changes={"context": {}})
    bad = jobs.preview_job_create(proposal=proposal, organization_id=org.pk, creator=person, total=1)
    good = asked(person, "deactivate", [factories.configured(org, name="ap-1")])

    def boom(*args: Any, **options: Any) -> Any:
        raise RuntimeError("boom")

    match where:
        case "compute":
            monkeypatch.setattr(job_runs.job_previews, "computed", boom)
        case "read":
            with connection.cursor() as cursor:
                cursor.execute("UPDATE config_merge_job SET proposal = 'no token' WHERE kind = 'preview'")
        case "tell":
            announce = job_runs._announce
            picky = lambda job, counts: boom() if job.pk == bad.pk else announce(job, counts)  # noqa: E731
            monkeypatch.setattr(job_runs, "_announce", picky)
    assert job_runs.run_open() == 2
    assert job_runs.run_open() == 0
    told = Job.objects.defer("proposal").in_bulk([bad.pk, good.pk])
    assert (told[bad.pk].state, told[bad.pk].problem) == ("finished", job_runs.UNEXPECTED)
    assert told[good.pk].state == "finished" and outcomes(good) == {"ap-1": ("done", "")}


def test_a_job_that_cannot_even_be_taken_up_leaves_the_others_their_turn(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [asked(person, "deactivate", [factories.configured(org)]) for _ in range(2)]
    run = job_runs.run

    def picky(job_id: Any) -> bool:
        if job_id == chosen[0].pk:
            raise OperationalError("the connection is gone")
        return run(job_id)

    monkeypatch.setattr(job_runs, "run", picky)
    assert job_runs.run_open() == 2
    assert [Job.objects.get(pk=job.pk).state for job in chosen] == ["queued", "finished"]


def later(job: Job) -> None:
    """Let the time pass after which a job is tried again."""
    Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))


def test_what_the_database_could_not_do_is_tried_again_and_not_for_ever(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [factories.configured(org, name=f"ap-{number}") for number in range(2)]
    job = asked(person, "deactivate", devices)
    perform, tried = job_actions.perform, []

    def all_busy(job: Job, device_ids: Any, user: Any) -> Any:
        raise OperationalError("lock timeout")

    monkeypatch.setattr(job_sets, "perform", all_busy)

    def busy(job: Job, device_id: Any, user: Any) -> str:
        if device_id == devices[0].pk:
            tried.append(device_id)
            raise OperationalError("lock timeout")
        return perform(job, device_id, user)

    monkeypatch.setattr(job_actions, "perform", busy)
    for _ in range(job_runs.MOST_TRIES - 1):
        assert not job_runs.run(job.pk)
        assert not job_runs.run(job.pk), "nobody hammers a busy database"
        assert Job.objects.get(pk=job.pk).state == "running"
        later(job)
    ran(job)
    assert len(tried) == job_runs.MOST_TRIES
    assert outcomes(job) == {"ap-0": ("failed", job_runs.BUSY), "ap-1": ("done", "")}
    assert job.state == "finished"


@pytest.mark.parametrize("alone", [True, False])
def test_a_deadlock_that_passes_leaves_no_trace(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    job = asked(person, "deactivate", [factories.configured(org, name="ap-1")])
    module = job_actions if alone else job_sets
    perform = module.perform

    def once(*args: Any) -> Any:
        monkeypatch.setattr(module, "perform", perform)
        raise OperationalError("deadlock detected")

    if alone:
        monkeypatch.setattr(job_sets, "perform", lambda job, device_ids, user: {})
    monkeypatch.setattr(module, "perform", once)
    job_runs.run(job.pk)
    assert (outcomes(job)["ap-1"][0] == "pending") == alone
    later(job)
    assert outcomes(ran(job)) == {"ap-1": ("done", "")}


def test_a_preview_the_database_cannot_do_ends_too(
    org: Any, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = job_runs.job_previews.packed(kind="variables", pk=org.pk, changes={"context": {}})
    job = jobs.preview_job_create(proposal=proposal, organization_id=org.pk, creator=person, total=1)

    def busy(*args: Any, **options: Any) -> Any:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(job_runs.job_previews, "computed", busy)
    for _ in range(job_runs.MOST_TRIES):
        assert not job_runs.run(job.pk)
        later(job)
    ran(job)
    assert (job.state, job.problem) == ("finished", job_runs.BUSY)
    assert Notification.objects.get(kind="job_finished").level == "warning"


@pytest.mark.services  # SQLite has one writer at a time: there is nothing to lose or to share
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("alone", [True, False])
def test_workers_that_share_a_job_do_each_item_once(alone: bool) -> None:
    org = factories.organization()
    person = factories.user(role=Role.OPERATOR, organization=org)
    job = asked(person, "deactivate", [factories.configured(org) for _ in range(20)])
    items = list(JobItem.objects.filter(job=job).order_by("pk"))
    together = threading.Barrier(4)

    def work() -> None:
        together.wait()
        for item in items if alone else ():
            job_runs._do(job, item)
        for start in () if alone else range(0, len(items), 5):
            assert job_portions.Portions().do(job, items[start : start + 5]) == []
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(outcomes(job).values()) == {("done", "")}
    assert ConfigRevision.objects.filter(cause="deactivated").count() == 20
    ran(job)
    assert job.state == "finished"
    assert AuditEvent.objects.filter(action="job.finished").count() == 1


@pytest.mark.services  # on SQLite there is one writer at a time
@pytest.mark.django_db(transaction=True)
def test_jobs_over_the_same_devices_and_an_edit_of_the_fleet_do_not_lock_each_other_out(caplog: Any) -> None:
    org = factories.organization()
    person = factories.user(role=Role.OPERATOR, organization=org)
    default = factories.template(org, default=True)
    more = factories.template(org, config={"general": {"description": "more"}})
    group = factories.group(org, templates=[factories.template(org)])
    devices = [factories.configured(org) for _ in range(30)]
    site = sites.site_create(organization=org, name="site")
    for device in devices[:10]:
        places.device_join(device, site)
    kinds = (
        "deactivate", "assign_template", "change_group", "change_site", "change_management", "activate", "delete",
    )  # fmt: skip
    parameters = {
        "template": str(more.pk),
        "group": str(group.pk),
        "site": str(site.pk),
        "managed_by": "site",
    }
    chosen = [asked(person, kind, devices, parameters=parameters) for kind in kinds]
    together, broken = threading.Barrier(len(chosen) + 1), []

    def work(job: Job) -> None:
        together.wait()
        ran(job)
        connections.close_all()

    def edit() -> None:
        together.wait()
        try:
            for number in range(5):
                templates.template_update(default, config={"general": {"description": f"{number}"}})
                sites.site_settings_change(site, {"ntp/server": {"value": f"ntp.{number}"}}, version=None)
        except OperationalError as error:
            broken.append(error)
        connections.close_all()

    threads = [threading.Thread(target=work, args=[job]) for job in chosen] + [threading.Thread(target=edit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (broken, "one by one" in caplog.text) == ([], False)
    assert not JobItem.objects.filter(outcome=JobItem.Outcome.PENDING).exists()
    done = JobItem.objects.filter(outcome=JobItem.Outcome.DONE)
    trail = AuditEvent.objects.filter(action__in=["device.deactivated", "device.activated", "device.deleted"])
    assert trail.count() == done.filter(job__kind__in=["deactivate", "activate", "delete"]).count()
    recompute.drain()
    assert not recompute.stale_configs().exists()


def test_a_thousand_devices_are_previewed_quickly(org: Any) -> None:
    template = factories.template(org, config={"general": {"timezone": "UTC"}}, default=True)
    made = [
        Device(
            organization=org,
            name=f"ap-{n}",
            mac_address=factories.mac(),
            key=f"{n:032d}",
            key_digest=f"{n:064d}",
        )
        for n in range(1000)
    ]
    Device.objects.bulk_create(made)
    rows = [Config(device=device, backend=OPENWRT, context={"n": str(n)}) for n, device in enumerate(made)]
    Config.objects.bulk_create(rows)
    ConfigTemplate.objects.bulk_create([ConfigTemplate(config=row, template=template) for row in rows])
    recompute.drain()
    began = now()
    told = preview.template_preview(template, {"config": {"general": {"timezone": "Europe/Rome"}}})
    took = (now() - began).total_seconds()
    assert (told.changed, len(told.groups)) == (1000, 1)
    assert took < 20


@pytest.mark.parametrize("idle", [{"is_deactivated": "maybe"}, {"name": ""}, {"group": "", "name": "ap"}])
def test_a_filter_that_filters_nothing_is_refused(operator: Api, org: Any, idle: dict[str, str]) -> None:
    factories.device(org, name="ap1")
    answer = operator.post("batch/", {"action": "deactivate", "filter": idle})
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()) == ["filter"]
    assert not Job.objects.exists()
