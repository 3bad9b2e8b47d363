"""Sizes, times and addresses in words for people."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils.html import format_html, format_html_join

from boot.images.paths import build_place
from core.ages import ago
from core.clock import now

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_BUILD_ID = "%Y_%m_%d_%H%M%S"
_SPACE = re.compile(r"/images/[^/]+/(?P<path>.+)")


def size_text(size: int) -> str:
    """Return a size in its largest unit.

    >>> size_text(411), size_text(1024), size_text(3_400_000), size_text(64 << 30)
    ('411 bytes', '1 KiB', '3.2 MiB', '64 GiB')
    >>> size_text((1 << 20) - 1), size_text(1 << 52)
    ('1 MiB', '4096 TiB')
    """
    if size < 1024:
        return "1 byte" if size == 1 else f"{size} bytes"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    if size >= 1023.95 * 1024**power and power < len(_UNITS):
        power += 1
    return f"{size / 1024**power:.1f}".removesuffix(".0") + f" {_UNITS[power - 1]}"


def build_text(build_id: str) -> str:
    """Return when a build was made; a build id that is no time stays what it is.

    >>> build_text("2026_01_31_120000"), build_text("2026_99_31_120000")
    ('31 Jan 2026, 12:00', '2026_99_31_120000')
    """
    try:
        at = datetime.strptime(build_id, _BUILD_ID)
    except ValueError:
        return build_id
    return f"{at.day} {at:%b %Y, %H:%M}"


def image_text(url: str) -> str:
    """Return what an address of an image leads to, short enough for a list: a build's recipe and time, or a name.

    >>> image_text("http://x/images/own/autobuild/stock/2026_01_31_120000/rootfs.sqsh")
    'stock, 31 Jan 2026, 12:00'
    >>> image_text("https://files.example.org/v7/rootfs.sqsh"), image_text("")
    ('rootfs.sqsh', '')
    """
    path = urlsplit(url).path
    inside = _SPACE.search(path)
    place = build_place(inside["path"]) if inside else None
    if place is not None:
        return f"{place.recipe}, {build_text(place.build_id)}"
    return path.rpartition("/")[2] or urlsplit(url).netloc


def device_shown(device: str) -> Any:
    """Return what a device calls itself: a long id breaks rather than push everything else away.

    Blanks at its ends are seen, and a link of nothing else can be pressed, between quotation marks.

    >>> device_shown("default"), device_shown(" ")
    ('<span class="mu-boot-device">default</span>', '<span class="mu-boot-device">“ ”</span>')
    """
    text = device if device == device.strip() else f"“{device}”"
    return format_html('<span class="mu-boot-device">{}</span>', text)


def path_shown(path: str) -> Any:
    """Return the path of an image; where there is no room it breaks at its slashes."""
    names = format_html_join("", "{}/<wbr>", ((name,) for name in path.split("/")[:-1]))
    return format_html('<span class="mu-boot-listed">{}{}</span>', names, path.rpartition("/")[2])


def rate_text(amount: int, period: str) -> str:
    """Return how often something may be done.

    >>> rate_text(1200, "hour"), rate_text(10, "month")
    ('1,200 an hour', '10 a month')
    """
    return f"{amount:,} {'an' if period == 'hour' else 'a'} {period}"


def moment(at: datetime) -> Any:
    """Return how long ago something was; the time itself is in the tip."""
    return format_html(
        '<time datetime="{}" title="{} UTC" class="mu-nowrap">{}</time>',
        at.isoformat(),
        f"{at:%Y-%m-%d %H:%M:%S}",
        ago(at, at=now()),
    )


def until(at: datetime, *, moment: datetime) -> str:
    """Return how long it is until something, in its largest unit.

    >>> from datetime import timedelta, timezone
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    >>> until(noon + timedelta(minutes=43), moment=noon), until(noon + timedelta(days=3), moment=noon)
    ('in 43 min', 'in 3 d')
    """
    text = ago(moment, at=at)
    return "now" if text == "just now" else f"in {text.removesuffix(' ago')}"
