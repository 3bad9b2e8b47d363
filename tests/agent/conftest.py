"""Fixtures of the agent's tests: a fake controller and an empty tree. No Django here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.fake_controller import FakeController


@pytest.fixture
def controller() -> Iterator[FakeController]:
    fake = FakeController()
    yield fake
    fake.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "root"
    tree.mkdir()
    return tree
