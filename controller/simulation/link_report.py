"""Counting what linked devices saw, and saying it."""

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from controller.simulation.report import OperationRow, Recorder


@dataclass(frozen=True)
class LinkReport:
    """What happened. `held` is at the end, `most_held` at the best moment; rates are per second.

    `opening_seconds` is the time from the first handshake until every device was linked for the first time, or until
    the end. Latencies of `apply` are from the request to the answer to the report.
    """

    devices: int
    registered: int
    new: int
    held: int
    most_held: int
    opened: int
    opening_seconds: float
    opened_per_second: float
    asked: int
    applied: int
    failed: int
    rolled_back: int
    silent: int
    seconds: float
    errors: int
    messages: tuple[str, ...]
    closes: dict[str, int]
    rows: tuple[OperationRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--report-json`."""
        values = dataclasses.asdict(self)
        values["operations"] = values.pop("rows")
        return values


class LinkRecorder(Recorder):
    """Counts as the run goes; `link_report` sums up."""

    operations = ("register", "download", "handshake", "hello", "ping", "apply", "report")

    def __init__(self, devices: int) -> None:
        super().__init__(devices)
        self.held = 0
        self.most_held = 0
        self.opened = 0
        self.asked = 0
        self.failed_applies = 0
        self.rolled_back = 0
        self.silent = 0
        self.closes: Counter[str] = Counter()
        self._first_dial: float | None = None
        self._all_held: float | None = None
        self._opened_first = 0

    def dialled(self) -> None:
        if self._first_dial is None:
            self._first_dial = time.perf_counter()

    def linked(self, *, is_first: bool) -> None:
        """A device was welcomed; `is_first`: for the first time."""
        self.held += 1
        self.opened += 1
        self.most_held = max(self.most_held, self.held)
        self._opened_first += is_first
        if self._all_held is None and self._opened_first == self.devices:
            self._all_held = time.perf_counter()

    def ended(self, status: str, *, seconds: float) -> None:
        """The controller has taken in how a device's work ended."""
        self.answered("apply", status=status, latency=seconds)
        self.applied += status == "applied"
        self.failed_applies += status == "failed"
        self.rolled_back += status == "rolled_back"

    def progress(self, now: float = 0.0) -> str:
        """One line about the run so far; `now` is the rate of frames and requests answered in the last second."""
        seconds = time.perf_counter() - self.started
        rate = f"{now:,.0f}/s now" if now else f"{self.requests / max(seconds, 1e-9):,.0f}/s"
        ended = f"applied {self.applied}/{self.asked}"
        if self.failed_applies or self.rolled_back:
            ended += f" failed {self.failed_applies} rolled back {self.rolled_back}"
        return (
            f"{seconds:7.1f} s  {self.held}/{self.devices} linked  {self.requests:,} answers ({rate})"
            f"  {ended}  errors {self.errors}   "
        )

    def link_report(self) -> LinkReport:
        """Everything so far, as values."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        since = self._first_dial if self._first_dial is not None else time.perf_counter()
        opening = max((self._all_held or time.perf_counter()) - since, 1e-9)
        return LinkReport(
            devices=self.devices,
            registered=self.registered,
            new=self.new,
            held=self.held,
            most_held=self.most_held,
            opened=self.opened,
            opening_seconds=opening,
            opened_per_second=self._opened_first / opening,
            asked=self.asked,
            applied=self.applied,
            failed=self.failed_applies,
            rolled_back=self.rolled_back,
            silent=self.silent,
            seconds=seconds,
            errors=self.errors,
            messages=self.messages(),
            closes=dict(sorted(self.closes.items())),
            rows=self.rows(seconds),
        )


def format_links(report: LinkReport) -> str:
    """The closing table."""
    closes = " ".join(f"{code}:{count}" for code, count in report.closes.items())
    lines = [
        f"{report.held} of {report.devices} links held at the end, {report.most_held} at most; {report.registered}"
        f" registered ({report.new} new), in {report.seconds:.1f} s",
        f"{report.opened} links opened, the first of each device within {report.opening_seconds:.1f} s"
        f" ({report.opened_per_second:.0f}/s)" + (f"; closed: {closes}" if closes else ""),
        f"{report.asked} configurations asked for: {report.applied} applied, {report.failed} failed,"
        f" {report.rolled_back} rolled back, {report.silent} met with silence",
        "",
        f"{'operation':<10}{'answers':>10}{'per s':>10}{'errors':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}"
        f"{'max ms':>10}  statuses",
    ]
    for row in report.rows:
        statuses = " ".join(f"{status}:{count}" for status, count in row.statuses.items())
        lines.append(
            f"{row.operation:<10}{row.requests:>10}{row.per_second:>10.1f}{row.errors:>8}{row.p50:>10.2f}"
            f"{row.p95:>10.2f}{row.p99:>10.2f}{row.max:>10.2f}  {statuses}".rstrip()
        )
    lines += [f"error: {message}" for message in report.messages]
    return "\n".join(lines)
