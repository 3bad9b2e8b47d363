"""Fixtures of the agent's tests: a fake controller and an empty tree. No Django here."""

import os
import tempfile
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
def tmp_path() -> Iterator[Path]:
    """In memory where the machine can: the agent syncs every write, and these tests do thousands.

    Killing a process loses nothing that was written, so memory proves the same as a disk here.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="muster-agent-test-") as directory:
        yield Path(directory)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "root"
    tree.mkdir()
    return tree
