"""A job over 1,000 typical access points, action by action, beside the services of one device doing the same to a few.

Everything runs in this process: no server, no other writer. `longest` is the longest transaction of a job: on SQLite
nobody else writes while it lasts.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from benchmarks.fleet import Fleet, seed
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from config_merge.models import Job, JobItem, Managed, Site, Template
from config_merge.services import (
    assignment,
    configs,
    groups,
    job_runs,
    jobs,
    places,
    recompute,
    site_previews,
    sites,
)
from config_merge.services.device_previews import device_preview
from config_merge.services.templates import template_create
from core.db import is_postgresql
from devices.models import Device, DeviceGroup
from tenancy.services import user_create

DRY = ", dry run"
# What a person does to a fleet, in an order in which each action finds something to do.
ACTIONS = (
    "assign_template" + DRY, "assign_template", "unassign_template" + DRY, "unassign_template", "change_group" + DRY,
    "change_group", "change_site" + DRY, "change_site", "change_management" + DRY, "change_management", "deactivate",
    "activate", "delete",
)  # fmt: skip
# What is to manage the devices, by kind of job.
MANAGERS = {"change_site": Managed.SITE.value, "change_management": Managed.TEMPLATES.value}
SECONDS = 0.3
FASTER = 5.0


class _Bench:
    """Two fleets alike, of which one gets jobs and the other single calls."""

    def __init__(self, size: int, few: int) -> None:
        self.many = seed("jobs", devices=size)
        self.few = seed("single", devices=few, first=size + 1)
        self.person: Any = user_create(username="ops", password=None, is_superuser=True)
        self.extra = {fleet.organization.pk: _extra(fleet) for fleet in (self.many, self.few)}
        self.group = {fleet.organization.pk: _group(fleet) for fleet in (self.many, self.few)}
        self.site = {fleet.organization.pk: _site(fleet) for fleet in (self.many, self.few)}
        recompute.drain()

    def job(self, action: str) -> tuple[float, float]:
        """Seconds a job takes in all, and its longest transaction."""
        organization, kind = self.many.organization.pk, action.removesuffix(DRY)
        parameters = {
            "template": str(self.extra[organization].pk),
            "group": str(self.group[organization].pk),
            "site": str(self.site[organization].pk),
            "managed_by": MANAGERS.get(kind),
            "force": True,
        }
        job = jobs.job_create(
            kind=kind,
            devices=Device.objects.filter(organization_id=organization),
            organization_id=organization,
            creator=self.person,
            parameters=parameters,
            dry_run=action != kind,
        )
        began = time.perf_counter()
        with _transactions() as lengths:
            while job_runs.run(job.pk):
                pass
        took = time.perf_counter() - began
        done = JobItem.objects.filter(job=job, outcome=JobItem.Outcome.DONE).count()
        if done != len(self.many.members) or Job.objects.get(pk=job.pk).state != Job.State.FINISHED:
            raise RuntimeError(f"{action}: {done} of {len(self.many.members)} done")
        return took, max(lengths)

    def single(self, action: str) -> float:
        """Seconds the service of one device takes for all of the small fleet."""
        organization = self.few.organization.pk
        devices = list(Device.objects.filter(organization_id=organization))
        call = _single(action, self.extra[organization], self.group[organization], self.site[organization])
        began = time.perf_counter()
        for device in devices:
            call(device)
        return time.perf_counter() - began


def _extra(fleet: Fleet) -> Template:
    return template_create(
        organization=fleet.organization, name="extra", config={"general": {"description": "extra"}}
    )


def _group(fleet: Fleet) -> DeviceGroup:
    template = template_create(
        organization=fleet.organization, name="group", config={"general": {"maintainer": "group"}}
    )
    return groups.managed_group_create(organization=fleet.organization, name="group", templates=[template])


def _site(fleet: Fleet) -> Site:
    site = sites.site_create(organization=fleet.organization, name="site")
    sites.site_settings_change(site, {"ntp/server": {"value": "ntp.example"}}, version=None)
    return site


def _single(action: str, extra: Template, group: DeviceGroup, site: Site) -> Callable[[Device], Any]:
    def templates(device: Device) -> list[Template]:
        ids = assignment.current_ids(configs.config_of(device).pk)  # type: ignore[union-attr]
        found = Template.objects.in_bulk(ids)
        return [found[pk] for pk in ids]

    def without(device: Device) -> list[Template]:
        return [each for each in templates(device) if each.pk != extra.pk]

    by = MANAGERS["change_site"]
    calls: dict[str, Callable[[Device], Any]] = {
        "assign_template" + DRY: lambda device: device_preview(
            device, {"config": {"templates": [*templates(device), extra]}}
        ),
        "assign_template": lambda device: configs.managed_device_update(
            device, config={"templates": [*templates(device), extra]}
        ),
        "unassign_template" + DRY: lambda device: device_preview(
            device, {"config": {"templates": without(device)}}
        ),
        "unassign_template": lambda device: configs.managed_device_update(
            device, config={"templates": without(device)}
        ),
        "change_group" + DRY: lambda device: device_preview(device, {"group": group}),
        "change_group": lambda device: configs.managed_device_update(device, group=group),
        "change_site" + DRY: lambda device: site_previews.placement_preview(device, site=site, managed_by=by),
        "change_site": lambda device: places.placement_change(device, site=site, managed_by=by),
        "change_management" + DRY: lambda device: site_previews.placement_preview(
            device, managed_by=MANAGERS["change_management"]
        ),
        "change_management": lambda device: places.device_manage(device, by=MANAGERS["change_management"]),
        "deactivate": configs.device_deactivate,
        "activate": configs.device_activate,
        "delete": lambda device: configs.device_delete(device, force=True),
    }
    return calls[action]


@contextlib.contextmanager
def _transactions() -> Iterator[list[float]]:
    """Yield how long each transaction of the block lasted, in seconds."""
    lengths = [0.0]
    began = 0.0
    switch = BaseDatabaseWrapper.set_autocommit

    def watched(self: Any, autocommit: bool, *arguments: Any, **options: Any) -> None:
        nonlocal began
        switch(self, autocommit, *arguments, **options)
        if autocommit:
            lengths.append(time.perf_counter() - began)
        else:
            began = time.perf_counter()

    BaseDatabaseWrapper.set_autocommit = watched  # type: ignore[method-assign]
    try:
        yield lengths
    finally:
        BaseDatabaseWrapper.set_autocommit = switch  # type: ignore[method-assign]


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it."""
    bench = _Bench(options.sized(1000, 20), options.sized(40, 4))
    single = {action: bench.single(action) / len(bench.few.members) for action in ACTIONS}
    jobs_took = {action: bench.job(action) for action in ACTIONS}
    each = {action: took / len(bench.many.members) for action, (took, _) in jobs_took.items()}
    rows: list[tuple[str, ...]] = [("action", "one alone, ms", "in a job, ms", "x faster", "longest, s")]
    figures: dict[str, Any] = {"devices": len(bench.many.members)}
    for action in ACTIONS:
        longest = jobs_took[action][1]
        figures |= {
            f"{action}, one alone, ms": rounded(single[action] * 1000),
            f"{action}, in a job, ms": rounded(each[action] * 1000),
            f"{action}, longest transaction, s": rounded(longest),
        }
        times = f"{single[action] / each[action]:.3g}"
        rows.append(
            (action, f"{single[action] * 1000:.3g}", f"{each[action] * 1000:.3g}", times, f"{longest:.3g}")
        )
    ratios = {f"{action}: one alone / in a job": rounded(single[action] / each[action]) for action in ACTIONS}
    return Outcome(
        name="jobs",
        table=tuple(rows),
        figures=figures,
        ratios=ratios,
        targets=(
            Target("each action at least 5 times faster than one alone", min(ratios.values()), FASTER),
            Target(
                "longest transaction on SQLite <= 0.3 s",
                # On PostgreSQL others write to other devices meanwhile.
                None if is_postgresql() else max(longest for _, longest in jobs_took.values()),
                SECONDS,
                at_least=False,
            ),
        ),
        notes=("Two radios, four interfaces, three templates, variables of each device's own.",),
        conditions={"database": database_version()},
    )
