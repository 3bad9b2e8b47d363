"""Counting what happened, and saying it: latencies, errors, statuses."""

import asyncio
import contextlib
import dataclasses
import json
import math
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

ERRORS_KEPT = 10
OPERATIONS = ("register", "checksum", "download", "report")


@dataclass(frozen=True)
class OperationRow:
    """One kind of request; latencies in milliseconds, `statuses` counts answers by status."""

    operation: str
    requests: int
    per_second: float
    errors: int
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    statuses: dict[str, int]


@dataclass(frozen=True)
class SimulationReport:
    """What happened. `per_second` counts complete answers over the whole run, `seconds` long."""

    devices: int
    registered: int
    new: int
    applied: int
    rejected: int
    seconds: float
    requests: int
    per_second: float
    errors: int
    messages: tuple[str, ...]
    rows: tuple[OperationRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--report-json`."""
        values = dataclasses.asdict(self)
        values["operations"] = values.pop("rows")
        return values


class Recorder:
    """Counts as the run goes; `report` sums up."""

    operations: tuple[str, ...] = OPERATIONS

    def __init__(self, devices: int) -> None:
        self.devices = devices
        self.registered = 0
        self.new = 0
        self.applied = 0
        self.rejected = 0
        self.requests = 0
        self.errors = 0
        self.started = time.perf_counter()
        self._latencies = {operation: array("d") for operation in self.operations}
        self._statuses: dict[str, Counter[str]] = {operation: Counter() for operation in self.operations}
        self._failures: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()

    def answered(self, operation: str, *, status: int | str, latency: float) -> None:
        self.requests += 1
        self._latencies[operation].append(latency)
        self._statuses[operation][str(status)] += 1

    def failed(self, operation: str, message: str) -> None:
        self.errors += 1
        self._failures[operation] += 1
        self._messages[f"{operation}: {message}"] += 1

    def report(self) -> SimulationReport:
        """Everything so far, as values."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return SimulationReport(
            devices=self.devices,
            registered=self.registered,
            new=self.new,
            applied=self.applied,
            rejected=self.rejected,
            seconds=seconds,
            requests=self.requests,
            per_second=self.requests / seconds,
            errors=self.errors,
            messages=self.messages(),
            rows=self.rows(seconds),
        )

    def messages(self) -> tuple[str, ...]:
        """The most frequent errors."""
        return tuple(f"{count} x {text}" for text, count in self._messages.most_common(ERRORS_KEPT))

    def rows(self, seconds: float) -> tuple[OperationRow, ...]:
        """One row per kind of request, of a run of `seconds`."""
        return tuple(self._row(operation, seconds) for operation in self.operations)

    def progress(self, now: float = 0.0) -> str:
        """One line about the run so far; `now` is the rate of the last second, 0 for that of all."""
        seconds = time.perf_counter() - self.started
        rate = f"{now:,.0f}/s now" if now else f"{self.requests / max(seconds, 1e-9):,.0f}/s"
        return (
            f"{seconds:7.1f} s  {self.registered}/{self.devices} registered  {self.requests:,}"
            f" requests ({rate})  applied {self.applied}  errors {self.errors}   "
        )

    def _row(self, operation: str, seconds: float) -> OperationRow:
        ordered = sorted(self._latencies[operation])
        return OperationRow(
            operation=operation,
            requests=len(ordered),
            per_second=len(ordered) / seconds,
            errors=self._failures[operation],
            p50=percentile(ordered, share=0.5) * 1000,
            p90=percentile(ordered, share=0.9) * 1000,
            p95=percentile(ordered, share=0.95) * 1000,
            p99=percentile(ordered, share=0.99) * 1000,
            max=(ordered[-1] if ordered else 0.0) * 1000,
            statuses=dict(sorted(self._statuses[operation].items())),
        )


def percentile(ordered: list[float], *, share: float) -> float:
    """The smallest value at least `share` of `ordered` does not exceed; 0 for an empty list.

    >>> percentile([1.0, 2.0, 3.0, 4.0], share=0.5)
    2.0
    """
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(round(len(ordered) * share, 9)) - 1)]


@contextlib.asynccontextmanager
async def progress_shown(recorder: Recorder, stream: TextIO | None) -> AsyncIterator[None]:
    task = asyncio.create_task(_show_progress(recorder, stream)) if stream is not None else None
    try:
        yield
    finally:
        if task is not None and stream is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            stream.write(recorder.progress() + "\n")
            stream.flush()


async def _show_progress(recorder: Recorder, stream: TextIO) -> None:
    """One line a second: redrawn on a terminal, appended elsewhere."""
    end = "\r" if stream.isatty() else "\n"
    before = 0
    while True:
        await asyncio.sleep(1.0)
        stream.write(recorder.progress(float(recorder.requests - before)) + end)
        stream.flush()
        before = recorder.requests


def format_table(report: SimulationReport) -> str:
    """The closing table."""
    lines = [
        f"{report.registered} of {report.devices} devices registered ({report.new} new),"
        f" {report.applied} applied and {report.rejected} reported an error, in {report.seconds:.1f} s",
        "",
        f"{'operation':<10}{'requests':>10}{'req/s':>10}{'errors':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}"
        f"{'max ms':>9}  statuses",
    ]
    for row in report.rows:
        statuses = " ".join(f"{status}:{count}" for status, count in row.statuses.items())
        lines.append(
            f"{row.operation:<10}{row.requests:>10}{row.per_second:>10.1f}{row.errors:>8}{row.p50:>9.2f}"
            f"{row.p90:>9.2f}{row.p99:>9.2f}{row.max:>9.2f}  {statuses}".rstrip()
        )
    lines.append(f"{'total':<10}{report.requests:>10}{report.per_second:>10.1f}{report.errors:>8}")
    lines += [f"error: {message}" for message in report.messages]
    return "\n".join(lines)


class Reported(Protocol):
    """A report of either kind of run."""

    def to_json(self) -> dict[str, Any]: ...


def report_as_json(report: Reported) -> str:
    """One JSON object, indented."""
    return json.dumps(report.to_json(), indent=2, sort_keys=True)
