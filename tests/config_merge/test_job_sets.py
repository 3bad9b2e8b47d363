"""What a job does to many devices at once is what it would have done to one after the other, in fewer statements."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fleet
from config_merge.exchange.models import DeletedDevice
from config_merge.models import (
    Config,
    ConfigRevision,
    ConfigTask,
    ConfigTemplate,
    Job,
    JobItem,
    Managed,
    SiteDevice,
)
from config_merge.services import configs, job_portions, job_runs, jobs, places, recompute, reports, sites
from devices.models import Device
from devices.services import addresses_set
from tenancy import webhooks
from tenancy.models import AuditEvent, Notification, Role, WebhookDelivery
from tests import factories

pytestmark = pytest.mark.django_db
OPENWISP = "netjsonconfig.OpenWisp"
KINDS = (
    "activate", "deactivate", "delete", "change_site", "change_management", "change_group", "assign_template",
    "unassign_template",
)  # fmt: skip
World = dict[str, Any]


def _applied(device: Device) -> None:
    """Let a device say that it has what it should have."""
    config = factories.config_of(device)
    reports.take(reports.Report(config.pk, device.pk, "applied", checksum=config.checksum))


@pytest.fixture
def world(db: None) -> World:
    """Two organizations, templates and groups of every kind, and devices in all conditions."""
    org, other = factories.organization("org-a"), factories.organization("org-b")
    factories.webhook(org)
    zone = {"config": {"general": {"timezone": "{{ zone }}"}}, "default_values": {"zone": "UTC"}}
    named = {
        name: factories.template(org, name=name, **fields)
        for name, fields in {
            "required": {"default": True, "required": True},
            "default": {"default": True},
            "zone": zone,
            "plain": {},
            "first": {},
            "second": {},
            "wisp": {"backend": OPENWISP},
        }.items()
    }
    named["foreign"] = factories.template(other, name="foreign")
    groups = {
        "one": factories.group(org, name="one", templates=[named["first"], named["wisp"]]),
        "two": factories.group(org, name="two", templates=[named["second"]], context={"zone": "nowhere"}),
        "empty": factories.group(org, name="empty"),
        "foreign": factories.group(other, name="foreign"),
    }
    site = sites.site_create(organization=org, name="site", context={"zone": "Europe/Rome"})
    sites.site_settings_change(site, {"ntp/server": {"value": "ntp.one"}}, version=None)
    places_to_be = {
        "site": site,
        "other": sites.site_create(organization=org, name="other", context={"zone": "nowhere"}),
        "foreign": sites.site_create(organization=other, name="site"),
    }
    made = {
        "bare": factories.device(org, name="bare", config={}),
        "own": factories.configured(org, name="own"),
        "grouped": factories.configured(org, name="grouped", group=groups["one"]),
        "member": factories.device(org, name="member", group=groups["two"]),
        "holder": factories.device(org, name="holder", config={"templates": [named["zone"], named["plain"]]}),
        "wrong": factories.device(org, name="wrong", config={"context": {"zone": "nowhere"}}),
        "wisp": factories.device(org, name="wisp", config={"backend": OPENWISP}),
        "out": factories.configured(org, name="out", group=groups["one"]),
        "leaving": factories.configured(org, name="leaving"),
        "unseen": factories.device(org, name="unseen", config={}),
        "sited": factories.configured(org, name="sited"),
        "suspended": factories.configured(org, name="suspended"),
        "retired": factories.configured(org, name="retired"),
        "guest": factories.device(org, name="guest", config={"templates": [named["zone"]]}),
        "blocked": factories.device(org, name="blocked"),
        "inside": factories.configured(org, name="inside"),
        "unplaced": factories.configured(org, name="unplaced"),
        "alien": factories.configured(other, name="alien"),
    }
    for name in ("own", "out", "sited", "suspended"):
        _applied(made[name])
    for number, name in enumerate(("sited", "suspended", "retired")):
        place = places.device_join(made[name], site)
        places.place_update(place, serial=f"S{number}")
    places.device_manage(made["sited"], by=Managed.SITE)
    for name in ("guest", "blocked", "inside"):
        places.device_join(made[name], site)
    places.placement_change(made["blocked"], is_blocked=True)
    places.device_manage(made["inside"], by=Managed.SITE)
    own = {"ntp/pool": {"value": "own", "origin": "device"}}
    places.place_settings_change(places.place_of(made["sited"]), own, version=None)
    # Managed by a site and in none, as it is left when a site takes its devices along.
    Config.objects.filter(device=made["unplaced"]).update(managed_by=Managed.SITE)
    places.placement_change(made["suspended"], is_suspended=True)
    places.placement_change(made["retired"], is_retired=True)
    for name in ("out", "leaving", "unseen", "inside"):
        configs.device_deactivate(made[name])
    _applied(made["out"])
    addresses_set(made["own"].pk, last_ip="192.0.2.1", management_ip="10.0.0.1")
    addresses_set(made["bare"].pk, last_ip="192.0.2.2", management_ip="10.0.0.2")
    recompute.drain()
    return {
        "org": org,
        "devices": {name: device.pk for name, device in made.items()} | {"gone": uuid4()},
        "templates": {name: str(row.pk) for name, row in named.items()} | {"gone": str(uuid4())},
        "sites": {name: str(row.pk) for name, row in places_to_be.items()}
        | {"none": None, "gone": str(uuid4())},
        "groups": {name: str(row.pk) for name, row in groups.items()} | {"none": None, "gone": str(uuid4())},
        "users": {
            "operator": factories.user("operator", role=Role.OPERATOR, organization=org),
            "viewer": factories.user("viewer", role=Role.VIEWER, organization=org),
            "root": factories.superuser("root"),
        },
    }


# Made anew in each run, or times.
_UNTOLD = {
    "id", "created", "modified", "at", "config_id", "revision_id", "job_id", "started", "finished", "due", "due_at",
    "deadline", "finished_at", "artefact", "lease", "lease_until", "target_id", "seal", "sequence", "body", "number",
    "version",
}  # fmt: skip


def _rows(model: type[Model], *more: str) -> list[str]:
    names = [field.attname for field in model._meta.concrete_fields if field.attname not in _UNTOLD]
    columns = [*names, *more]
    shown = (dict(zip(columns, row, strict=True)) for row in model._default_manager.values_list(*columns))
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in shown)


def _told() -> list[str]:
    bodies = [json.loads(body) for body in WebhookDelivery.objects.values_list("body", flat=True)]
    told = [{"event": body["event"], **body["data"]} for body in bodies]
    return sorted(json.dumps(each | {"id": ""}, sort_keys=True) for each in told)


def state() -> dict[str, Any]:
    """Everything a job writes, without ids and times that are made on the way."""
    audited = AuditEvent.objects.exclude(target_type="job").values_list("target_id", flat=True)
    return {
        "devices": _rows(Device),
        "configs": _rows(Config, "revision__number"),
        "templates": _rows(ConfigTemplate, "config__device_id"),
        "revisions": _rows(ConfigRevision, "config__device_id", "number"),
        "tasks": _rows(ConfigTask, "number", "revision__number"),
        "places": _rows(SiteDevice),
        "deleted": _rows(DeletedDevice),
        "events": (_rows(AuditEvent), sorted(audited)),
        "notifications": _rows(Notification),
        "webhooks": _told(),
        "jobs": _rows(Job),
        "items": _rows(JobItem),
    }


Asked = dict[str, Any]


def carried_out(world: World, asked: list[Asked]) -> dict[str, Any]:
    """Do jobs one after the other and return what is stored then; nothing stays."""

    class Undo(Exception):
        pass

    found: list[dict[str, Any]] = []
    try:
        with transaction.atomic():
            for each in asked:
                _ran(_asked(world, each))
            found.append(state())
            raise Undo
    except Undo:
        return found[0]


def _asked(world: World, asked: Asked) -> Job:
    chosen = [world["devices"][name] for name in asked["devices"]]
    spans = asked["spans"]
    job = Job.objects.create(
        kind=asked["kind"],
        organization_id=None if spans else world["org"].pk,
        creator=world["users"][asked["user"]],
        creator_name=asked["user"],
        total=len(chosen),
        dry_run=asked["dry_run"],
        parameters={
            "template": world["templates"][asked["template"]],
            "group": world["groups"][asked["group"]],
            "site": world["sites"][asked["site"]],
            "managed_by": asked["managed_by"],
            "force": asked["force"],
        },
    )
    JobItem.objects.bulk_create(
        JobItem(job=job, device_id=pk, organization_id=world["org"].pk, name=name)
        for name, pk in zip(asked["devices"], chosen, strict=True)
    )
    return job


def _ran(job: Job) -> None:
    while job_runs.run(job.pk):
        pass


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Do jobs with the services of one device alone."""

    def done(world: World, asked: list[Asked]) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(job_portions.Portions, "do", lambda self, job, items: list(items))
            return carried_out(world, asked)

    return done


