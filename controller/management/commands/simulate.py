"""`manage.py simulate`: loads a running server with agents that poll or keep links (see `controller.simulation`).

Invariant: the report goes to stdout, the progress to stderr, the verdict into the exit code.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controller.provisioning import devices_place
from controller.simulation import (
    LinkReport,
    SimulationError,
    SimulationReport,
    SimulationSettings,
    device_of,
    format_links,
    format_table,
    report_as_json,
    settings_from_options,
    simulate,
    simulate_links,
)
from devices.queries import shared_secret_of


class Command(BaseCommand):
    """Exit code 0 when every answer was as the protocol has it, 1 otherwise."""

    help = (
        "Let N agents register with a running server, then poll it or keep links to it; print what it took."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        fleet = parser.add_mutually_exclusive_group(required=True)
        fleet.add_argument("--devices", type=int, metavar="N", help="so many devices, which poll")
        fleet.add_argument("--links", type=int, metavar="N", help="so many devices, which keep links")
        parser.add_argument("--organization", required=True, metavar="SLUG")
        parser.add_argument(
            "--site", default="", metavar="NAME", help="put them into this site, which manages them then"
        )
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--secret", default="", help="default: the organization's, from the database")
        parser.add_argument(
            "--cycles", type=int, help="polls per device (default: 3, or no limit with --duration)"
        )
        parser.add_argument("--duration", type=float, help="seconds (links: without it until Ctrl-C)")
        parser.add_argument("--interval", type=float, default=0.0, help="seconds between a device's polls")
        parser.add_argument("--concurrency", type=int, default=64, help="connections at a time")
        parser.add_argument("--seed", type=int, default=1, help="the same seed is the same fleet")
        parser.add_argument(
            "--error-rate", type=float, default=0.0, help="share of devices that report an error"
        )
        parser.add_argument(
            "--rollback-rate",
            type=float,
            default=0.0,
            help="share of linked devices that put everything back",
        )
        parser.add_argument(
            "--silent-rate",
            type=float,
            default=0.0,
            help="share of linked devices that say nothing more once they are given a configuration",
        )
        parser.add_argument(
            "--apply-seconds", type=float, default=1.0, help="how long applying takes a linked device, about"
        )
        parser.add_argument("--tags", default="")
        parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one answer")
        parser.add_argument("--report-json", type=Path, metavar="FILE")
        parser.add_argument("--allow-remote", action="store_true", help="load a machine that is not this one")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            settings = settings_from_options(options, secret_of=shared_secret_of)
        except SimulationError as error:
            raise CommandError(str(error)) from error
        except ObjectDoesNotExist as error:
            raise CommandError(f"there is no organization {options['organization']!r}") from error
        if options["site"]:
            self._place(settings, organization=options["organization"], site=options["site"])
        report: SimulationReport | LinkReport
        if settings.links:
            report = self._linked(settings)
            self.stdout.write(format_links(report))
        else:
            report = asyncio.run(simulate(settings, progress=sys.stderr))
            self.stdout.write(format_table(report))
        if options["report_json"] is not None:
            options["report_json"].write_text(report_as_json(report) + "\n")
        if report.errors:
            raise SystemExit(1)

    def _linked(self, settings: SimulationSettings) -> LinkReport:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(simulate_links(settings, progress=sys.stderr))
        except SimulationError as error:
            raise CommandError(str(error)) from error

    def _place(self, settings: SimulationSettings, *, organization: str, site: str) -> None:
        """Put the devices into a site of the database, as somebody would who adds them before they ever call."""
        macs = [device_of(settings, index).mac for index in range(settings.devices)]
        try:
            placed = devices_place(organization, site=site, macs=macs)
        except ObjectDoesNotExist as error:
            raise CommandError(f"there is no organization {organization!r}") from error
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stderr.write(f"{placed} of {len(macs)} devices were put into the site {site!r}")
