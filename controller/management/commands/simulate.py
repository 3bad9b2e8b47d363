"""`manage.py simulate`: loads a running server with a fleet of agents (see `controller.simulation`).

Invariant: the report goes to stdout, the progress to stderr, the verdict into the exit code.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controller.simulation import (
    SimulationError,
    format_table,
    report_as_json,
    settings_from_options,
    simulate,
)
from devices.queries import shared_secret_of


class Command(BaseCommand):
    """Exit code 0 when every answer was as the protocol has it, 1 otherwise."""

    help = "Let N agents register with a running server, poll, download and report; print what it took."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--devices", type=int, required=True)
        parser.add_argument("--organization", required=True, metavar="SLUG")
        parser.add_argument("--url", default="http://127.0.0.1:8000")
        parser.add_argument("--secret", default="", help="default: the organization's, from the database")
        parser.add_argument(
            "--cycles", type=int, help="polls per device (default: 3, or no limit with --duration)"
        )
        parser.add_argument("--duration", type=float, help="seconds")
        parser.add_argument("--interval", type=float, default=0.0, help="seconds between a device's polls")
        parser.add_argument("--concurrency", type=int, default=64, help="connections at a time")
        parser.add_argument("--seed", type=int, default=1, help="the same seed is the same fleet")
        parser.add_argument(
            "--error-rate", type=float, default=0.0, help="share of devices that report an error"
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
        report = asyncio.run(simulate(settings, progress=sys.stderr))
        self.stdout.write(format_table(report))
        if options["report_json"] is not None:
            options["report_json"].write_text(report_as_json(report) + "\n")
        if report.errors:
            raise SystemExit(1)
