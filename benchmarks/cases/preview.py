"""What a template edit would do to 1,000 typical access points, told before it is made; and the edit itself beside it.

Three kinds of edit: one value for all (one diff), a variable of which each device has its own (no device changes), and
a deletion. Everything is computed in this process; nothing is written.
"""

import copy
import time
from collections.abc import Callable
from typing import Any

from benchmarks.fleet import Fleet, seed
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, rounded
from benchmarks.scratch import Scratch
from benchmarks.statements import counted
from config_merge.models import ConfigRevision, Template
from config_merge.services import preview, recompute
from config_merge.services.templates import template_update

SECONDS = 5.0


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it."""
    fleet = seed("preview", devices=options.sized(1000, 20))
    recompute.drain()
    template = Template.objects.get(pk=fleet.templates[1].pk)
    edited = copy.deepcopy(template.config)
    edited["radios"][0]["channel"] = 1 + edited["radios"][0]["channel"] % 11
    runs: dict[str, tuple[float, int, preview.Preview]] = {
        "an edit of content": _timed(lambda: preview.template_preview(template, {"config": edited})),
        "an edit that changes nothing": _timed(
            lambda: preview.template_preview(
                template, {"default_values": {**template.default_values, "n": 1}}
            )
        ),
        "a deletion": _timed(lambda: preview.template_preview(template, {}, delete=True)),
    }
    _check(fleet, runs)
    template_update(template, config=edited)
    began = time.perf_counter()
    recompute.drain()
    recomputed = time.perf_counter() - began
    if ConfigRevision.objects.filter(cause="template").count() != runs["an edit of content"][2].changed:
        raise RuntimeError("the edit did not change as many devices as its preview told")
    return _outcome(len(fleet.members), runs, recomputed)


def _timed(ask: Callable[[], preview.Preview]) -> tuple[float, int, preview.Preview]:
    """Seconds, statements and the answer of a preview; the first of two runs warms the engine's caches."""
    ask()
    began = time.perf_counter()
    with counted() as statements:
        told = ask()
    return time.perf_counter() - began, statements.total, told


def _check(fleet: Fleet, runs: dict[str, tuple[float, int, preview.Preview]]) -> None:
    size = len(fleet.members)
    found = [(told.total, told.changed, told.failed) for _, _, told in runs.values()]
    if found[:2] != [(size, size, 0), (size, 0, 0)] or found[2][0] != size:
        raise RuntimeError(f"unexpected previews: {found}")


def _outcome(size: int, runs: dict[str, tuple[float, int, preview.Preview]], recomputed: float) -> Outcome:
    rows: list[tuple[str, ...]] = [("preview of", "s", "statements", "changed", "groups")]
    figures: dict[str, Any] = {"devices": size, "recompute, s": rounded(recomputed)}
    for name, (seconds, statements, told) in runs.items():
        figures |= {f"{name}, s": rounded(seconds), f"{name}, statements": statements}
        rows.append((name, f"{seconds:.3g}", str(statements), f"{told.changed:,}", str(len(told.groups))))
    slowest = max(seconds for seconds, _, _ in runs.values())
    return Outcome(
        name="preview",
        table=(*rows, ("the edit itself, recomputed", f"{recomputed:.3g}", "", "", "")),
        figures=figures,
        ratios={"preview / recompute": rounded(runs["an edit of content"][0] / recomputed)},
        targets=(
            Target(f"slowest preview of 1,000 devices <= {SECONDS:.0f} s", slowest, SECONDS, at_least=False),
        ),
        notes=("Two radios, four interfaces, three templates, variables of each device's own.",),
    )
