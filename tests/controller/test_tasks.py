"""Celery: nothing lost, nothing kept, and threads that end when told to."""

import socket
import threading
import time

import pytest
from celery import shared_task

from controller.celery import app, beat_schedule, configuration
from controller.server import Background, listen
from core import heartbeat

started, release, finished = threading.Event(), threading.Event(), threading.Event()
counted: list[int] = []
BURST = 20


@shared_task(name="tests.controller.slow")
def slow() -> None:
    started.set()
    release.wait(20)
    finished.set()


taken: list[int] = []


@shared_task(name="tests.controller.quick")
def quick(number: int) -> None:
    # As long as a short look at the database.
    time.sleep(0.02)
    taken.append(number)


@shared_task(name="tests.controller.count")
def count() -> None:
    counted.append(1)


def test_every_periodic_job_is_a_task_that_exists() -> None:
    app.loader.import_default_modules()
    for name, entry in beat_schedule().items():
        assert entry["task"] in app.tasks, name
        assert entry["options"]["expires"] <= entry["schedule"]


def test_messages_are_json_acknowledged_late_and_never_run_in_the_caller() -> None:
    for url in ("", "redis://127.0.0.1/0"):
        wanted = configuration(redis_url=url)
        assert wanted["accept_content"] == ["json"]
        assert wanted["task_acks_late"] is True
        assert wanted["task_reject_on_worker_lost"] is True
        assert wanted["task_ignore_result"] is True
        assert wanted["task_always_eager"] is False
    assert app.conf.task_always_eager is False


@pytest.mark.django_db(transaction=True)
def test_worker_and_beat_run_as_threads_and_a_task_in_flight_finishes() -> None:
    # What earlier tests rang for is still in a broker outside this process.
    app.control.purge()
    background = Background(threads=2)
    background.start()
    try:
        app.send_task("tests.controller.slow")
        assert started.wait(20)
        deadline = time.monotonic() + 20
        while heartbeat.age("scheduler") is None:
            assert time.monotonic() < deadline, "beat did not reach the worker"
            time.sleep(0.05)
    finally:
        threading.Timer(0.5, release.set).start()
        stopped = background.stop(seconds=10)
    assert stopped
    assert finished.is_set()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"worker"}


@pytest.mark.django_db(transaction=True)
def test_messages_that_wait_are_taken_as_soon_as_a_thread_is_free() -> None:
    app.control.purge()
    taken.clear()
    for number in range(200):
        app.send_task("tests.controller.quick", args=(number,))
    background = Background(threads=2)
    background.start()
    try:
        # A loop that sleeps while its threads are busy takes two messages in two seconds.
        deadline = time.monotonic() + 60
        while len(taken) < 200:
            assert time.monotonic() < deadline, f"only {len(taken)} messages were taken"
            time.sleep(0.05)
    finally:
        assert background.stop(seconds=10)


@pytest.mark.django_db(transaction=True)
def test_a_burst_of_messages_is_worked_off_without_pauses() -> None:
    """Redis is asked for more while the worker's loop has yet to acknowledge; it looks every two seconds only."""
    app.control.purge()
    counted.clear()
    background = Background(threads=1)
    background.start()
    try:
        for _ in range(BURST):
            app.send_task("tests.controller.count")
        deadline = time.monotonic() + BURST
        while len(counted) < BURST:
            assert time.monotonic() < deadline, f"{len(counted)} of {BURST} messages were worked off"
            time.sleep(0.05)
    finally:
        assert background.stop(seconds=10)


def test_a_peer_that_has_gone_without_a_word_is_noticed_by_the_kernel() -> None:
    with (
        listen(host="127.0.0.1", port=0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, interval, count = (accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    assert idle + interval * count <= 30


def test_a_port_in_use_is_an_error_and_leaves_no_socket() -> None:
    first = listen(host="127.0.0.1", port=0)
    with first, pytest.raises(OSError, match="in use"):
        listen(host="127.0.0.1", port=first.getsockname()[1])
