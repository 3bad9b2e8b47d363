"""`manage.py merge_settings`: what origins do, asked offline. Reads JSON, prints JSON; no database takes part."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config_merge.engine import EngineError, Level, Merged, merge, packages_of

MEMBERS = ("site", "device", "defaults")


def answer(case: Any) -> dict[str, Any]:
    """Return `{"merged", "warnings", "uci"}` for `{"site", "device", "defaults"}`. Raises EngineError, ValueError."""
    if not isinstance(case, Mapping):
        raise ValueError('an object {"site", "device", "defaults"} is needed')
    site, device, defaults = given = [{} if case.get(name) is None else case[name] for name in MEMBERS]
    for name, tree in zip(MEMBERS, given, strict=True):
        if not isinstance(tree, Mapping):
            raise ValueError(f"{name}: an object is needed")
    merged = merge(Level.of(site), Level.of(device), defaults=defaults)
    packages = packages_of(merged.values)
    return {
        "merged": settings_of(merged),
        "warnings": sorted(map(list, (*merged.warnings, *packages.warnings)), key=lambda each: each[::-1]),
        "uci": packages.text(),
    }


def settings_of(merged: Merged) -> dict[str, dict[str, Any]]:
    """Return the settings in force as `{key: {"value", "source"}}`, in the order of their keys."""
    return {
        key: {"value": list(value) if isinstance(value, tuple) else value, "source": merged.sources[key]}
        for key, value in sorted(merged.values.items())
    }


class Command(BaseCommand):
    """Merges the settings of a site and a device, or a list of such pairs."""

    help = 'Read {"site", "device", "defaults"} (or a list of them) on stdin; print what they merge to.'
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, merge, print."""
        try:
            given = json.loads(sys.stdin.buffer.read().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CommandError(f"This is not JSON: {error}") from error
        cases = given if isinstance(given, list) else [given]
        answers = []
        for number, case in enumerate(cases):
            try:
                answers.append(answer(case))
            except (EngineError, ValueError) as error:
                where = f"number {number}: " if isinstance(given, list) else ""
                raise CommandError(f"{where}{error}") from error
        self.stdout.write(json.dumps(answers if isinstance(given, list) else answers[0], indent=2))
