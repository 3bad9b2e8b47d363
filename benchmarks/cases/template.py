"""One template edit, used by 1,000 and then by 10,000 typical access points: acknowledged, and fully recomputed.

The second fleet is added to the first one's database. Recomputation is `recompute.drain()` in this process, the work
a background worker does; over HTTP only the acknowledgement is timed, by a server without a worker.
"""

import copy
import json
import statistics
import time
from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.urls import Resolver404, resolve

from benchmarks import load, servers
from benchmarks.fleet import Fleet, seed
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from benchmarks.statements import counted
from config_merge.models import Config, ConfigRevision, Status, Template
from config_merge.services import recompute
from config_merge.services.templates import template_update
from tenancy.services import token_issue, user_create

HOST = "127.0.0.1"
ACKNOWLEDGE_SECONDS = 1.0
PEER_PER_DEVICE_MS = 86.6


@dataclass(frozen=True, slots=True)
class Edit:
    """What one edit cost: seconds until acknowledged, until the last device was computed, and CPU of this process."""

    devices: int
    acknowledged: float
    over_http: float | None
    recomputed: float
    processor: float
    statements: int

    @property
    def per_device_ms(self) -> float:
        """Wall time of recomputation per device."""
        return self.recomputed / self.devices * 1000

    @property
    def rate(self) -> float:
        """Devices recomputed per second."""
        return self.devices / self.recomputed


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: the median of three edits of the small fleet, and as many of the large one."""
    sizes = options.sized(1000, 20), options.sized(10_000, 60)
    edits: list[Edit] = []
    seeding = 0.0
    for number, size in enumerate(sizes):
        began = time.perf_counter()
        fleet = seed(f"bench{number}", devices=size, first=1 + number * sizes[0])
        seeding = time.perf_counter() - began
        recompute.drain()
        _devices_confirm()
        runs = [_edit(fleet, turn) for turn in range(options.sized(3, 1))]
        over_http = _over_http(at, fleet)
        recompute.drain()
        edits.append(_median(runs, over_http=over_http))
    return _outcome(edits[0], edits[1], seeding=seeding)


def _edit(fleet: Fleet, turn: int) -> Edit:
    """Change the middle template of the fleet and recompute; checks that every device changed, once."""
    template = Template.objects.get(pk=fleet.templates[1].pk)
    began = time.perf_counter()
    template_update(template, config=_changed(template, turn))
    acknowledged = time.perf_counter() - began
    _check_stale(fleet)
    revisions = ConfigRevision.objects.count()
    began, processor = time.perf_counter(), time.process_time()
    with counted() as statements:
        recompute.recompute_chunk()
    recompute.drain()
    recomputed, processor = time.perf_counter() - began, time.process_time() - processor
    modified = Config.objects.filter(device__organization=fleet.organization, status=Status.MODIFIED).count()
    if recompute.stale_configs().exists() or ConfigRevision.objects.count() - revisions != len(fleet.members):
        raise RuntimeError("not every device got one new revision")
    if modified != len(fleet.members):
        raise RuntimeError(f"{modified} of {len(fleet.members)} devices are to fetch the change")
    _devices_confirm()
    return Edit(len(fleet.members), acknowledged, None, recomputed, processor, statements.total)


def _changed(template: Template, turn: int) -> dict[str, Any]:
    config = copy.deepcopy(template.config)
    config["radios"][0]["channel"] = 1 + template.config["radios"][0]["channel"] % 11
    config["radios"][1]["tx_power"] = 11 + turn
    return config


def _check_stale(fleet: Fleet) -> None:
    stale = recompute.stale_configs().count()
    if stale != len(fleet.members):
        raise RuntimeError(f"{stale} configurations are stale, not {len(fleet.members)}")


def _devices_confirm() -> None:
    """Let every device have applied what it was given."""
    Config.objects.update(status=Status.APPLIED, applied_checksum=F("checksum"))


def _over_http(at: Scratch, fleet: Fleet) -> float | None:
    """Seconds a PATCH of the template takes, or None while REST has no such route."""
    template = Template.objects.get(pk=fleet.templates[1].pk)
    path = f"/api/v1/controller/template/{template.pk}/"
    try:
        resolve(path)
    except Resolver404:
        return None
    user = user_create(username=f"bench-{fleet.organization.slug}", password=None, is_superuser=True)
    _, secret = token_issue(user=user, name="bench")
    times = []
    with servers.serving(servers.PRODUCT, at) as server:
        for turn in range(3):
            template = Template.objects.get(pk=template.pk)
            body = json.dumps({"config": _changed(template, 20 + turn)}).encode()
            began = time.perf_counter()
            (answer,) = load.visit(server.url, [_patch(path, body, secret)])
            times.append(time.perf_counter() - began)
            if answer.status != 200:
                raise RuntimeError(f"PATCH was answered with {answer.status}: {answer.body[:200]!r}")
    _check_stale(fleet)
    return statistics.median(times)


def _patch(path: str, body: bytes, token: str) -> bytes:
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _median(runs: list[Edit], *, over_http: float | None) -> Edit:
    return Edit(
        runs[0].devices,
        statistics.median(run.acknowledged for run in runs),
        over_http,
        statistics.median(run.recomputed for run in runs),
        statistics.median(run.processor for run in runs),
        max(run.statements for run in runs),
    )


def _outcome(small: Edit, large: Edit, *, seeding: float) -> Outcome:
    rows = [("devices", *(f"{edit.devices:,}" for edit in (small, large)))]
    lines = {
        "acknowledged by the service, ms": lambda edit: edit.acknowledged * 1000,
        "acknowledged over HTTP, ms": lambda edit: None if edit.over_http is None else edit.over_http * 1000,
        "recomputed, s": lambda edit: edit.recomputed,
        "devices per second": lambda edit: edit.rate,
        "cost per device, ms": lambda edit: edit.per_device_ms,
        "of it this process' CPU, ms": lambda edit: edit.processor / edit.devices * 1000,
        "statements per chunk": lambda edit: edit.statements,
    }
    figures: dict[str, Any] = {"seeding the large fleet, s": rounded(seeding)}
    for label, value_of in lines.items():
        values = [value_of(edit) for edit in (small, large)]
        rows.append((label, *("-" if value is None else f"{value:,.3g}" for value in values)))
        for edit, value in zip((small, large), values, strict=True):
            figures[f"{label} ({edit.devices})"] = None if value is None else rounded(value)
    flatness = large.per_device_ms / small.per_device_ms
    slowest = max(large.acknowledged, large.over_http or 0)
    return Outcome(
        name="template",
        table=tuple(rows),
        figures=figures,
        ratios={
            "cost per device, large / small": rounded(flatness),
            "acknowledged, large / small": rounded(large.acknowledged / small.acknowledged),
            "cost per device, peer / ours": rounded(PEER_PER_DEVICE_MS / large.per_device_ms),
        },
        targets=(
            Target(
                f"acknowledged within {ACKNOWLEDGE_SECONDS:g} s", slowest, ACKNOWLEDGE_SECONDS, at_least=False
            ),
            Target(">= 500 devices/s on one core", large.rate, 500),
            Target("cost per device flat (<= 1.25 x)", flatness, 1.25, at_least=False),
        ),
        notes=(
            "One process, one thread computing; chunks of "
            f"{recompute.CHUNK} to {recompute.LARGEST}. "
            f"The peer ({PEER_PER_DEVICE_MS} ms per device) was measured on another machine.",
        ),
        conditions={"database": database_version(), "devices": [small.devices, large.devices]},
    )