NAMES = (
    "bare", "own", "grouped", "member", "holder", "wrong", "wisp", "out", "leaving", "unseen", "sited", "suspended",
    "retired", "guest", "blocked", "inside", "unplaced", "alien", "gone",
)  # fmt: skip
TEMPLATES = ("required", "default", "zone", "plain", "first", "second", "wisp", "foreign", "gone")
GROUPS = ("one", "two", "empty", "foreign", "none", "gone")
SITES = ("site", "other", "foreign", "none", "gone")
JOBS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "devices": st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(sorted),
        "template": st.sampled_from(TEMPLATES),
        "group": st.sampled_from(GROUPS),
        "site": st.sampled_from(SITES),
        "managed_by": st.sampled_from((*Managed.values, None)),
        "force": st.booleans(),
        "dry_run": st.integers(0, 2).map(lambda number: number == 0),
        "user": st.sampled_from(("operator", "operator", "operator", "root", "viewer")),
        "spans": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(JOBS, min_size=1, max_size=3))
def test_many_at_once_are_what_one_after_the_other_would_be(
    world: World, one_by_one: Callable[..., Any], asked: list[Asked]
) -> None:
    together, alone = carried_out(world, asked), one_by_one(world, asked)
    for table, rows in together.items():
        assert rows == alone[table], table


