"""`manage.py environment`: the table of variables, as docs/environment.md shows it."""

from django.core.management import BaseCommand

from controller.env import table


class Command(BaseCommand):
    """Print the Markdown table of every MUSTER_… variable."""

    help = "Print the table of environment variables (docs/environment.md)."
    requires_system_checks: list[str] = []

    def handle(self, **_options: object) -> None:
        """Print it."""
        self.stdout.write(table(), ending="")
