"""What the engine needs for one typical access point, against the stock library's `generate()` in the same run.

"New" means that every element differs from all rendered before, so nothing remembered helps; "hostname" and "LAN
address" are what most devices of a fleet differ by. No database takes part.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from netjsonconfig import OpenWrt

from benchmarks import access_point
from benchmarks.options import Options
from benchmarks.outcome import Outcome, Target, rounded
from benchmarks.scratch import Scratch
from config_merge.engine import Effective, Layer, Source, VariableLayer, packed, render, resolve

DEVICE = Source("device", "1", "device")
LAYERS = tuple(Layer(Source("template", name, name), config) for name, config, _ in access_point.templates())
DEFAULTS = tuple(
    VariableLayer(Source("template", name, name), values)
    for name, _, values in access_point.templates()
    if values
)


def measure(options: Options, at: Scratch) -> Outcome:
    """Run it: medians over rounds that take every case in turn."""
    counter = itertools.count(1)
    cases = {
        "stock generate()": _stock(_effective(0)),
        "all new": _case(counter, _new_layers),
        "hostname differs": _case(counter, _same_layers),
        "LAN address differs": _case(counter, _same_layers, variable="lan_ip"),
        "every variable differs": _case(
            counter, _same_layers, variable="site", others=("lan_ip", "wifi_key")
        ),
    }
    times: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for case in cases.values():
        case()
    for _ in range(options.sized(60, 2)):
        for name, case in cases.items():
            times[name].append(case())
    medians = {
        name: {part: statistics.median(run[part] for run in runs) for part in runs[0]}
        for name, runs in times.items()
    }
    return _outcome(medians)


def _stock(effective: Effective) -> Callable[[], dict[str, float]]:
    def once() -> dict[str, float]:
        began = time.perf_counter()
        OpenWrt(effective.tree).generate()
        return {"total": time.perf_counter() - began}

    return once


def _case(
    counter: Iterator[int],
    layers_of: Callable[[int], tuple[Layer, ...]],
    *,
    variable: str = "",
    others: tuple[str, ...] = (),
) -> Callable[[], dict[str, float]]:
    def once() -> dict[str, float]:
        number = next(counter)
        values = {name: f"10.{number >> 8 & 255}.{number & 255}.1" for name in (variable, *others) if name}
        layers, variables = layers_of(number), (*DEFAULTS, VariableLayer(DEVICE, values))
        began = time.perf_counter()
        effective = resolve(
            backend=access_point.BACKEND, layers=layers, variables=variables, hostname=f"ap-{number}"
        )
        resolved = time.perf_counter()
        artefact = render(backend=access_point.BACKEND, tree=effective.tree, os=access_point.OS)
        ended = time.perf_counter()
        packed(artefact.files)
        again = time.perf_counter()
        return {
            "total": ended - began,
            "resolve": resolved - began,
            "render": ended - resolved,
            "pack": again - ended,
        }

    return once


def _same_layers(number: int) -> tuple[Layer, ...]:
    return LAYERS


def _new_layers(number: int) -> tuple[Layer, ...]:
    """The same shape in which every element says something it never said before."""
    configs = [access_point.base(), access_point.radios(), access_point.interfaces()]
    base, radios, interfaces = configs
    base["general"]["description"] = base["led"][0]["name"] = base["ntp"]["server"][0] = f"n{number}"
    base["files"][0]["contents"] = f"{number}\n"
    for radio in radios["radios"]:
        radio["tx_power"] = number
    for interface in interfaces["interfaces"]:
        interface["mac"] = f"02:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return tuple(Layer(layer.source, config) for layer, config in zip(LAYERS, configs, strict=True))


def _effective(number: int) -> Effective:
    return resolve(
        backend=access_point.BACKEND, layers=_new_layers(number), variables=DEFAULTS, hostname="ap"
    )


def _outcome(medians: dict[str, dict[str, float]]) -> Outcome:
    floor = medians["stock generate()"]["total"]
    figures: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    rows = [("", "total ms", "resolve ms", "render ms", "of it packing ms", "stock / total")]
    for name, parts in medians.items():
        figures |= {f"{name}: {part} ms": rounded(seconds * 1000) for part, seconds in parts.items()}
        ratios[f"stock / {name}"] = rounded(floor / parts["total"])
        cells = [
            f"{parts[part] * 1000:.3f}" if part in parts else ""
            for part in ("total", "resolve", "render", "pack")
        ]
        rows.append((name, *cells, f"{floor / parts['total']:.0f}"))
    return Outcome(
        name="render",
        table=tuple(rows),
        figures=figures,
        ratios=ratios,
        targets=(
            Target("all new <= 5 ms", figures["all new: total ms"], 5, at_least=False),
            Target("hostname differs <= 0.2 ms", figures["hostname differs: total ms"], 0.2, at_least=False),
            Target(
                "LAN address differs <= 0.2 ms", figures["LAN address differs: total ms"], 0.2, at_least=False
            ),
        ),
        notes=("Two radios, four interfaces, three templates; the engine alone, without a database.",),
    )
