"""The grammar of image paths and spaces. Pure: no database, no files.

Invariant: what `checked_path` lets through is one to twelve plain names; none begins with a dot, so a path leads
nowhere else, whoever joins it to what.
"""

import re
from dataclasses import dataclass

GLOBAL, OWN = "global", "own"
LONGEST = 255
_NAME = r"[A-Za-z0-9_~+=,@-][A-Za-z0-9._~+=,@-]{0,99}"
_PATH = re.compile(rf"{_NAME}(?:/{_NAME}){{0,11}}")
_BUILD = re.compile(
    rf"autobuild/(?P<recipe>{_NAME})/(?P<build>[0-9]{{4}}_[0-9]{{2}}_[0-9]{{2}}_[0-9]{{6}})/(?P<file>{_NAME})"
)
INITFS, ROOTFS, INFO, FAILED = "initramfs.tgz", "rootfs.sqsh", "info.sh", "failed_incomplete"
PARTS = frozenset({INITFS, ROOTFS, INFO})
RECIPES = "autobuild/recipes.txt"
_TYPES = {".sh": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".tgz": "application/gzip",
          ".gz": "application/gzip", ".json": "application/json"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BuildPlace:
    """Where a file stands among the builds."""

    recipe: str
    build_id: str
    file: str


def is_path(text: str) -> bool:
    """Tell whether `text` can be an image's path.

    >>> is_path("autobuild/stock/2018_06_29_120000/rootfs.sqsh"), is_path("a/../b"), is_path("/a"), is_path("a//b")
    (True, False, False, False)
    """
    return len(text) <= LONGEST and _PATH.fullmatch(text) is not None


def build_place(path: str) -> BuildPlace | None:
    """Return the place of a build's file, None for any other path.

    >>> build_place("autobuild/stock/2018_06_29_120000/info.sh")
    BuildPlace(recipe='stock', build_id='2018_06_29_120000', file='info.sh')
    """
    found = _BUILD.fullmatch(path)
    return BuildPlace(found["recipe"], found["build"], found["file"]) if found else None


def folder_of(recipe: str, build_id: str) -> str:
    """Return the folder of a build, with its last slash."""
    return f"autobuild/{recipe}/{build_id}/"


def content_type_of(path: str) -> str:
    """Return what an image is served as: the name decides, never whoever sent it.

    >>> content_type_of("global/initramfs.tgz"), content_type_of("x/page.html")
    ('application/gzip', 'application/octet-stream')
    """
    name = path.rpartition("/")[2]
    return _TYPES.get(name[name.rfind(".") :] if "." in name else "", "application/octet-stream")
