"""Every module of the product can be imported: in `.ci/run` also with no more than what `make run` installs."""

import importlib
import pkgutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.controller.processes import ROOT

PACKAGES = ("boot", "config_merge", "controller", "core", "devices", "tenancy", "tracking")


def modules(package: str) -> list[str]:
    found = pkgutil.walk_packages([str(ROOT / package)], prefix=f"{package}.")
    return [package, *(module.name for module in found)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_can_be_imported(package: str) -> None:
    names = modules(package)
    assert len(names) > 5
    for name in names:
        importlib.import_module(name)


def test_garbage_is_collected_once_everything_is_imported(
    tmp_path: Path, manage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = manage("shell", "--command", "import gc; print(gc.isenabled())", MUSTER_DATA_DIR=str(tmp_path))
    assert done.stdout.splitlines()[-1] == "True"
