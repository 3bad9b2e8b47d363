"""What the command line says that settings have to know: they load before a command reads its options."""

import argparse
from collections.abc import MutableMapping, Sequence
from pathlib import Path

PREFIX = "MUSTER_"


def adopt_arguments(environ: MutableMapping[str, str], *, arguments: Sequence[str]) -> None:
    """Put the options of `manage.py up` where the settings find them, which load before a command's options.

    >>> environ = {}
    >>> adopt_arguments(environ, arguments=["up", "--port", "9000", "--host=::1"])
    >>> sorted(environ.items())
    [('MUSTER_HOST', '::1'), ('MUSTER_PORT', '9000')]
    """
    if not arguments or arguments[0] != "up":
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("host", "port", "data-dir"):
        parser.add_argument(f"--{name}", nargs="?")
    chosen, _others = parser.parse_known_args(list(arguments[1:]))
    for name, value in vars(chosen).items():
        if value is not None:
            environ[PREFIX + name.upper()] = str(Path(value).absolute()) if name == "data_dir" else value
