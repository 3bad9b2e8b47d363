"""Registrations of devices nobody has seen, over HTTP, against a bare answer and a plain Django view with one INSERT.

Every request carries a MAC address of its own and the key derived from it, as an agent with consistent registration
sends; two default templates are assigned to each. Statements are counted on the same code in this process.
"""

import contextlib
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks import access_point, load, servers
from benchmarks.fleet import address_of, mac_of, seed
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from benchmarks.statements import counted
from config_merge.agent.endpoints import answer
from config_merge.agent.messages import AgentRequest, operation_of
from devices.models import Device
from devices.queries import shared_secret_of
from devices.services import consistent_key

HOST = "127.0.0.1"
ANSWER_BYTES = 140
PEER = 18
# More than a server answers in a second.
PREPARED_PER_SECOND = 2500


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it."""
    fleet = seed("bench", devices=0)
    secret = shared_secret_of("bench")
    numbers = itertools.count(1)
    statements = _statements(secret, numbers)
    rounds, seconds = options.sized(3, 1), options.seconds
    made = partial(_requests, secret, numbers, round(max(1, seconds) * PREPARED_PER_SECOND))
    form = {"name": "ap-000001", "secret": secret}
    insert = load.raw_request(f"/insert/{fleet.organization.pk}", host=HOST, form=form)
    with contextlib.ExitStack() as stack:
        product, bare, django = (
            stack.enter_context(servers.serving(application, at))
            for application in (servers.PRODUCT, servers.BARE, servers.DJANGO)
        )
        before = Device.objects.count()
        targets = {
            "bare POST": load.Target(bare, [load.raw_request(f"/{ANSWER_BYTES}", host=HOST, form=form)]),
            "register": load.Target(product, prepare=made),
            "django insert": load.Target(django, [insert]),
        }
        loads = load.rounds(targets, count=rounds, seconds=seconds, generator=options.generator)
    registered = Device.objects.count() - before
    refused = {name: sum(run.refused + run.broken for run in runs) for name, runs in loads.items()}
    if any(refused.values()) or not registered:
        raise RuntimeError(
            f"requests were not answered as they should be: {refused}, {registered} registered"
        )
    return _outcome(options, loads, registered=registered, statements=statements)


def _form(secret: str, number: int) -> dict[str, str]:
    mac = mac_of(number)
    return {
        "backend": access_point.BACKEND,
        "secret": secret,
        "name": f"ap-{number:06d}",
        "mac_address": mac,
        "key": consistent_key(identity=mac, shared_secret=secret),
        "model": "TP-Link Archer C7 v5",
        "os": access_point.OS,
        "system": "Qualcomm Atheros QCA956X ver 1 rev 0",
    }


def _requests(secret: str, numbers: Iterator[int], count: int) -> list[bytes]:
    """Registrations that were not sent before."""
    return [
        load.raw_request(
            "/controller/register/",
            host=HOST,
            headers={"X-Forwarded-For": address_of(number)},
            form=_form(secret, number),
        )
        for number in itertools.islice(numbers, count)
    ]


def _statements(secret: str, numbers: Iterator[int]) -> float:
    """The median number of statements of a registration, transaction framing left out."""
    totals = []
    for number in itertools.islice(numbers, 5):
        request = AgentRequest(
            "POST", operation_of("register/"), _form(secret, number), {}, address_of(number)
        )
        with counted() as statements:
            answered = answer(request)
        if answered.status != 201:
            raise RuntimeError(f"a registration was refused: {answered}")
        totals.append(statements.total)
    return statistics.median(totals)


def _outcome(
    options: Options, loads: Mapping[str, Sequence[load.Load]], *, registered: int, statements: float
) -> Outcome:
    rates = {name: load.median_rate(runs) for name, runs in loads.items()}
    ratios = {
        "register of bare": rounded(load.median_ratio(loads["register"], loads["bare POST"])),
        "register x django insert": rounded(load.median_ratio(loads["register"], loads["django insert"])),
        "register x peer": rounded(rates["register"] / PEER),
    }
    rows = [("", "requests/s", "p50 ms", "p99 ms", "CPU us", "register / it")]
    for name, runs in loads.items():
        middle = [f"{statistics.median(getattr(run, part) for run in runs):.1f}" for part in ("p50", "p99")]
        processor = f"{load.median_processor(runs):.0f}"
        rows.append(
            (name, f"{rates[name]:,.0f}", *middle, processor, f"{rates['register'] / rates[name]:.2f}")
        )
    return Outcome(
        name="register",
        table=tuple(rows),
        figures={f"{name} per second": rounded(rate, 4) for name, rate in rates.items()}
        | {"statements per registration": statements, "registered": registered},
        ratios=ratios,
        targets=(
            Target("<= 6 statements", statements, 6, at_least=False),
            Target(f">= 20 x the peer's {PEER}/s", ratios["register x peer"], 20),
        ),
        notes=(f"{registered:,} devices registered; the peer was measured on another machine.",),
        conditions={
            "database": database_version(),
            "connections": load.CONNECTIONS,
            "generator": options.generator,
            "server": "one uvicorn process each, uvloop, httptools",
        },
    )
