"""The dashboard's drawings: numbers in, shapes with their coordinates out, and the parts of the page made of them.

Invariant: every number that is drawn also stands beside the drawing as text, with a link to the devices it counts
where the list can show exactly those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.template.loader import render_to_string
from django.urls import reverse

from config_merge.admin.badges import STATUS_TONES
from config_merge.figures import Hour, MakeUp, Share, Standing
from config_merge.models import Status

PARTS = ("cards", "status", "seen", "models", "systems", "groups", "activity")
SEEN = (
    ("Online now", "online"),
    ("Within an hour", "recent"),
    ("Within a day", "today"),
    ("Longer ago", "longer"),
    ("Never", "never"),
)
CHART_HEIGHT = 100


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a whole with its colour. `length` and `offset` are hundredths of a ring, as SVG dashes want them."""

    label: str
    tone: str
    count: int
    length: str
    offset: str
    link: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar chart; `width` is in per cent of the longest."""

    label: str
    count: int
    percent: str
    width: str
    link: str


@dataclass(frozen=True, slots=True)
class Column:
    """An hour of the activity chart: the heights of its two columns, and where the hour begins."""

    x: int
    start: datetime
    registered: int
    rendered: int
    registered_height: str
    rendered_height: str


def device_list(**filters: str) -> str:
    """Return the address of the device list with filters."""
    address = reverse("admin:devices_device_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address


def slices(parts: Sequence[tuple[str, str, int, str]]) -> list[Slice]:
    """Return the arcs of the parts (label, tone, count, link) that are not empty, in their order.

    >>> [(arc.length, arc.offset) for arc in slices([("a", "x", 1, ""), ("b", "y", 3, "")])]
    [('25.000 75.000', '25.000'), ('75.000 25.000', '0.000')]
    """
    total = sum(count for _, _, count, _ in parts)
    made, before = [], 0.0
    for label, tone, count, link in parts:
        if count:
            part = 100 * count / total
            made.append(Slice(label, tone, count, f"{part:.3f} {100 - part:.3f}", f"{25 - before:.3f}", link))
            before += part
    return made


def bars(shares: Sequence[Share], *, parameter: str, total: int) -> list[Bar]:
    """Return the lines of a bar chart; what has no key cannot be filtered by."""
    longest = max((share.count for share in shares), default=1) or 1
    return [
        Bar(
            label=share.label,
            count=share.count,
            percent=f"{100 * share.count / total:.0f} %" if total else "",
            width=f"{max(100 * share.count / longest, 0.5):.1f}",
            link=device_list(**{parameter: share.key}) if share.key else "",
        )
        for share in shares
    ]


def columns(hours: Sequence[Hour]) -> list[Column]:
    """Return the activity chart; both kinds have a scale of their own, for a template edit renders thousands."""
    most_registered = max((hour.registered for hour in hours), default=0) or 1
    most_rendered = max((hour.rendered for hour in hours), default=0) or 1
    return [
        Column(
            x=place * 10,
            start=hour.start,
            registered=hour.registered,
            rendered=hour.rendered,
            registered_height=_height(hour.registered, most_registered),
            rendered_height=_height(hour.rendered, most_rendered),
        )
        for place, hour in enumerate(hours)
    ]


def _height(count: int, most: int) -> str:
    return f"{max(CHART_HEIGHT * count / most, 2):.1f}" if count else "0"


def parts(now: Standing, make_up: MakeUp) -> dict[str, str]:
    """Return the HTML of each part of the dashboard that shows numbers."""
    counts = dict(now.statuses)
    statuses = [
        (str(label), STATUS_TONES[value], counts.get(value, 0), device_list(status=value))
        for value, label in Status.choices
    ]
    seen = [(label, tone, count, "") for (label, tone), count in zip(SEEN, now.seen, strict=True)]
    context = {
        "now": now,
        "errors": counts.get(Status.ERROR.value, 0),
        "configured": sum(counts.values()),
        "devices_link": device_list(),
        "errors_link": device_list(status=Status.ERROR.value),
        "statuses": slices(statuses),
        "seen": slices(seen),
        "models": bars(make_up.models, parameter="model__exact", total=now.total),
        "systems": bars(make_up.systems, parameter="os__exact", total=now.total),
        "groups": bars(make_up.groups, parameter="group", total=now.total),
        "columns": columns(make_up.hours),
        "registered": sum(hour.registered for hour in make_up.hours),
        "rendered": sum(hour.rendered for hour in make_up.hours),
    }
    return {name: render_to_string(f"admin/config_merge/dashboard/{name}.html", context) for name in PARTS}
