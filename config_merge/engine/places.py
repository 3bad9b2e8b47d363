"""The rules for where a file of a configuration may land on a device.

Invariant: no path that passes can leave the directory an archive is unpacked in. The rule for extra files is
netjsonconfig 1.3.1's (spec/openwisp.md 2.5): letters, digits and `._/-` plus variables, no empty, `.` or
`..` part.
"""

import re
from typing import Any

from config_merge.engine.errors import InvalidConfiguration, fragment

DEFAULT_MODE = "0644"
_VARIABLE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_PATH = re.compile(r"/?[A-Za-z0-9._/-]+")
_MODE = re.compile(r"[0-7]{1,4}\n?")
_PACKAGE = re.compile(r"[A-Za-z0-9._-]+")


def archive_path(path: object, *, index: int) -> str:
    """The member name of an extra file: its path without the leading slash.

    >>> archive_path("/etc/{{ name }}.conf", index=0)
    'etc/{{ name }}.conf'

    Raises InvalidConfiguration about `#/files/<index>/path`.
    """
    place = fragment(("files", index, "path"))
    if not isinstance(path, str):
        raise InvalidConfiguration("a file path must be a string", path=place)
    relative = path.removeprefix("/")
    parts_are_names = all(part not in ("", ".", "..") for part in relative.split("/"))
    if not parts_are_names or _PATH.fullmatch(_without_variables(path)) is None:
        raise InvalidConfiguration(
            f'Invalid file path "{path}": use letters, numbers, ".", "_", "-" and "/",'
            ' and no empty, "." or ".." part.',
            path=place,
        )
    return relative


def _without_variables(path: str) -> str:
    # Behind the last end of a variable none is looked for: each beginning would read the rest of the path again.
    end = path.rfind("}}") + 2 if "}}" in path else 0
    return _VARIABLE.sub("x", path[:end]) + path[end:]


def file_mode(mode: object, *, index: int) -> str:
    """Permissions as four octal digits.

    >>> file_mode("755", index=0)
    '0755'

    Raises InvalidConfiguration about `#/files/<index>/mode`.
    """
    if not isinstance(mode, str) or _MODE.fullmatch(mode) is None:
        raise InvalidConfiguration(
            "file permissions must be three or four octal digits", path=fragment(("files", index, "mode"))
        )
    return mode.rstrip("\n").zfill(4)


def require_package_name(name: str) -> None:
    """Raises InvalidConfiguration unless a top-level key may name a file below /etc/config."""
    if _PACKAGE.fullmatch(name) is None or name in (".", ".."):
        raise InvalidConfiguration(
            'a UCI package name may have letters, numbers, ".", "_" and "-" only', path=fragment((name,))
        )


def is_package(value: Any) -> bool:
    """Whether a top-level value outside the schema becomes a UCI package: a list with a `config_name`
    object in it.

    >>> is_package([{"config_name": "dropbear"}]), is_package(["x"]), is_package({})
    (True, False, False)
    """
    return isinstance(value, list) and any(isinstance(item, dict) and "config_name" in item for item in value)
