"""Fixtures of the roof's tests."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.controller.processes import ROOT, plain_environment


@pytest.fixture(scope="session")
def manage() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `manage.py …` to its end in an environment of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=plain_environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
