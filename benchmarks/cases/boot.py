"""Boots of many devices under several keys, against a bare answer and a plain DRF view doing the same.

One uvicorn process each, keep-alive, every request from another device; all servers share one database. Each boot
counts a quota, appends to a track and is answered with a configuration, which is checked before anything is timed.
"""

import contextlib
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import load, servers
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from benchmarks.statements import counted
from boot import boots, services
from boot.models import Operation
from tenancy import services as tenancy
from tenancy.api_keys import api_key_create
from tenancy.models import Role
from tracking.models import TrackedDevice

HOST = "127.0.0.1"
VIEW = "benchmarks.boot_view:application"
DOCUMENT = {
    "initfs": {"url": "https://images.example.org/initramfs.tgz", "md5sum": "0" * 32},
    "rootfs": {"url": "https://images.example.org/rootfs.sqsh", "md5sum": "f" * 32},
    "bootcode": "IyEvYmluL3NoCmVjaG8gaGVsbG8K" * 10,
    "usercode": "",
    "config": {"autoupdate": True, "ssh": {"pi": {"authorized_keys": ["ssh-ed25519 " + "A" * 60]}}},
}


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: three rounds over all servers (see `load.rounds`)."""
    keys = _seed(options.sized(20, 2))
    devices = options.sized(1000, 20)
    boots_sent = [
        load.raw_request(
            f"/boot/{_mac(number)}/config", host=HOST, headers={"X-Api-Key": keys[number % len(keys)]}
        )
        for number in range(devices)
    ]
    statements = _statements(keys[0])
    with contextlib.ExitStack() as stack:
        product, bare, view = (
            stack.enter_context(servers.serving(application, at))
            for application in (servers.PRODUCT, servers.BARE, VIEW)
        )
        size = _check(product.url, view.url, boots_sent)
        floor = [
            load.raw_request(f"/{size}", host=HOST, headers={"X-Api-Key": keys[number % len(keys)]})
            for number in range(devices)
        ]
        before = _entries()
        targets = {
            "bare answer of its size": load.Target(bare, floor),
            "boot": load.Target(product, boots_sent),
            "DRF view": load.Target(view, boots_sent),
        }
        loads = load.rounds(
            targets, count=options.sized(3, 1), seconds=options.seconds, generator=options.generator
        )
    refused = {name: sum(run.refused + run.broken for run in runs) for name, runs in loads.items()}
    if any(refused.values()) or _entries() <= before:
        raise RuntimeError(f"requests were not answered as they should be: {refused}")
    return _outcome(options, loads, devices=devices, size=size, statements=statements)


def _mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0xB8_27_EB_00_00_00 + number).to_bytes(6, "big"))


def _seed(count: int) -> list[str]:
    """Make an organization with keys that may boot as often as they like; returns their texts."""
    organization = tenancy.organization_create(slug="bench", name="Bench")
    root = tenancy.user_create(username="root", password="", is_superuser=True)
    member = tenancy.user_create(username="ops", password="")
    tenancy.membership_set(user=member, organization=organization, role=Role.OPERATOR)
    services.quota_set(by=root, organization=organization, operation=Operation.BOOT_GET, amount=10**9)
    texts = []
    for number in range(count):
        row, text = api_key_create(by=member, user=member, organization=organization, name=f"key {number}")
        services.boot_config_set(api_key_id=row.pk, device="default", document=DOCUMENT)
        texts.append(text)
    return texts


def _statements(text: str) -> float:
    """Statements of a warm boot, transaction framing left out."""
    boots.answer_all([boots.Boot(text, _mac(0))])
    with counted() as statements:
        boots.answer_all([boots.Boot(text, _mac(0))])
    return statements.total


def _check(product: str, view: str, sent: Sequence[bytes]) -> int:
    """Ask everything once of both; returns the size of an answer."""
    ours, theirs = load.visit(product, sent), load.visit(view, sent[:20])
    if {answer.status for answer in (*ours, *theirs)} != {200}:
        raise RuntimeError(f"boots are refused: {ours[0]} {theirs[0]}")
    if len({answer.body for answer in ours}) != 1 or any(json.loads(one.body) != DOCUMENT for one in theirs):
        raise RuntimeError("answers differ")
    return len(ours[0].body)


def _entries() -> int:
    return sum(TrackedDevice.objects.values_list("seq", flat=True))


def _outcome(
    options: Options,
    loads: Mapping[str, Sequence[load.Load]],
    *,
    devices: int,
    size: int,
    statements: float,
) -> Outcome:
    rows = [("", "requests/s", "p50 ms", "p99 ms", "CPU us", "boot / it")]
    for name, runs in loads.items():
        middle = [f"{statistics.median(getattr(run, part) for run in runs):.1f}" for part in ("p50", "p99")]
        ratio = load.median_ratio(loads["boot"], runs)
        rows.append(
            (
                name,
                f"{load.median_rate(runs):,.0f}",
                *middle,
                f"{load.median_processor(runs):.0f}",
                f"{ratio:.2f}",
            )
        )
    ratios: dict[str, Any] = {
        "boot of bare": rounded(load.median_ratio(loads["boot"], loads["bare answer of its size"])),
        "boot x DRF view": rounded(load.median_ratio(loads["boot"], loads["DRF view"])),
        "boot x DRF view by CPU": rounded(
            load.median_processor(loads["DRF view"]) / load.median_processor(loads["boot"])
        ),
    }
    figures = {f"{name} per second": round(load.median_rate(runs)) for name, runs in loads.items()}
    return Outcome(
        name="boot",
        table=tuple(rows),
        figures=figures | {"statements per boot": statements, "answer bytes": size},
        ratios=ratios,
        targets=(
            Target("<= 2 statements", statements, 2, at_least=False),
            Target(">= 10 x a DRF view doing the same", ratios["boot x DRF view"], 10),
        ),
        notes=(f"{devices:,} devices; each boot counts a quota and appends to a track.",),
        conditions={
            "database": database_version(),
            "quotas": "redis" if options.redis_url else "database",
            "devices": devices,
            "connections": load.CONNECTIONS,
            "generator": options.generator,
            "server": "one uvicorn process each, uvloop, httptools",
        },
    )
