"""Pages, filters, searches and counts of the device list over REST, in a small and in a large fleet.

Each request goes through the whole of Django in this process, as a member of one organization that has the fleet, and
as one of many organizations that share the large one. Medians of several requests; the quotient is large by small.
"""

import hashlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client

from benchmarks.fleet import BATCH, address_of, mac_of
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, database_version, rounded
from benchmarks.scratch import Scratch
from config_merge.models import Config, ConfigTemplate, Status, Template
from config_merge.services.counts import counts_merge
from config_merge.services.templates import template_create
from core.crypto import digest
from devices.models import Device, DeviceGroup
from devices.services import group_create
from tenancy.models import Organization, Role, User
from tenancy.services import membership_set, organization_create, token_issue, user_create

PATH = "/api/v1/controller/device/"
MODELS = ("Archer C7", "Omnia", "EAP225", "Unifi AC", "RB750")


@dataclass(frozen=True)
class Place:
    """A fleet in one or several organizations, and the credentials of who belongs to all of them."""

    devices: int
    token: str
    group: DeviceGroup
    template: Template
    needle: Device


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: 1,000 devices, 100,000 devices, and 100,000 among 100 organizations."""
    small, large, parts = (
        options.sized(full, quick) for full, quick in ((1000, 50), (100_000, 500), (100, 5))
    )
    began = time.perf_counter()
    places = {
        "small": _place("small", devices=small, organizations=1, first=1),
        "large": _place("large", devices=large, organizations=1, first=1_000_000),
        "shared": _place("shared", devices=large, organizations=parts, first=2_000_000),
    }
    seeding = time.perf_counter() - began
    counts_merge()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "PRAGMA optimize")
    runs = options.sized(15, 2)
    times = _times(places, runs)
    return _outcome(places, times, seeding=seeding)


def _questions(place: Place) -> dict[str, str]:
    """Return the query of each line of the table."""
    last = place.devices // 10
    mac = place.needle.mac_address.lower().replace(":", "-")
    return {
        "page 1": "",
        "page 1, ordered by name": "?ordering=name",
        "last page": f"?page={last}",
        "filter: name": f"?name={place.needle.name[-7:]}",
        "filter: MAC address": f"?mac_address={mac[6:]}",
        "filter: status, few have": "?config__status=error",
        "filter: status, most have": "?config__status=modified",
        "filter: group": f"?group={place.group.pk}",
        "filter: template": f"?config__templates={place.template.pk}",
        "search: one device": f"?search={place.needle.name[-7:]}",
        "search: two words": f"?search={place.needle.name[-7:]}+archer",
        "count": "?page_size=1",
        "middle page": f"?page={last // 2}",
        "search: all devices": "?search=ap-",
        "search: one letter": "?search=z",
    }


# What reads as many rows as match, or all of them for want of a trigram, and so does grow.
GROWING = ("search: all devices", "search: one letter", "middle page")


def _times(places: dict[str, Place], runs: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each question in each place, asked in turn; checks counts."""
    client = Client(SERVER_NAME="127.0.0.1")
    found: dict[str, dict[str, float]] = {name: {} for name in places}
    asked = {name: _questions(place) for name, place in places.items()}
    # SQLite works in this process: its own time says more than the clock's on a machine with neighbours.
    clock = time.perf_counter if connection.vendor == "postgresql" else time.process_time
    for label in next(iter(asked.values())):
        lasted: dict[str, list[float]] = {name: [] for name in places}
        for turn in range(runs + 1):
            for name, place in places.items():
                began = clock()
                answer = client.get(PATH + asked[name][label], HTTP_AUTHORIZATION=f"Bearer {place.token}")
                lasted[name].append((clock() - began) * 1000)
                body = answer.json()
                if answer.status_code != 200 or (turn == 0 and not _right(label, body, place)):
                    raise RuntimeError(f"{label}: {answer.status_code}, {body.get('count')}")
        for name, times in lasted.items():
            found[name][label] = statistics.median(times[1:])
    return found


