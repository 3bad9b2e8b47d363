"""Calendar windows and the storage that counts in the database, as `limits` wants a storage to behave."""

from datetime import UTC, datetime, timedelta

import pytest
from limits import RateLimitItemPerHour, RateLimitItemPerMonth

from core import quotas
from core.quotas import CalendarWindows, DatabaseStorage

pytestmark = pytest.mark.django_db
AT = datetime(2026, 2, 28, 23, 59, 59, 500_000, tzinfo=UTC)


def test_a_window_ends_with_the_hour_or_the_month() -> None:
    windows, hourly, monthly = (
        CalendarWindows(DatabaseStorage()),
        RateLimitItemPerHour(2),
        RateLimitItemPerMonth(2),
    )
    for item in (hourly, monthly):
        assert [windows.hit_at(AT, item, "who", str(item)) for _ in range(3)] == [True, True, False]
        assert windows.hit_at(AT + timedelta(seconds=1), item, "who", str(item))
    assert quotas.window_of(hourly, AT).seconds_left(AT) == 1
    assert quotas.window_of(monthly, AT - timedelta(days=1)).seconds_left(AT - timedelta(days=1)) == 86_401


def test_a_limit_that_changes_within_a_window_counts_what_was_admitted_only() -> None:
    windows = CalendarWindows(DatabaseStorage())
    assert [windows.hit_at(AT, RateLimitItemPerHour(1), "who") for _ in range(5)] == [True] + [False] * 4
    assert [windows.hit_at(AT, RateLimitItemPerHour(3), "who") for _ in range(3)] == [True, True, False]
    assert not windows.hit_at(AT, RateLimitItemPerHour(2), "who")
    assert windows.used(RateLimitItemPerHour(2), "who", at=AT) == 3


def test_more_than_one_is_taken_wholly_by_hit_and_as_far_as_it_goes_by_take() -> None:
    windows, item = CalendarWindows(DatabaseStorage()), RateLimitItemPerHour(10)
    assert windows.hit_at(AT, item, "who", cost=8)
    assert not windows.hit_at(AT, item, "who", cost=3)
    assert windows.take_at(AT, item, "who", wanted=5) == 2
    assert windows.take_at(AT, item, "who", wanted=5) == 0
    assert windows.take_at(AT, item, "other", wanted=50) == 10
    assert windows.take_at(AT, RateLimitItemPerHour(0), "third", wanted=1) == 0


def test_the_storage_keeps_the_contract_of_the_library() -> None:
    storage = DatabaseStorage()
    assert storage.check() and storage.get("a") == 0
    assert [storage.incr("a", 60), storage.incr("a", 60, amount=4)] == [1, 5]
    assert storage.get("a") == 5
    assert abs(storage.get_expiry("a") - datetime.now(UTC).timestamp() - 60) < 5
    storage.clear("a")
    assert storage.get("a") == 0
    storage.incr("b", 60)
    assert storage.reset() == 1


def test_what_is_left_is_read_without_counting() -> None:
    windows, item = CalendarWindows(DatabaseStorage()), RateLimitItemPerHour(2)
    assert windows.test(item, "who") and windows.get_window_stats(item, "who").remaining == 2
    windows.hit(item, "who")
    windows.hit(item, "who")
    assert not windows.test(item, "who") and windows.get_window_stats(item, "who").remaining == 0
    windows.clear(item, "who")
    assert windows.test(item, "who")
