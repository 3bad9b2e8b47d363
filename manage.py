#!/usr/bin/env python3
"""Entry to Muster's commands: `manage.py up`, `migrate`, `provision`. It names the settings, no more."""

import gc
import os
import sys

from controller.arguments import adopt_arguments


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
    # What modules make while they are imported stays: looking through it for garbage takes a sixth of the start.
    # `controller.apps` ends this.
    gc.disable()
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django is not installed for this Python. Run `make setup`, then .venv/bin/python manage.py"
        ) from error
    adopt_arguments(os.environ, arguments=sys.argv[1:])
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong environment is the reader's to mend: one sentence helps more than a traceback.
        raise SystemExit(f"muster: {error}") from error


if __name__ == "__main__":
    main()
