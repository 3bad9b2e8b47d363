"""Is the process alive, and can the installation do its work?

Invariant: an answer within about two seconds whatever hangs, naming what fails and nothing secret. Both pages
need no login, so an answer is reused for a second: asking often costs nothing.
"""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Overdue
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from controller.tasks import SCHEDULER
from core import heartbeat

CHECK_SECONDS = 2.0
REUSE_SECONDS = 1.0
SCHEDULER_SECONDS = 30.0


@dataclass(frozen=True)
class Check:
    """The outcome of one check; `detail` is a few words without secrets, `age_seconds` the scheduler's."""

    ok: bool
    detail: str
    age_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape `/readyz` shows."""
        shown: dict[str, Any] = {"ok": self.ok, "detail": self.detail}
        return shown if self.age_seconds is None else shown | {"age_seconds": round(self.age_seconds, 1)}


@dataclass(frozen=True)
class Report:
    """All checks by name."""

    checks: dict[str, Check]

    @property
    def failing(self) -> list[str]:
        """Names of the checks that fail, sorted."""
        return sorted(name for name, check in self.checks.items() if not check.ok)

    @property
    def status(self) -> int:
        """200 when all is well, else 503."""
        return 503 if self.failing else 200

    def as_json(self) -> dict[str, Any]:
        """The body of `/readyz`."""
        return {
            "status": "failing" if self.failing else "ok",
            "failing": self.failing,
            "checks": {name: check.as_json() for name, check in self.checks.items()},
        }


def check_database() -> Check:
    """One statement there and back."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return Check(True, connection.vendor)


_migrated = threading.Event()


def check_migrations() -> Check:
    """Whether the tables are those this code was written for; a yes holds for the life of the process."""
    if not _migrated.is_set():
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            return Check(False, f"{missing} not applied")
        _migrated.set()
    return Check(True, "applied")


def check_broker() -> Check:
    """Whether a message could be handed over now."""
    url = settings.MUSTER.redis_url
    if not url:
        return Check(True, "in this process")
    with redis.Redis.from_url(
        url, socket_connect_timeout=CHECK_SECONDS / 2, socket_timeout=CHECK_SECONDS / 2
    ) as client:
        client.ping()
    return Check(True, "redis")


def check_scheduler() -> Check:
    """Whether periodic jobs run: one sign of life through beat, broker, worker and database."""
    seconds = heartbeat.age(SCHEDULER)
    if seconds is None:
        return Check(False, "no heartbeat yet")
    if seconds > SCHEDULER_SECONDS:
        return Check(False, "heartbeat is late", seconds)
    return Check(True, "beating", seconds)


def check_storage() -> Check:
    """Whether a file can be written and removed."""
    name = default_storage.save(f"health/{uuid.uuid4().hex}", ContentFile(b"probe"))
    default_storage.delete(name)
    return Check(True, "writable")


CHECKS: dict[str, Callable[[], Check]] = {
    "database": check_database,
    "migrations": check_migrations,
    "broker": check_broker,
    "scheduler": check_scheduler,
    "storage": check_storage,
}


class Probe:
    """Runs the checks side by side, and remembers the last report and any check that still hangs."""

    def __init__(self, checks: dict[str, Callable[[], Check]]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._running: dict[str, Future[Check]] = {}
        self._last: tuple[float, Report] | None = None

    def report(self) -> Report:
        """Run every check, waiting at most CHECK_SECONDS for all of them together."""
        with self._lock:
            if self._last is not None and time.monotonic() - self._last[0] < REUSE_SECONDS:
                return self._last[1]
            for name, check in self._checks.items():
                # A check that hung last time is not started again: its thread is still waiting.
                if name not in self._running:
                    self._running[name] = _start(name, check)
            deadline = time.monotonic() + CHECK_SECONDS
            report = Report({name: self._outcome(name, deadline) for name in self._checks})
            self._last = (time.monotonic(), report)
            return report

    def _outcome(self, name: str, deadline: float) -> Check:
        try:
            check = self._running[name].result(timeout=max(0.0, deadline - time.monotonic()))
        except Overdue:
            if not self._running[name].done():
                return Check(False, f"no answer within {CHECK_SECONDS:g} s")
            check = Check(False, "TimeoutError")
        del self._running[name]
        return check


def _start(name: str, check: Callable[[], Check]) -> Future[Check]:
    outcome: Future[Check] = Future()
    threading.Thread(target=_run, args=(check, outcome), name=f"readyz-{name}", daemon=True).start()
    return outcome


def _run(check: Callable[[], Check], outcome: Future[Check]) -> None:
    try:
        outcome.set_result(check())
    except Exception as error:  # noqa: BLE001 - a storage back end may raise anything; the page must answer
        # The text of such errors may quote hosts, users and paths: only their kind is shown.
        outcome.set_result(Check(False, type(error).__name__))
    finally:
        connections.close_all()


probe = Probe(CHECKS)


def healthz(_request: HttpRequest) -> JsonResponse:
    """200 as long as the process can answer at all."""
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when everything works, else 503 with the names of what fails."""
    report = probe.report()
    return JsonResponse(report.as_json(), status=report.status)
