"""`manage.py import_api_key`: let a key that a fleet carries already open the boot API here."""

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import MusterError
from tenancy.api_keys import api_key_import
from tenancy.models import Organization, User


class Command(BaseCommand):
    """Reads the key from standard input, since what stands in a command line is seen by others."""

    help = "Import an existing key of the boot API; its text is read from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name whose key it is."""
        parser.add_argument("--organization", required=True, help="slug of the organization")
        parser.add_argument("--user", required=True, help="whose key it is; they must be a member")
        parser.add_argument("--name", default="imported", help="what the key is called")
        parser.add_argument("--read-only", action="store_true", help="it never writes a configuration")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import it and print the id it is known by."""
        organization = Organization.objects.filter(slug=options["organization"]).first()
        user = User.objects.filter(username=options["user"]).first()
        by = User.objects.filter(is_superuser=True, is_active=True).order_by("date_joined").first()
        if organization is None or user is None or by is None:
            raise CommandError("There is no such organization or user, or no active superuser.")
        try:
            row = api_key_import(
                by=by,
                user=user,
                organization=organization,
                name=options["name"],
                text=sys.stdin.readline().strip(),
                read_only=options["read_only"],
            )
        except (ValidationError, MusterError) as error:
            raise CommandError("; ".join(getattr(error, "messages", None) or [str(error)])) from error
        self.stdout.write(row.key_id)
