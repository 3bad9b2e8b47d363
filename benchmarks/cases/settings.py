"""1,000 settings of a site merged with 1,000 of a device, against a plain dictionary update of the same keys.

Three shapes: scalars that the device overrides, entities it overrides whole, and a device of three settings of its
own, which most are. A site's settings are read once for all its devices. No database takes part.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, rounded
from benchmarks.scratch import Scratch
from config_merge.engine import Level, merge, packages_of

KEYS = 1000


def _scalar(number: int) -> str:
    return f"root{number % 10}/node{number % 7}/option{number}"


def _member(number: int) -> str:
    return f"wireless/{1_000_000_001 + number // 20}/option{number % 20}"


def _settings(name: Callable[[int], str], count: int, origin: str) -> dict[str, dict[str, str]]:
    return {name(number): {"value": f"{origin} {number}", "origin": origin} for number in range(count)}


SHAPES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "scalars overridden": (_settings(_scalar, KEYS, "site"), _settings(_scalar, KEYS, "site-device")),
    "entities overridden": (_settings(_member, KEYS, "site"), _settings(_member, KEYS, "site-device")),
    "few of its own": (_settings(_scalar, KEYS, "site"), _settings(_scalar, 3, "device")),
}


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: medians over rounds that take every step of every shape in turn."""
    figures: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    rows = [("", "update us", "merge us", "merge / update", "reading device us", "rendering us")]
    targets = []
    for name, (site, device) in SHAPES.items():
        steps = _steps(site, device)
        times: dict[str, list[float]] = {step: [] for step in steps}
        for _ in range(options.sized(300, 3)):
            for step, work in steps.items():
                began = time.perf_counter()
                work()
                times[step].append((time.perf_counter() - began) * 1e6)
        medians = {step: statistics.median(taken) for step, taken in times.items()}
        figures |= {f"{name}: {step} us": rounded(taken) for step, taken in medians.items()}
        ratio = ratios[f"{name}: merge / update"] = rounded(medians["merge"] / medians["update"])
        cells = [f"{medians[step]:.0f}" for step in ("update", "merge")]
        rows.append((name, *cells, f"{ratio}", f"{medians['reading']:.0f}", f"{medians['rendering']:.0f}"))
        targets.append(Target(f"{name}: merge <= 10 x update", ratio, 10, at_least=False))
    return Outcome(name="settings", table=tuple(rows), figures=figures, ratios=ratios, targets=tuple(targets))


def _steps(site: dict[str, Any], device: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    theirs, ours = Level.of(site), Level.of(device)
    below = {key: entry["value"] for key, entry in site.items()}
    above = {key: entry["value"] for key, entry in device.items()}
    values = merge(theirs, ours).values

    def update() -> None:
        dict(below).update(above)

    return {
        "update": update,
        "merge": lambda: merge(theirs, ours),
        "reading": lambda: Level.of(device),
        "rendering": lambda: packages_of(values).text(),
    }
