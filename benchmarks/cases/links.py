"""Device links: how fast they open, what an idle one costs, and how soon a saved change is applied.

The product is `manage.py up`, worker and all, in one process; its floors (benchmarks/bare_links.py) are served by
uvicorn with the same options. Devices are this process's, the same code for all. What counts is the end that a device
sees: its `report` was answered, and then the database says `applied`.
"""

import asyncio
import contextlib
import json
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop
from django.db.models import F, OuterRef, Subquery

from benchmarks import load, servers
from benchmarks.fleet import Member, seed_site
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.peers import Crowd, Seat
from benchmarks.scratch import Scratch
from config_merge.models import Config, ConfigTask, Site, Status
from config_merge.services import recompute
from config_merge.services.sites import site_settings_change
from tenancy.api_keys import api_key_create
from tenancy.models import Organization, Role, User
from tenancy.services import membership_set, organization_create, user_create

BARE = "benchmarks.bare_links:application"
FLOORS = ("channels", "raw")
# A device that was sent something waits that long for the next (MUSTER_COALESCE_SECONDS).
COALESCE_SECONDS = 2.1
WARM_LINKS = 50
# Its in-memory layer walks over all its channels whenever one receives: opening 10,000 links takes it minutes.
MOST_OF_CHANNELS = 2000
# What a site sets: a network, and enough of everything else.
STARTING = {
    "wireless/1000000001/": "1000000001",
    "wireless/1000000001/ssid": "Office",
    "wireless/1000000001/key": "sitepass1",
    "hotspot/landingURL": "https://a.example/0",
    **{f"system/option{number}": f"value {number}" for number in range(20)},
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices of one large site, of sites with one device each, and of a site where nothing happens."""

    organization: Organization
    user: User
    key: str = field(repr=False)
    large: Site
    many: tuple[Member, ...]
    small: tuple[tuple[Site, Member], ...]
    idle: tuple[Member, ...]


@dataclass(slots=True)
class Found:
    """What one server did: links per second, bytes per idle link, seconds of each round."""

    opened: list[float] = field(default_factory=list)
    opened_idle: float = 0.0
    bytes_per_link: float = 0.0
    base_bytes: int = 0
    one: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    # Of the product alone: saved (the answer to the POST), and the first and the last device asked.
    saved: list[float] = field(default_factory=list)
    first_asked: list[float] = field(default_factory=list)
    last_asked: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: memory of one server after the other, everything else in rounds over all of them."""
    idle, many, small = options.sized(10_000, 5000), options.sized(1000, 100), options.sized(40, 4)
    _allow_files(idle + 2 * many + 256)
    began = time.perf_counter()
    fleet = _seed(many=many, small=small, idle=idle)
    seeding = time.perf_counter() - began
    found = {name: Found() for name in (*FLOORS, "product")}
    for name, one in found.items():
        with _serving(name, at) as server:
            uvloop.run(_hold(server, one, _idle_seats(name, fleet), settle=options.sized(2, 0)))
    with contextlib.ExitStack() as stack:
        floor = stack.enter_context(servers.serving(BARE, at))
        product = stack.enter_context(servers.up(at))
        uvloop.run(_rounds(options, fleet, {"channels": floor, "raw": floor, "product": product}, found))
    return _outcome(found, fleet, idle=idle, seeding=seeding, redis=bool(options.redis_url))


def _allow_files(count: int) -> None:
    """Raise the limit of this process; servers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and count > hard:
        raise RuntimeError(f"{count} open files are needed, and the system allows {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and count > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# --- the fleet --------------------------------------------------------------------------------------------------------


def _seed(*, many: int, small: int, idle: int) -> Fleet:
    organization = organization_create(slug="bench")
    user = user_create(username="bench", password=None, is_superuser=True)
    membership_set(user=user, organization=organization, role=Role.OWNER)
    _, key = api_key_create(by=user, user=user, organization=organization, name="bench")
    large, large_members = seed_site(organization, "large", devices=many, first=1)
    _, idle_members = seed_site(organization, "idle", devices=idle, first=1 + many)
    ones = []
    for number in range(small):
        site, (member,) = seed_site(organization, f"site {number}", devices=1, first=1 + many + idle + number)
        ones.append((site, member))
    changes = {key: {"value": value} for key, value in STARTING.items()}
    for site in Site.objects.filter(organization=organization):
        site_settings_change(site, changes, version=None)
    recompute.drain()
    _devices_have_it()
    return Fleet(organization, user, key, large, large_members, tuple(ones), idle_members)


def _devices_have_it() -> None:
    """Every device has applied what it should have: nothing is left to push."""
    Config.objects.update(status=Status.APPLIED, applied_checksum=F("checksum"))
    ConfigTask.objects.all().delete()


def _seats(members: Sequence[Member]) -> list[Seat]:
    checksums = dict(Config.objects.values_list("device_id", "checksum"))
    return [
        Seat(f"/ws/device/{member.id}/", {"X-Device-Key": member.key}, checksums[member.id])
        for member in members
    ]


def _idle_seats(name: str, fleet: Fleet) -> list[Seat]:
    if name == "product":
        return _seats(fleet.idle)
    return [Seat(f"/{name}/idle/")] * min(len(fleet.idle), MOST_OF_CHANNELS if name == "channels" else 10**6)


# --- running ----------------------------------------------------------------------------------------------------------


def _serving(name: str, at: Scratch) -> "contextlib.AbstractContextManager[servers.Served]":
    return servers.up(at) if name == "product" else servers.serving(BARE, at)


async def _hold(server: servers.Served, found: Found, seats: Sequence[Seat], *, settle: float) -> None:
    """Open all links of a fresh server and see what it grew by."""
    crowd = Crowd(server.url)
    await crowd.open(seats[:WARM_LINKS])
    await asyncio.sleep(settle)
    found.base_bytes = server.resident_bytes()
    found.opened_idle = await crowd.open(seats[WARM_LINKS:])
    await asyncio.sleep(settle)
    found.bytes_per_link = (server.resident_bytes() - found.base_bytes) / (len(seats) - WARM_LINKS)
    await crowd.close()


async def _rounds(
    options: Options, fleet: Fleet, running: Mapping[str, servers.Served], found: Mapping[str, Found]
) -> None:
    crowds = {name: Crowd(server.url) for name, server in running.items()}
    seats = {name: [Seat(f"/{name}/many/")] * len(fleet.many) for name in FLOORS}
    seats["product"] = await asyncio.to_thread(_seats, fleet.many)
    rounds = options.sized(3, 1)
    for turn in range(rounds):
        for name, crowd in crowds.items():
            found[name].opened.append(await crowd.open(seats[name]))
        for crowd in crowds.values():
            if turn < rounds - 1:
                await crowd.close()
    size = await asyncio.to_thread(_frame_bytes, fleet)
    for turn in range(rounds):
        for name in FLOORS:
            found[name].all.append(await crowds[name].go(crowds[name].peers[0], size))
        await asyncio.sleep(COALESCE_SECONDS)
        before = running["product"].processor_seconds()
        found["product"].all.append(
            await _change(crowds["product"], running["product"], fleet, fleet.large, turn, found["product"])
        )
        found["product"].processor.append(running["product"].processor_seconds() - before)
    await _ones(fleet, running, found, size)
    for crowd in crowds.values():
        await crowd.close()


async def _ones(
    fleet: Fleet, running: Mapping[str, servers.Served], found: Mapping[str, Found], size: int
) -> None:
    """One change after the other, each for a site with one device."""
    crowds = {name: Crowd(server.url) for name, server in running.items()}
    for name in FLOORS:
        await crowds[name].open([Seat(f"/{name}/one/")])
    await crowds["product"].open(await asyncio.to_thread(_seats, [member for _, member in fleet.small]))
    aside = Found()
    for turn, (site, _) in enumerate(fleet.small):
        for name in FLOORS:
            found[name].one.append(await crowds[name].go(crowds[name].peers[0], size))
        found["product"].one.append(
            await _change(crowds["product"], running["product"], fleet, site, 100 + turn, aside, devices=1)
        )
    for crowd in crowds.values():
        await crowd.close()


def _frame_bytes(fleet: Fleet) -> int:
    """How long the archive is that a device gets, in base64."""
    row = Config.objects.select_related("revision").get(device_id=fleet.many[0].id)
    return -(-row.revision.size // 3) * 4


async def _change(
    crowd: Crowd,
    server: servers.Served,
    fleet: Fleet,
    site: Site,
    turn: int,
    found: Found,
    *,
    devices: int = 0,
) -> float:
    """Save a setting of a site as a client of the public API does; returns seconds until the last device is done."""
    path = f"/pub/v1/site/{site.number}/config-changes"
    (told,) = await asyncio.to_thread(load.visit, server.url, [_request(server, path, fleet.key)])
    sent = {
        "timestamp": json.loads(told.body)["timestamp"],
        "changes": {"hotspot/landingURL": {"value": f"https://a.example/{turn + 1}"}},
    }
    count = devices or len(fleet.many)
    crowd.expect(count)
    began = time.perf_counter()
    (answer,) = await asyncio.to_thread(load.visit, server.url, [_request(server, path, fleet.key, sent)])
    found.saved.append(time.perf_counter() - began)
    await crowd.all_in()
    took = time.perf_counter() - began
    found.first_asked.append(crowd.asked[0] - began)
    found.last_asked.append(crowd.asked[-1] - began)
    if answer.status != 200 or json.loads(answer.body)["serverSideChanged"]:
        raise RuntimeError(f"the change was answered with {answer.status}: {answer.body[:200]!r}")
    await asyncio.to_thread(_check_applied, site, count)
    if len(crowd.asked) != count:
        raise RuntimeError(f"{len(crowd.asked)} times a device was asked, not {count}")
    return took


def _request(server: servers.Served, path: str, key: str, body: Any = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {urlsplit(server.url).netloc}\r\n"
        f"x-api-key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _check_applied(site: Site, count: int) -> None:
    done = ConfigTask.objects.filter(
        site_id=site.pk, state=ConfigTask.State.APPLIED, checksum=_wanted()
    ).count()
    if done != count:
        raise RuntimeError(f"the database says that {done} devices have applied the change, not {count}")


def _wanted() -> Any:
    return Subquery(Config.objects.filter(device_id=OuterRef("device_id")).values("checksum")[:1])


# --- saying it --------------------------------------------------------------------------------------------------------


def _ms(values: Sequence[float], share: float = 0.5) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def _quotient(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _outcome(found: Mapping[str, Found], fleet: Fleet, *, idle: int, seeding: float, redis: bool) -> Outcome:
    product = found["product"]
    lines: dict[str, Any] = {
        "links opened per second (handshake and hello)": lambda one: statistics.median(one.opened),
        "… while so many stay open": lambda one: one.opened_idle,
        "KB per idle link": lambda one: one.bytes_per_link / 1024,
        "one device: there and back, or save to applied, p50 ms": lambda one: _ms(one.one),
        "… p95 ms": lambda one: _ms(one.one, 0.95),
        "all devices: there and back, or save to last applied, ms": lambda one: _ms(one.all),
    }
    rows = [("", "bare Channels", "raw ASGI", "product")]
    figures: dict[str, Any] = {}
    for label, value_of in lines.items():
        values = {name: value_of(one) for name, one in found.items()}
        rows.append((label, *(f"{values[name]:,.3g}" for name in found)))
        figures |= {f"{label} ({name})": rounded(value) for name, value in values.items()}
    alone = {
        "all devices: saved, ms": _ms(product.saved),
        "all devices: first one asked, ms": _ms(product.first_asked),
        "all devices: last one asked, ms": _ms(product.last_asked),
        "all devices: server CPU per device, ms": _ms(product.processor) / len(fleet.many),
        "server's memory before the links, MB": product.base_bytes / 2**20,
    }
    rows += [(label, "", "", f"{value:,.3g}") for label, value in alone.items()]
    figures |= {label: rounded(value) for label, value in alone.items()} | {"seeding, s": rounded(seeding)}
    ratios = {}
    for name, one in (("Channels", found["channels"]), ("raw ASGI", found["raw"])):
        ratios |= {
            f"memory per link / {name}": rounded(product.bytes_per_link / one.bytes_per_link),
            f"handshakes / {name}": rounded(_quotient(product.opened, one.opened)),
            f"one device / {name}": rounded(_quotient(product.one, one.one)),
            f"all devices / {name}": rounded(_quotient(product.all, one.all)),
        }
    return Outcome(
        name="links",
        table=tuple(rows),
        figures=figures,
        ratios=ratios,
        targets=(
            Target("one process holds 10,000 links", float(idle), 10_000),
            Target(
                "memory per link <= 1.5 x a bare Channels consumer",
                ratios["memory per link / Channels"],
                1.5,
                at_least=False,
            ),
            Target(
                "memory per link <= 1.5 x raw ASGI", ratios["memory per link / raw ASGI"], 1.5, at_least=False
            ),
            Target(
                f"last of {len(fleet.many):,} applied <= 10 x fan-out of bare Channels",
                ratios["all devices / Channels"],
                10,
                at_least=False,
            ),
            Target(
                f"last of {len(fleet.many):,} applied <= 10 x raw fan-out",
                ratios["all devices / raw ASGI"],
                10,
                at_least=False,
            ),
        ),
        notes=(
            "A floor's fan-out is one message to every link and one answer from each; the product saves, merges, "
            "renders, queues, sends, and is told twice (running, applied) by each.",
            f"The bare consumers' memory is that of {min(idle, MOST_OF_CHANNELS):,} links: opening one costs the "
            "in-memory layer of Channels time in proportion to how many there are.",
        ),
        conditions={
            "database": database_version(),
            "broker": "redis" if redis else "memory",
            "idle links": idle,
            "devices of the changed site": len(fleet.many),
            "sites with one device": len(fleet.small),
            "server": "one process each, uvloop, httptools, websockets-sansio; the product with worker and beat",
        },
    )
