"""The pages under docs/ are true: their shell sessions run against a real server and print what they say."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.controller.processes import ROOT, plain_environment, running_up

PAGES = (
    "README.md",
    "docs/openwisp.md",
    "docs/change-flow.md",
    "docs/ignitenet.md",
    "docs/delivery.md",
    "docs/cattlepi.md",
)
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "==> example"


@dataclass
class Example:
    """A block of shell, the line it starts at, and what the page says it prints (None: it does not say)."""

    line: int
    code: str
    printed: str | None = None


def examples_of(page: Path) -> list[Example]:
    """Return the page's shell blocks in order, each with the text block that follows it."""
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        if match[1] == "bash":
            found.append(Example(text[: match.start()].count("\n") + 1, match[2]))
        elif found and found[-1].printed is None:
            found[-1].printed = match[2]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_run_and_print_what_it_says(name: str, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the pages use curl"
    examples = examples_of(ROOT / name)
    assert len(examples) > 1
    script = "set -euo pipefail\n"
    for number, example in enumerate(examples):
        script += f"echo '{MARK} {number}'\n{example.code}\n"
    workplace = tmp_path / "work"
    workplace.mkdir()
    for part in ("agent", "manage.py"):
        (workplace / part).symlink_to(ROOT / part)
    # The environment this runs in: `.ci/run` also has one with no more than `make run` installs.
    (workplace / ".venv").symlink_to(sys.prefix)
    with running_up(tmp_path / "data") as up:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=workplace,
            env=plain_environment(
                CONTROLLER_URL=up.url, MUSTER_DATA_DIR=str(tmp_path / "data"), PYTHONPATH=str(ROOT)
            ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    outputs = re.split(rf"^{MARK} \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, (
        f"{name}: example {len(outputs)} failed:\n{done.stdout[-2000:]}\n{done.stderr}"
    )
    for example, output in zip(examples, outputs, strict=True):
        if example.printed is not None:
            assert output == example.printed, f"{name}, line {example.line}"
