"""The engine's own promises: examples that run, no framework, no clock, no chance, no secrets in `repr`."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import config_merge.engine
from config_merge.engine import Layer, Source, VariableLayer, render, resolve
from tests.config_merge.engine.samples import OPENWRT

_MODULES = [module.name for module in pkgutil.iter_modules(config_merge.engine.__path__)]


@pytest.mark.parametrize("name", _MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"config_merge.engine.{name}")
    assert doctest.testmod(module).failed == 0


def test_the_engine_loads_without_django() -> None:
    code = (
        "import sys, config_merge.engine; print(any(name.split('.')[0] == 'django' for name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("name", _MODULES)
def test_no_module_reaches_for_time_or_chance(name: str) -> None:
    module: Any = importlib.import_module(f"config_merge.engine.{name}")
    assert not {"time", "datetime", "random", "secrets", "uuid", "os", "socket"} & module.__dict__.keys()


def test_no_repr_shows_a_value() -> None:
    layer = Layer(Source("template", "1", "t"), {"general": {"hostname": "hunter2", "x": "{{ key }}"}})
    variables = VariableLayer(Source("device", "1", "d"), {"key": "hunter3"})
    effective = resolve(backend=OPENWRT, layers=[layer, layer], variables=[variables])
    artefact = render(backend=OPENWRT, tree=effective.tree)
    shown = repr([layer, variables, effective, effective.leaves(), artefact, artefact.files])
    assert "hunter" not in shown
