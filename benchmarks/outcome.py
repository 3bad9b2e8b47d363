"""What a benchmark found, as a table for people, one JSON line for programs, and a file that keeps the last run."""

import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("django", "uvicorn", "uvloop", "httptools", "netjsonconfig", "psycopg", "cryptography")


@dataclass(frozen=True, slots=True)
class Target:
    """One aim of design/performance.md: `value` is to be at least (or at most) `bound`."""

    text: str
    value: float | None
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether it is; None when it could not be measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        """The target and its verdict."""
        return {"target": self.text, "value": self.value, "bound": self.bound, "met": self.met}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`table` is what people read, `figures` absolute (this machine only), `ratios` same-run quotients."""

    name: str
    table: tuple[tuple[str, ...], ...]
    figures: Mapping[str, Any]
    ratios: Mapping[str, Any]
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def printed(self) -> str:
        """The table, the targets and the notes."""
        lines = [f"\n{self.name}", *_aligned(self.table)]
        marks = {True: "met", False: "MISSED", None: "not measured"}
        lines += ["", *_aligned(tuple((t.text, _worded(t.value), marks[t.met]) for t in self.targets))]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def as_json(self) -> dict[str, Any]:
        """Everything that is worth keeping of a run."""
        return {
            "benchmark": self.name,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "conditions": dict(self.conditions) | _machine(),
            "figures": dict(self.figures),
            "ratios": dict(self.ratios),
            "targets": [target.as_json() for target in self.targets],
            "notes": list(self.notes),
        }


def emit(outcome: Outcome, *, keep: bool) -> None:
    """Print an outcome, the JSON line last; with `keep` it replaces the last result of its name and services."""
    document = outcome.as_json()
    if keep:
        conditions = document["conditions"]
        suffix = "-postgresql" if "postgresql" in conditions.get("database", "") else ""
        suffix += "-redis" if "redis" in (conditions.get("quotas"), conditions.get("broker")) else ""
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (RESULTS / f"{outcome.name}{suffix}.json").write_text(text + "\n", encoding="utf-8")
    print(outcome.printed())
    print(
        json.dumps({"benchmark": outcome.name, "figures": document["figures"], "ratios": document["ratios"]})
    )


def database_version() -> str:
    """Name and version of the database in use (needs the settings)."""
    from django.db import connection  # the settings exist only now

    if connection.vendor == "postgresql":
        connection.ensure_connection()
        number = connection.pg_version
        return f"postgresql {number // 10000}.{number % 10000}"
    return f"sqlite {sqlite3.sqlite_version}"


def rounded(value: float, digits: int = 3) -> float:
    """`value` with so many significant digits.

    >>> rounded(12345.678), rounded(0.0123456)
    (12300.0, 0.0123)
    """
    return float(f"{value:.{digits}g}")


def _worded(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _aligned(rows: tuple[tuple[str, ...], ...]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=False))
        )
        for row in rows
    ]


def _machine() -> dict[str, Any]:
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