def plainly(kind: str, *, template: str = "plain", group: str = "one", **options: Any) -> Asked:
    """A job over all devices."""
    fixed = {"force": False, "dry_run": False, "user": "operator", "spans": False}
    fixed |= {"site": "other", "managed_by": Managed.SITE.value}
    return {"kind": kind, "devices": list(NAMES), "template": template, "group": group, **fixed, **options}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"force": True, "user": "root", "spans": True}, {"dry_run": True}])
def test_every_kind_over_devices_in_all_conditions(
    world: World, one_by_one: Callable[..., Any], kind: str, options: dict[str, Any]
) -> None:
    asked = [plainly(kind, **options)]
    together, alone = carried_out(world, asked), one_by_one(world, asked)
    for table, rows in together.items():
        assert rows == alone[table], table


@pytest.mark.parametrize(
    "options",
    [{"kind": kind, "template": name} for kind in KINDS[-2:] for name in TEMPLATES]
    + [{"kind": "change_group", "group": name} for name in GROUPS]
    + [
        {"kind": "change_site", "site": name, "managed_by": by}
        for name in SITES
        for by in (*Managed.values, None)
    ]
    + [{"kind": "change_management", "managed_by": by} for by in Managed.values],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_template_and_every_group(
    world: World, one_by_one: Callable[..., Any], options: dict[str, Any]
) -> None:
    asked = [plainly(**options)]
    together, alone = carried_out(world, asked), one_by_one(world, asked)
    assert together == alone
    assert together["webhooks"] or "done" not in str(together["items"])
    rehearsed = [plainly(**options, dry_run=True)]
    assert carried_out(world, rehearsed) == one_by_one(world, rehearsed)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_order_is_not_done_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str, dry_run: bool
) -> None:
    single: list[UUID] = []
    perform = job_runs.job_actions.perform

    def counted(job: Job, device_id: UUID, user: Any) -> str:
        single.append(device_id)
        return perform(job, device_id, user)

    monkeypatch.setattr(job_runs.job_actions, "perform", counted)
    asked = plainly(kind, template="zone", group="one", force=True, dry_run=dry_run)
    job = _asked(world, asked)
    _ran(job)
    failed = set(
        JobItem.objects.filter(job=job, outcome=JobItem.Outcome.FAILED).values_list("device_id", flat=True)
    )
    assert set(single) <= failed
    assert JobItem.objects.filter(job=job, outcome=JobItem.Outcome.DONE).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_dies_before_the_results_are_written_has_done_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    job = _asked(world, plainly(kind, force=True))
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING)
    before = state()

    def die(*arguments: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(job_portions, "bulk_set", die)
        with pytest.raises(SystemExit):
            job_portions.Portions().do(job, list(JobItem.objects.filter(job=job)))
    assert state() == before
    _ran(job)
    assert not JobItem.objects.filter(outcome=JobItem.Outcome.PENDING).exists()


def test_a_job_that_is_cancelled_ends_after_the_portion_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _asked(world, plainly("deactivate"))
    done = job_portions.Portions.do

    def cancelled_meanwhile(self: job_portions.Portions, job: Job, items: list[JobItem]) -> list[JobItem]:
        left = done(self, job, items[:5])
        jobs.job_cancel(job)
        return left

    monkeypatch.setattr(job_portions.Portions, "do", cancelled_meanwhile)
    _ran(job)
    job.refresh_from_db()
    said = JobItem.objects.filter(job=job).values_list("message", flat=True)
    assert (job.state, list(said).count(jobs.CANCELLED)) == (Job.State.CANCELLED, len(NAMES) - 5)


def test_portions_follow_how_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    portions, clock = job_portions.Portions(), iter([0.0, 0.01, 1.0, 1.01, 2.0, 2.4, 3.0, 9.0])
    monkeypatch.setattr(job_portions, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(job_portions, "_done", lambda job, items: [])
    sizes = []
    for _ in range(4):
        portions.do(Job(), [JobItem()] * portions.size)
        sizes.append(portions.size)
    assert sizes == [50, 100, 50, job_portions.FEWEST]


def _fleet(size: int) -> World:
    made = fleet.seed(f"fleet-{size}", devices=size, first=1 + size * 1000)
    template = factories.template(made.organization, name="more", config={"general": {"description": "x"}})
    group = factories.group(
        made.organization, name="group", templates=[factories.template(made.organization)]
    )
    site = sites.site_create(organization=made.organization, name="site")
    # Each device comes from a group of its own organization's, one of two.
    old = [factories.group(made.organization, name=f"old-{number}") for number in range(2)]
    for number, member in enumerate(made.members):
        Device.objects.filter(pk=member.id).update(group=old[number % 2])
    recompute.drain()
    return {
        "org": made.organization,
        "devices": {member.name: member.id for member in made.members},
        "templates": {"more": str(template.pk)},
        "groups": {"group": str(group.pk)},
        "sites": {"site": str(site.pk), "none": None},
        "users": {"root": factories.superuser()},
    }


def _statements(world: World, kind: str, **options: Any) -> list[str]:
    names = list(world["devices"])
    asked = {
        "kind": kind, "devices": names, "template": "more", "group": "group", "force": True, "dry_run": False,
        "user": "root", "spans": False, "site": "site", "managed_by": "site", **options,
    }  # fmt: skip
    job = _asked(world, asked)
    items = list(JobItem.objects.filter(job=job).order_by("pk"))
    with CaptureQueriesContext(connection) as captured:
        assert job_portions.Portions().do(job, items) == []
    assert JobItem.objects.filter(job=job, outcome=JobItem.Outcome.DONE).count() == len(names)
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("is_told", [False, True])
def test_statements_do_not_grow_with_the_devices(is_told: bool) -> None:
    worlds = [_fleet(size) for size in (20, 200)]
    if is_told:
        for world in worlds:
            factories.webhook(world["org"])
    # Who wants to be told is looked up once a second.
    webhooks.subscriptions.hold(webhooks.subscriptions.wanted(), seconds=600)
    for kind, options in (
        ("assign_template", {}),
        ("unassign_template", {}),
        ("change_group", {}),
        ("change_site", {}),
        ("change_management", {"managed_by": "templates"}),
        ("change_site", {"site": "none"}),
        ("deactivate", {}),
        ("activate", {}),
        ("delete", {}),
    ):
        for dry_run in (True, False):
            few, many = (_statements(world, kind, dry_run=dry_run, **options) for world in worlds)
            assert len(few) == len(many) < 80, kind
            writes = [sql for sql in many if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
            assert (len(writes) == 1) == dry_run, kind
