"""Sliding windows in this process: exact, bounded in memory, and of no mind to punish a clock that was set back."""

import threading

import pytest
from limits.strategies import MovingWindowRateLimiter

from core import rates
from core.rates import NearStorage, per_seconds

LIMIT = per_seconds(3, 10)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A time that a test sets."""
    at = [1000.0]
    monkeypatch.setattr(rates.time, "time", lambda: at[0])
    return at


def waits(count: int, *who: str) -> list[int]:
    return [rates.wait_here(LIMIT, *who) for _ in range(count)]


def test_refusals_do_not_count_and_a_call_is_free_when_the_oldest_is_over(clock: list[float]) -> None:
    assert waits(2, "a") == [0, 0]
    clock[0] += 4
    assert waits(3, "a") == [0, 6, 6]
    assert waits(1, "b") == [0]
    clock[0] += 5.5
    assert waits(1, "a") == [1]
    clock[0] += 0.5
    assert waits(3, "a") == [0, 0, 4]


def test_a_clock_that_is_set_back_blocks_nobody(clock: list[float]) -> None:
    assert waits(4, "a")[-1] > 0
    clock[0] -= 3600
    assert waits(3, "a") == [0, 0, 0]


def test_the_quietest_names_are_forgotten_when_there_are_too_many() -> None:
    storage = NearStorage(most=100)
    limiter = MovingWindowRateLimiter(storage)
    for number in range(1000):
        limiter.hit(LIMIT, "loud")
        assert limiter.hit(per_seconds(1000, 10), str(number))
        limiter.hit(per_seconds(100_000, 10), "busy")
    assert len(storage._calls) == 100
    assert limiter.get_window_stats(per_seconds(100_000, 10), "busy").remaining == 99_000
    assert storage.reset() == 100


def test_threads_share_a_limit_exactly() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: found.extend(rates.wait_here(per_seconds(50, 60), "t") for _ in range(20))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(0) == 50 and len(found) == 160


def test_calls_are_counted_without_a_limit_too(clock: list[float]) -> None:
    storage = NearStorage()
    assert (storage.get("a"), storage.get_expiry("a")) == (0, 1000.0)
    assert storage.incr("a", 10) == 1
    clock[0] += 4
    assert storage.incr("a", 10, amount=2) == 3
    assert (storage.get("a"), storage.get_expiry("a")) == (3, 1014.0)
    clock[0] += 6
    assert storage.get("a") == 2
    clock[0] += 4
    assert (storage.get("a"), storage.get_expiry("a")) == (0, 1014.0)
