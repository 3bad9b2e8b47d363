"""Make a virtual environment on machines where Python lacks parts of itself.

Why it exists: Debian ships python3 without ensurepip, and `python3 -m venv` then fails with a riddle.
Invariant: only the standard library; it leaves an environment whose `python -m pip` works, or one sentence
saying what to install.
"""

import configparser
import hashlib
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

LEAST = (3, 11)
PYPI = "https://pypi.org/simple"
PIP_WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl$")


class Links(html.parser.HTMLParser):
    """Collects (address, sha256 or empty) of the stable pip wheels on a package index's page (PEP 503)."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base
        self.found: list[tuple[tuple[int, ...], str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is a pip wheel and has not been yanked."""
        attributes = dict(attrs)
        if tag != "a" or "data-yanked" in attributes:
            return
        address, _, fragment = urllib.parse.urljoin(self._base, attributes.get("href") or "").partition("#")
        match = PIP_WHEEL.search(address)
        if match:
            version = tuple(int(part) for part in match.group(1).split("."))
            self.found.append((version, address, fragment.removeprefix("sha256=") if fragment else ""))


def works(python: Path) -> bool:
    """Whether the environment's pip answers."""
    try:
        return (
            subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def attempt(*command: str) -> bool:
    """Run one way of making the environment; its complaints matter only when no way works."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def index_url() -> str:
    """The index pip itself would use: its variable, its files, else PyPI."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    files = [
        os.environ.get("PIP_CONFIG_FILE", ""),
        "~/.config/pip/pip.conf",
        "~/.pip/pip.conf",
        "/etc/pip.conf",
    ]
    for name in files:
        parser = configparser.RawConfigParser()
        if name and parser.read(Path(name).expanduser()) and parser.has_option("global", "index-url"):
            return parser.get("global", "index-url")
    return PYPI


def fetch_pip(directory: Path) -> Path:
    """Download the newest pip wheel; raises OSError or ValueError when the index has none to give."""
    page = f"{index_url().rstrip('/')}/pip/"
    with urllib.request.urlopen(page, timeout=60) as answer:  # noqa: S310 - the address pip would use
        links = Links(page)
        links.feed(answer.read().decode())
    if not links.found:
        raise ValueError(f"{page} lists no pip")
    _version, address, digest = max(links.found)
    with urllib.request.urlopen(address, timeout=120) as answer:  # noqa: S310 - named by that index
        content = answer.read()
    if digest and hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{address} is not what the index promised")
    wheel = directory / Path(urllib.parse.urlsplit(address).path).name
    wheel.write_bytes(content)
    return wheel


def with_fetched_pip(target: Path) -> bool:
    """An environment without pip, then a pip wheel that installs itself into it."""
    if not attempt(sys.executable, "-m", "venv", "--clear", "--without-pip", str(target)):
        return False
    with tempfile.TemporaryDirectory() as directory:
        try:
            wheel = fetch_pip(Path(directory))
        except (OSError, ValueError, urllib.error.URLError) as error:
            print(f"make_venv: no pip from the package index: {error}", file=sys.stderr)
            return False
        # A wheel is a zip archive Python can run from: pip installs the very file it runs from.
        return attempt(
            str(target / "bin/python"), f"{wheel}/pip", "install", "--quiet", "--no-deps", str(wheel)
        )


def main(target: Path) -> int:
    """Try each way until pip answers; 0 when it does."""
    if sys.version_info < LEAST:
        print(
            f"make_venv: Python {sys.version.split()[0]} is too old, {LEAST[0]}.{LEAST[1]} or newer "
            "is needed; name one with: make PYTHON=python3.12 …",
            file=sys.stderr,
        )
        return 1
    python = target / "bin/python"
    if works(python):
        return 0
    ways = (
        lambda: attempt(sys.executable, "-m", "venv", "--clear", str(target)),
        lambda: attempt(sys.executable, "-m", "virtualenv", "--clear", str(target)),
        lambda: with_fetched_pip(target),
    )
    for way in ways:
        if way() and works(python):
            return 0
    shutil.rmtree(target, ignore_errors=True)
    print(
        "make_venv: this Python cannot make a virtual environment. On Debian and Ubuntu:\n"
        "    apt-get install python3-venv\nthen run make again.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
