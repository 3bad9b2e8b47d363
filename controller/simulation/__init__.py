"""A fleet of agents in one process, to load a running server and to measure it: they poll, or they keep links.

Invariant: every answer is checked as an agent would (status, header, md5), latency is counted from the
request's first byte out to the answer's last byte in, and nothing leaves loopback unless that was allowed. No
Django here.
"""

from controller.simulation.calls import device_of
from controller.simulation.fleet import simulate
from controller.simulation.link_fleet import simulate_links
from controller.simulation.link_report import LinkReport, format_links
from controller.simulation.report import SimulationReport, format_table, percentile, report_as_json
from controller.simulation.settings import (
    SimulationError,
    SimulationSettings,
    check_target,
    settings_from_options,
)

__all__ = [
    "LinkReport",
    "SimulationError",
    "SimulationReport",
    "SimulationSettings",
    "check_target",
    "device_of",
    "format_links",
    "format_table",
    "percentile",
    "report_as_json",
    "settings_from_options",
    "simulate",
    "simulate_links",
]
