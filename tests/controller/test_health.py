"""`/healthz` and `/readyz`: quick, honest, and silent about secrets."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from controller import health
from controller.env import Environment
from controller.health import Check, Probe
from controller.tasks import SCHEDULER, heartbeat
from core.models import Heartbeat


def report_of(**checks: object) -> health.Report:
    return Probe(checks).report()  # type: ignore[arg-type]


def fine() -> Check:
    return Check(True, "fine")


def test_healthz_needs_nothing(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


@pytest.mark.django_db(transaction=True)
def test_readyz_answers_200_when_everything_works(client: Client) -> None:
    heartbeat()
    answer = client.get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["status"], body["failing"]) == (200, "ok", [])
    assert set(body["checks"]) == {"database", "migrations", "broker", "scheduler", "storage"}
    assert 0 <= body["checks"]["scheduler"]["age_seconds"] < 5


def test_a_failing_check_is_named_and_answers_503() -> None:
    report = report_of(database=fine, storage=lambda: Check(False, "full"))
    assert report.status == 503
    assert report.as_json()["failing"] == ["storage"]


@pytest.mark.parametrize(
    "error", [OperationalError, redis.ConnectionError, OSError, RuntimeError, TimeoutError]
)
def test_an_error_shows_its_kind_and_not_its_text(error: type[Exception]) -> None:
    def fail() -> Check:
        raise error("password=hush host=db.internal")

    report = report_of(broker=fail)
    assert report.checks["broker"] == Check(False, error.__name__)


def test_a_hanging_check_does_not_hold_the_answer_and_is_not_started_twice() -> None:
    release, started = threading.Event(), []

    def hang() -> Check:
        started.append(1)
        release.wait(30)
        return Check(True, "late")

    probe = Probe({"storage": hang, "database": fine})
    before = time.monotonic()
    report = probe.report()
    assert time.monotonic() - before < health.CHECK_SECONDS + 5
    assert report.failing == ["storage"]
    assert "no answer within" in report.checks["storage"].detail
    time.sleep(health.REUSE_SECONDS)
    assert probe.report().failing == ["storage"]
    assert started == [1]
    release.set()
    time.sleep(health.REUSE_SECONDS)
    assert probe.report().failing == []


def test_a_report_is_reused_for_a_moment() -> None:
    calls = []

    def count() -> Check:
        calls.append(1)
        return fine()

    probe = Probe({"storage": count})
    for _ in range(20):
        probe.report()
    assert len(calls) == 1


@pytest.mark.django_db
def test_a_scheduler_that_never_beat_or_stopped_fails() -> None:
    assert health.check_scheduler() == Check(False, "no heartbeat yet")
    Heartbeat.objects.create(
        name=SCHEDULER, at=timezone.now() - timedelta(seconds=health.SCHEDULER_SECONDS + 5)
    )
    check = health.check_scheduler()
    assert (check.ok, check.detail) == (False, "heartbeat is late")
    assert check.age_seconds == pytest.approx(health.SCHEDULER_SECONDS + 5, abs=2)
    heartbeat()
    assert health.check_scheduler().ok


def test_a_broker_that_does_not_listen_fails(settings: Settings) -> None:
    settings.MUSTER = Environment(redis_url="redis://127.0.0.1:1/0")
    assert report_of(broker=health.check_broker).checks["broker"] == Check(False, "ConnectionError")


def test_a_storage_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "health").write_text("a file where the directory should be")
    monkeypatch.setattr(health, "default_storage", FileSystemStorage(location=tmp_path))
    assert report_of(storage=health.check_storage).failing == ["storage"]


def test_a_probe_file_is_left_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "default_storage", FileSystemStorage(location=tmp_path))
    assert health.check_storage().ok
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_database_out_of_reach_fails(django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.block():
        report = report_of(database=health.check_database)
    assert report.failing == ["database"]
