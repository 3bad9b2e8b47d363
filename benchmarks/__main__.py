"""`python -m benchmarks [name] [--quick]`: run one benchmark, or each in a process of its own."""

import argparse
import importlib
import subprocess
import sys

from benchmarks.load import default_generator
from benchmarks.options import Options
from benchmarks.outcome import emit
from benchmarks.scratch import scratch

NAMES = ("render", "settings", "template", "register", "agent", "boot", "preview", "lists", "jobs", "links")


def main(arguments: list[str]) -> int:
    """Run what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="one benchmark; without it all run")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, the figures mean nothing"
    )
    parser.add_argument(
        "--database-url", default="", help="a PostgreSQL server; a database of its own is made there"
    )
    parser.add_argument("--redis-url", default="", help="broker and cache; without it they stay in memory")
    parser.add_argument(
        "--generator", choices=("wrk", "python"), default=default_generator(), help="load generator"
    )
    parser.add_argument(
        "--sqlite", default="", metavar="FILE", help="a migrated, empty database to work on a copy of"
    )
    chosen = parser.parse_args(arguments)
    if chosen.name is None:
        commands = [[sys.executable, "-m", "benchmarks", name, *arguments] for name in NAMES]
        return max(subprocess.run(command, check=False).returncode for command in commands)
    options = Options(
        quick=chosen.quick,
        database_url=chosen.database_url,
        redis_url=chosen.redis_url,
        generator=chosen.generator,
        sqlite=chosen.sqlite,
    )
    with scratch(options) as at:
        # A benchmark imports models, so it can be imported only now.
        case = importlib.import_module(f"benchmarks.cases.{chosen.name}")
        emit(case.measure(options, at), keep=not options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
