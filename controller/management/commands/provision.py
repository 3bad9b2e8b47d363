"""`manage.py provision`: an organization and a member with a fresh token, for scripts. Idempotent."""

import argparse
import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from controller.provisioning import provision
from tenancy.models import Role


class Command(BaseCommand):
    """Runs beside a live server on the same database."""

    help = "Create an organization and, with --user, a member with a new API token."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--organization", required=True, metavar="SLUG", help="slug of the organization")
        parser.add_argument("--name", default="", help="its name, by default the slug")
        parser.add_argument("--user", default="", help="username of a member; created when unknown")
        parser.add_argument(
            "--password", default="", help="the member's password; without one no sign-in by form"
        )
        parser.add_argument("--role", default=Role.OPERATOR.value, choices=Role.values)
        parser.add_argument("--api-key", action="store_true", help="also make a new API key of the user")
        parser.add_argument("--site", default="", metavar="NAME", help="a site that shall exist")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """Provision and print."""
        try:
            printed = provision(
                slug=options["organization"],
                name=options["name"],
                username=options["user"],
                password=options["password"],
                role=options["role"],
                site=options["site"],
                api_key=options["api_key"],
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["json"]:
            self.stdout.write(json.dumps(printed))
            return
        for kind, values in printed.items():
            self.stdout.write(self.style.MIGRATE_HEADING(kind))
            for name, value in values.items() if isinstance(values, dict) else (("key", values),):
                self.stdout.write(f"  {name}: {value}")
