"""Runs the operator's scripts: hooks named after events, and the custom connectivity test.

Invariant: a script never hangs the agent (it is killed with its children after the time limit) and never sees
the shared secret or the device key.
"""

import contextlib
import math
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from muster_agent.log import EventLog

OUTPUT_KEPT = 500
SECRET_VARIABLE = "MUSTER_AGENT_SECRET"  # noqa: S105  (a variable's name, not a secret)


@dataclass(frozen=True)
class Outcome:
    """How a script ended. `code` is None when it was killed at the time limit or could not be started."""

    code: int | None
    output: str


def run_script(path: Path, *arguments: str, env: dict[str, str], limit: float) -> Outcome:
    """Run `path` for at most `limit` seconds; the output is its last 500 characters."""
    environment = {name: value for name, value in os.environ.items() if name != SECRET_VARIABLE} | env
    try:
        process = subprocess.Popen(
            [str(path), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(code=None, output=f"cannot start: {error.strerror}")
    try:
        output, _ = process.communicate(timeout=limit)
        return Outcome(code=process.returncode, output=_tail(output))
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return Outcome(code=None, output=f"killed after {limit:g} s")
    except BaseException:
        _kill_group(process)
        raise


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _tail(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[-OUTPUT_KEPT:]


class Hooks:
    """`<directory>/<event>`, run when it exists and is executable. A failing hook is logged, not fatal."""

    def __init__(self, directory: Path | None, *, log: EventLog, env: dict[str, str], limit: float) -> None:
        self._directory = directory
        self._log = log
        self.env = env
        self._limit = limit

    def has(self, event: str) -> bool:
        """Whether `fire` would run anything."""
        return self._find(event) is not None

    def fire(self, event: str, *arguments: str, within: float = math.inf) -> None:
        """Run the hook of `event` to its end, or for `within` seconds."""
        path = self._find(event)
        if path is None:
            return
        env = {**self.env, "MUSTER_AGENT_EVENT": event}
        outcome = run_script(path, *arguments, env=env, limit=min(self._limit, within))
        if outcome.code == 0:
            self._log.info("hook_ran", hook=event)
        else:
            self._log.warning("hook_failed", hook=event, code=outcome.code, output=outcome.output)

    def _find(self, event: str) -> Path | None:
        if self._directory is None:
            return None
        path = self._directory / event
        return path if path.is_file() and os.access(path, os.X_OK) else None
