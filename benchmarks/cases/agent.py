"""Warm polls, downloads and reports of many devices, against a bare answer and plain Django views of the same server.

One uvicorn process each, keep-alive, every request from another device; all servers share one database. What the
agents would see is checked before anything is timed.
"""

import contextlib
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from benchmarks import load, servers
from benchmarks.fleet import Fleet, Member, seed
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from benchmarks.statements import counted
from config_merge.models import Config, Status
from config_merge.services import recompute, reports

HOST = "127.0.0.1"
REPORT_BYTES = 48
# Requests per second of openwisp-controller 1.3.2 (design/performance.md), on another machine: only a note.
PEER = {"checksum": 1030, "download": 50, "report": 34}
FLOORS = {
    "checksum": ("bare 32 bytes", "django constant"),
    "checksum 304": ("bare 32 bytes", "django constant"),
    "download": ("bare archive size", "django constant"),
    "report": ("bare POST", "django update"),
}


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: three rounds over all servers (see `load.rounds`)."""
    fleet = seed("bench", devices=options.sized(1000, 20))
    recompute.drain()
    with contextlib.ExitStack() as stack:
        product, bare, django = (
            stack.enter_context(servers.serving(application, at))
            for application in (servers.PRODUCT, servers.BARE, servers.DJANGO)
        )
        requests = {
            name: [_request(member, name) for member in fleet.members]
            for name in ("checksum", "download", "report")
        }
        etags, size = _check(product.url, requests)
        requests["checksum 304"] = [
            _request(member, "checksum", {"If-None-Match": etag})
            for member, etag in zip(fleet.members, etags, strict=True)
        ]
        targets = {
            "bare 32 bytes": load.Target(bare, _elsewhere(fleet, "/32")),
            "checksum": load.Target(product, requests["checksum"]),
            "checksum 304": load.Target(product, requests["checksum 304"]),
            "django constant": load.Target(django, _elsewhere(fleet, "/constant/32")),
            "bare archive size": load.Target(bare, _elsewhere(fleet, f"/{size}")),
            "download": load.Target(product, requests["download"]),
            "bare POST": load.Target(bare, _elsewhere(fleet, f"/{REPORT_BYTES}", form=True)),
            "report": load.Target(product, requests["report"]),
            "django update": load.Target(django, _elsewhere(fleet, "/update/{id}", form=True)),
        }
        loads = load.rounds(
            targets, count=options.sized(3, 1), seconds=options.seconds, generator=options.generator
        )
    refused = {name: sum(run.refused + run.broken for run in runs) for name, runs in loads.items()}
    if any(refused.values()):
        raise RuntimeError(f"requests were not answered as they should be: {refused}")
    return _outcome(options, fleet, loads, size=size, writing=_writing_statements(fleet))


def _request(member: Member, what: str, headers: Mapping[str, str] | None = None) -> bytes:
    """What the agent of `member` sends."""
    sent = {"X-Forwarded-For": member.address} | dict(headers or {})
    if what == "report":
        form = {"key": member.key, "status": "applied"}
        return load.raw_request(f"/controller/report-status/{member.id}/", host=HOST, headers=sent, form=form)
    path = {"checksum": "checksum", "download": "download-config"}[what]
    query = urlencode({"key": member.key})
    return load.raw_request(f"/controller/{path}/{member.id}/?{query}", host=HOST, headers=sent)


def _elsewhere(fleet: Fleet, path: str, *, form: bool = False) -> list[bytes]:
    """The same requests for a floor: same headers, same query or form."""
    sent = []
    for member in fleet.members:
        headers, key = {"X-Forwarded-For": member.address}, {"key": member.key}
        filled = path.format(id=member.id)
        if form:
            sent.append(
                load.raw_request(filled, host=HOST, headers=headers, form=key | {"status": "applied"})
            )
        else:
            sent.append(load.raw_request(f"{filled}?{urlencode(key)}", host=HOST, headers=headers))
    return sent


def _check(url: str, requests: Mapping[str, Sequence[bytes]]) -> tuple[list[str], int]:
    """Ask everything once, see that it is right; returns each device's ETag and the archives' mean size in bytes."""
    checksums = load.visit(url, requests["checksum"])
    archives = load.visit(url, requests["download"])
    for told, archive in zip(checksums, archives, strict=True):
        if (told.status, archive.status) != (200, 200) or hashlib.md5(
            archive.body
        ).hexdigest() != told.body.decode():
            raise RuntimeError(
                f"checksum {told.body!r} ({told.status}) is not that of the download ({archive.status})"
            )
    accepted = load.visit(url, requests["report"])
    if (
        any(answer.status != 200 for answer in accepted)
        or Config.objects.exclude(status=Status.APPLIED).exists()
    ):
        raise RuntimeError("a report was not taken in")
    return [told.headers["etag"] for told in checksums], round(statistics.mean(len(a.body) for a in archives))


def _writing_statements(fleet: Fleet) -> float:
    """Writing statements per report, when fifty arrive together."""
    configs = Config.objects.filter(device__organization=fleet.organization).values_list("pk", "device_id")[
        :50
    ]
    batch = [reports.Report(config_id=pk, device_id=device, status="applied") for pk, device in configs]
    with counted() as statements:
        reports.take_many(batch)
    return statements.writing / len(batch)


def _outcome(
    options: Options, fleet: Fleet, loads: Mapping[str, Sequence[load.Load]], *, size: int, writing: float
) -> Outcome:
    ratios: dict[str, Any] = {}
    rows = [
        (
            "",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU us",
            "of bare",
            "by CPU",
            "x Django view",
            "x peer (note)",
        )
    ]
    for name, runs in loads.items():
        cells = ["", "", "", ""]
        processor = load.median_processor(runs)
        if name in FLOORS:
            bare, django = (load.median_ratio(runs, loads[floor]) for floor in FLOORS[name])
            ratios[f"{name} of bare"], ratios[f"{name} x django"] = rounded(bare), rounded(django)
            cheaper = load.median_processor(loads[FLOORS[name][0]]) / processor
            ratios[f"{name} of bare by CPU"] = rounded(cheaper)
            cells[:3] = f"{bare:.2f}", f"{cheaper:.2f}", f"{django:.1f}"
        if name in PEER:
            ratios[f"{name} x peer"] = rounded(load.median_rate(runs) / PEER[name])
            cells[3] = f"{ratios[f'{name} x peer']:.0f}"
        middle = [f"{statistics.median(getattr(run, part) for run in runs):.1f}" for part in ("p50", "p99")]
        rows.append((name, f"{load.median_rate(runs):,.0f}", *middle, f"{processor:.0f}", *cells))
    figures = {f"{name} per second": round(load.median_rate(runs)) for name, runs in loads.items()}
    figures |= {f"{name} server CPU us": rounded(load.median_processor(runs)) for name, runs in loads.items()}
    figures |= {"archive bytes": size, "writing statements per report": rounded(writing)}
    return Outcome(
        name="agent",
        table=tuple(rows),
        figures=figures,
        ratios=ratios,
        targets=(
            Target("checksum >= 0.4 of a bare answer", ratios["checksum of bare"], 0.4),
            Target("checksum >= 10 x the peer's 1,030/s", ratios["checksum x peer"], 10),
            Target("download >= 0.3 of a bare answer of its size", ratios["download of bare"], 0.3),
            Target("download >= 100 x the peer's 50/s", ratios["download x peer"], 100),
            Target("report <= 1 writing statement", writing, 1, at_least=False),
            Target("report >= 30 x the peer's 34/s", ratios["report x peer"], 30),
        ),
        notes=(
            f"{len(fleet.members):,} devices, every request another one; the peer was measured on another machine.",
        ),
        conditions={
            "database": database_version(),
            "devices": len(fleet.members),
            "connections": load.CONNECTIONS,
            "generator": options.generator,
            "server": "one uvicorn process each, uvloop, httptools",
        },
    )