def _right(label: str, body: dict[str, Any], place: Place) -> bool:
    counts = {
        "page 1": place.devices,
        "count": place.devices,
        "filter: status, few have": place.devices // 50,
        "filter: status, most have": place.devices - place.devices // 50,
        "search: all devices": place.devices,
        "search: one letter": 0,
    }
    wanted = counts.get(label)
    return body["count"] == wanted if wanted is not None else body["count"] > 0


def _place(slug: str, *, devices: int, organizations: int, first: int) -> Place:
    user = user_create(username=f"bench-{slug}", password=None)
    made = [organization_create(slug=f"{slug}-{number}") for number in range(organizations)]
    each = devices // organizations
    fleets = [_fill(organization, each, first + number * each) for number, organization in enumerate(made)]
    for organization in made:
        membership_set(user=user, organization=organization, role=Role.VIEWER)
    group, template, needle = fleets[-1]
    return Place(each * organizations, _token(user), group, template, needle)


def _token(user: User) -> str:
    return token_issue(user=user, name="bench")[1]


def _fill(organization: Organization, count: int, first: int) -> tuple[DeviceGroup, Template, Device]:
    """Fill an organization: one in ten devices in a group, one in fifty in error, all with a template."""
    group = group_create(organization=organization, name="ring")
    template = template_create(
        organization=organization, name="base", config={"general": {"timezone": "UTC"}}
    )
    # Keys are not what is measured; to make each as the product does would take most of the time.
    rows = [
        Device(
            organization=organization,
            group=group if number % 10 == 0 else None,
            name=f"ap-{number:07d}",
            mac_address=mac_of(number),
            key=f"key{number}",
            key_digest=hashlib.sha256(digest(str(number)).encode()).hexdigest(),
            model=MODELS[number % len(MODELS)],
            os="OpenWrt 23.05",
            last_ip=address_of(number),
        )
        for number in range(first, first + count)
    ]
    Device.objects.bulk_create(rows, batch_size=BATCH)
    _configure([row.pk for row in rows], template)
    return group, template, next(row for row in rows[count // 2 :] if row.model == MODELS[0])


def _configure(devices: Sequence[UUID], template: Template) -> None:
    configs = [
        Config(device_id=pk, status=Status.MODIFIED if number % 50 else Status.ERROR, computed_generation=1)
        for number, pk in enumerate(devices)
    ]
    Config.objects.bulk_create(configs, batch_size=BATCH)
    links = [ConfigTemplate(config=config, template=template) for config in configs]
    ConfigTemplate.objects.bulk_create(links, batch_size=BATCH)


def _outcome(places: dict[str, Place], times: dict[str, dict[str, float]], *, seeding: float) -> Outcome:
    small, large, shared = (times[name] for name in ("small", "large", "shared"))
    sizes = [f"{place.devices:,}" for place in places.values()]
    rows = [
        ("milliseconds", f"{sizes[0]}", f"{sizes[1]}", f"{sizes[2]} of many", "large / small", "many / small")
    ]
    ratios, figures = {}, {"seeding, s": rounded(seeding)}
    for label in small:
        quotients = large[label] / small[label], shared[label] / small[label]
        rows.append(
            (
                label,
                *(f"{each[label]:.2f}" for each in (small, large, shared)),
                *(f"{q:.2f}" for q in quotients),
            )
        )
        ratios[f"{label}, large / small"], ratios[f"{label}, many / small"] = map(rounded, quotients)
        figures |= {f"{label}, ms ({name})": rounded(each[label]) for name, each in times.items()}
    flat = [label for label in small if label not in GROWING]
    worst = {
        kind: max(each[label] / small[label] for label in flat)
        for kind, each in (("one organization", large), ("many organizations", shared))
    }
    return Outcome(
        name="lists",
        table=tuple(rows),
        figures=figures,
        ratios=ratios,
        targets=tuple(
            Target(f"page, filter, search and count within 2 x, {kind}", value, 2, at_least=False)
            for kind, value in worst.items()
        ),
        notes=(
            "Not held to the target: a page in the middle walks past half of all devices in an index, a word of one or "
            "two letters is looked for in every row of a narrow table, and who finds all devices counts them all.",
        ),
        conditions={
            "database": database_version(),
            "clock": "wall" if connection.vendor == "postgresql" else "processor",
            "devices": [place.devices for place in places.values()],
        },
    )
