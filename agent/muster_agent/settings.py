"""Everything a run of the agent may be told, as frozen values.

Invariant: nothing here changes after start-up; what the agent learns while running lives in `state`.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

STATE_DIR = "etc/muster-agent"

ApplyMode = Literal["merge", "overwrite"]
PathStyle = Literal["legacy", "new"]


@dataclass(frozen=True)
class Timing:
    """Seconds to wait and times to try. The defaults are the OpenWrt agent's (spec/openwisp.md, 1A.9), those of the
    link its protocol's (docs/link-protocol.md); `link_heartbeats` are the shortest and longest it lets itself be told.

    A pair is the range of a random wait. None means: a share of the interval, as the field's method says.
    """

    interval: float = 120.0
    registration_interval: float | None = None
    bootup_delay: float = 10.0
    connect_timeout: float = 15.0
    total_timeout: float = 30.0
    tries: int = 10
    backoff: tuple[float, float] = (2.0, 15.0)
    not_found_wait: float = 6.0
    not_found_limit: int = 5
    update_info_tries: int = 10
    update_info_wait: float = 2.0
    management_ip_tries: int = 3
    management_ip_wait: float | None = None
    settle: float = 5.0
    test_tries: int = 10
    test_backoff: tuple[float, float] = (5.0, 20.0)
    hook_timeout: float = 120.0
    poll_hint_max: float = 86_400.0
    interruptions_allowed: int = 3
    linked_polls: int = 10
    link_backoff: tuple[float, float] = (1.0, 60.0)
    link_backoff_first: float = 2.0
    link_steady: float = 60.0
    link_restart_wait: float = 5.0
    link_replaced_wait: tuple[float, float] = (60.0, 90.0)
    link_refused_wait: float = 300.0
    link_answer: float = 10.0
    link_heartbeats: tuple[float, float] = (1.0, 300.0)
    link_stall: float = 60.0
    telemetry_interval: float = 60.0

    def between_registrations(self) -> float:
        """A quarter of the interval, unless it was set: 30 s by default."""
        return self.interval / 4 if self.registration_interval is None else self.registration_interval

    def between_management_ip_tries(self) -> float:
        """A twelfth of the interval, unless it was set: 10 s by default."""
        return self.interval / 12 if self.management_ip_wait is None else self.management_ip_wait


def timing_with(timing: Timing, *, assignments: list[str]) -> Timing:
    """`timing` changed by `name=value` words; a pair is written `low,high`.

    Raises ValueError for an unknown name or a value that is not a number.

    >>> timing_with(Timing(), assignments=["settle=0", "backoff=0.1,0.2"]).backoff
    (0.1, 0.2)
    """
    known = {item.name: getattr(timing, item.name) for item in dataclasses.fields(timing)}
    changes: dict[str, float | int | tuple[float, float]] = {}
    for word in assignments:
        name, separator, text = word.partition("=")
        if not separator or name not in known:
            raise ValueError(f"unknown timing {word!r}; known: {', '.join(sorted(known))}")
        if isinstance(known[name], tuple):
            low, _, high = text.partition(",")
            changes[name] = (float(low), float(high or low))
        else:
            changes[name] = int(text) if isinstance(known[name], int) else float(text)
    return dataclasses.replace(timing, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Facts:
    """What the device says of itself when it registers. Empty strings are not sent."""

    name: str
    mac: str
    hardware_id: str = ""
    model: str = ""
    os: str = ""
    system: str = ""
    tags: str = ""


@dataclass(frozen=True)
class Settings:
    """One run. `secret` is empty when the device relies on its stored identity."""

    url: str
    root: Path
    facts: Facts
    secret: str = field(default="", repr=False)
    secret_file: Path | None = None
    state_dir: Path | None = None
    backend: str = "netjsonconfig.OpenWrt"
    consistent_key: bool = True
    hardware_id_key: bool = False
    management_ip: str = ""
    management_interface: str = ""
    mode: ApplyMode = "merge"
    paths: PathStyle = "legacy"
    hooks_dir: Path | None = None
    test_script: Path | None = None
    verify_tls: bool = True
    ca_file: Path | None = None
    ca_dir: Path | None = None
    once: bool = False
    link: bool = True
    honour_poll_hint: bool = True
    max_download: int = 32 * 1024 * 1024
    timing: Timing = Timing()

    @property
    def state_path(self) -> Path:
        """Where the agent keeps its own files; by default `<root>/etc/muster-agent`."""
        return self.state_dir if self.state_dir is not None else self.root / STATE_DIR

    @property
    def reserved(self) -> str:
        """The state directory relative to the root, where no archive may write; empty when it lies elsewhere."""
        root, state = self.root.resolve(), self.state_path.resolve()
        return state.relative_to(root).as_posix() if state.is_relative_to(root) else ""
