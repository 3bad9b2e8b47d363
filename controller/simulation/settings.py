"""What to simulate, checked before anything starts."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

DEFAULT_CYCLES = 3


class SimulationError(ValueError):
    """The simulation cannot start as asked."""


@dataclass(frozen=True)
class SimulationSettings:
    """`cycles` polls per device, or `duration` seconds, whichever ends first; None means no such limit.

    With `links` devices keep a link instead of polling, for `duration` seconds: then `apply_seconds` is how long they
    take to apply a configuration on average, and the rates are shares of them that fail, put it back, or go silent.
    """

    devices: int
    secret: str = field(repr=False)
    url: str = "http://127.0.0.1:8000"
    cycles: int | None = None
    duration: float | None = None
    interval: float = 0.0
    concurrency: int = 64
    seed: int = 1
    error_rate: float = 0.0
    tags: str = ""
    timeout: float = 30.0
    allow_remote: bool = False
    links: bool = False
    apply_seconds: float = 1.0
    rollback_rate: float = 0.0
    silent_rate: float = 0.0


def settings_from_options(options: dict[str, Any], *, secret_of: Callable[[str], str]) -> SimulationSettings:
    """The command's options as settings; without `secret` it is asked of `secret_of(organization)`.

    Raises SimulationError for a value out of range, and what `secret_of` raises.
    """
    cycles, duration, links = options["cycles"], options["duration"], options["links"]
    settings = SimulationSettings(
        devices=options["devices"] if links is None else links,
        secret=options["secret"] or secret_of(options["organization"]),
        url=options["url"].rstrip("/"),
        cycles=DEFAULT_CYCLES if cycles is None and duration is None and links is None else cycles,
        duration=duration,
        interval=options["interval"],
        concurrency=options["concurrency"],
        seed=options["seed"],
        error_rate=options["error_rate"],
        tags=options["tags"],
        timeout=options["timeout"],
        allow_remote=options["allow_remote"],
        links=links is not None,
        apply_seconds=options["apply_seconds"],
        rollback_rate=options["rollback_rate"],
        silent_rate=options["silent_rate"],
    )
    if settings.devices < 1 or settings.concurrency < 1 or settings.interval < 0 or settings.timeout <= 0:
        raise SimulationError(
            "devices and concurrency start at 1, interval at 0, and the timeout is positive"
        )
    if settings.links and (cycles is not None or settings.interval):
        raise SimulationError("devices with a link do not poll: cycles and interval say nothing about them")
    if settings.apply_seconds < 0:
        raise SimulationError("applying takes 0 seconds or more")
    rates = (settings.error_rate, settings.rollback_rate, settings.silent_rate)
    if min(rates) < 0 or sum(rates) > 1:
        raise SimulationError("rates are shares from 0 to 1, all together at most 1")
    if any(limit is not None and limit <= 0 for limit in (settings.cycles, settings.duration)):
        raise SimulationError("cycles and duration are positive")
    check_target(settings.url, allow_remote=settings.allow_remote)
    return settings


def check_target(url: str, *, allow_remote: bool) -> None:
    """Raises SimulationError unless `url` is http(s) and, without `allow_remote`, on loopback only."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SimulationError(f"not an http(s) address: {url}")
    if allow_remote:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise SimulationError(f"{parts.hostname} has no address") from error
    if not all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found):
        raise SimulationError(f"{parts.hostname} is not loopback; --allow-remote loads another machine")
