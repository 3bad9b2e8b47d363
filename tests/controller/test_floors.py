"""The floors of the house, and the examples in its docstrings."""

import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "benchmarks")


def modules_of(package: str) -> list[str]:
    found = pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    return [package, *(module.name for module in found if ".migrations" not in module.name)]


def test_a_package_imports_only_from_floors_below_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'agent'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", HOUSE)
def test_examples_in_docstrings_are_true(package: str) -> None:
    for name in modules_of(package):
        outcome = doctest.testmod(importlib.import_module(name))
        assert outcome.failed == 0, name


@pytest.mark.parametrize("package", HOUSE)
def test_every_module_says_why_it_exists(package: str) -> None:
    for name in modules_of(package):
        module = importlib.import_module(name)
        source = Path(module.__file__ or "")
        if source.read_text().strip():
            assert module.__doc__, name
