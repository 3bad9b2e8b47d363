"""A fleet of OpenWrt agents in one process, to load a running server and to measure it.

Invariant: every answer is checked as an agent would (status, header, md5), latency is counted from the
request's first byte out to the answer's last byte in, and nothing leaves loopback unless that was allowed. No
Django here.
"""

from controller.simulation.fleet import device_of, simulate
from controller.simulation.report import SimulationReport, format_table, percentile, report_as_json
from controller.simulation.settings import (
    SimulationError,
    SimulationSettings,
    check_target,
    settings_from_options,
)

__all__ = [
    "SimulationError",
    "SimulationReport",
    "SimulationSettings",
    "check_target",
    "device_of",
    "format_table",
    "percentile",
    "report_as_json",
    "settings_from_options",
    "simulate",
]
