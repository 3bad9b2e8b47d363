"""What the house imports is what requirements.txt installs, exactly pinned."""

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("requirements.txt", "requirements-scale.txt", "requirements-dev.txt")
BESIDE_THE_HOUSE = {"tests", "benchmarks", "agent", "deploy", "var"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(name: str) -> dict[str, str]:
    """Distribution to version, of one file."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("-r "))
    return {canonical(distribution): version for distribution, version in pairs}


def imported() -> dict[str, Path]:
    """Every third-party module the house imports, with one file that does."""
    packages = {path.parent for path in ROOT.glob("*/__init__.py")}
    house = [package for package in packages if package.name not in BESIDE_THE_HOUSE]
    own = {package.name for package in house}
    found: dict[str, Path] = {}
    for path in (path for package in house for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - own - set(sys.stdlib_module_names):
                found.setdefault(top, path)
    return found


def test_the_house_imports_nothing_that_requirements_txt_does_not_install() -> None:
    installed, providers = set(pinned("requirements.txt")), metadata.packages_distributions()
    missing = {
        module: str(path.relative_to(ROOT))
        for module, path in imported().items()
        if not {canonical(name) for name in providers.get(module, [])} & installed
    }
    assert missing == {}


@pytest.mark.parametrize("name", FILES)
def test_what_is_installed_is_what_is_pinned(name: str) -> None:
    versions = pinned(name)
    assert versions
    assert {dist: metadata.version(dist) for dist in versions} == versions


def test_a_distribution_is_pinned_once() -> None:
    every = [dist for name in FILES for dist in pinned(name)]
    assert sorted(every) == sorted(set(every))
