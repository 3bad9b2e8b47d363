"""A Redis that is killed, hangs or comes back under counters: never uncounted, never slow for long, bounded."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from limits import RateLimitItemPerHour
from limits.storage import RedisStorage

from core import outage, rates
from core.models import Counter
from core.outage import Outage
from core.quotas import Ask, CalendarWindows, RedisCounters
from tests.crash.servers import Service, own_redis

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no Redis to kill"),
]
AT = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
LIMIT = RateLimitItemPerHour(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Service]:
    with own_redis(tmp_path, keeps=True) as service:
        yield service


def counting(service: Service, away: Outage | None = None) -> CalendarWindows:
    """Return the strategy as a new process has it."""
    url = f"redis://127.0.0.1:{service.port}/0"
    return CalendarWindows(
        RedisCounters(url, key_prefix="t", **outage.connection_options()), away=away or Outage(retry=0.2)
    )


def admitted(windows: CalendarWindows, calls: int) -> int:
    return sum(windows.hit_at(AT, LIMIT, "who") for _ in range(calls))


def test_without_redis_the_database_counts_and_a_window_admits_its_limit_twice_at_most(
    server: Service,
) -> None:
    one, other = counting(server), counting(server)
    assert admitted(one, 4) == 4 and not Counter.objects.exists()
    server.stop(signal.SIGKILL)
    assert admitted(one, 6) + admitted(other, 6) == 10
    assert one.used(LIMIT, "who", at=AT) == 10
    assert one.is_in_database and admitted(one, 5) == admitted(other, 5) == 0
    # Whatever comes and goes in a window: what each of the two has counted stays counted.
    for left in (6, 0):
        server.start()
        time.sleep(0.25)
        assert admitted(one, 10) + admitted(other, 10) == left
        assert not one.is_in_database and one.used(LIMIT, "who", at=AT) == 10
        server.stop(signal.SIGKILL)
        assert admitted(one, 5) == admitted(other, 5) == 0


def test_redis_takes_of_many_counters_at_once_as_much_as_is_left(server: Service) -> None:
    windows = counting(server)
    asks = [Ask(RateLimitItemPerHour(amount), (who,), 4) for who, amount in (("a", 6), ("b", 0), ("c", 10))]
    assert [windows.take_all_at(AT, asks) for _ in range(3)] == [[4, 0, 4], [2, 0, 4], [0, 0, 2]]
    assert windows.take_all_at(AT, []) == []
    client = RedisCounters(f"redis://127.0.0.1:{server.port}/0").get_connection()
    names = sorted(client.keys("*"))  # type: ignore[attr-defined]
    # The one that nobody may use is not there; the others live until five minutes after their hour.
    assert names == [b"t:quota/a/20260228T23", b"t:quota/c/20260228T23"]
    assert all(295 <= client.ttl(name) <= 301 for name in names)  # type: ignore[attr-defined]
    found: list[int] = []
    item = RateLimitItemPerHour(50)

    def take() -> None:
        for wanted in (1, 2, 3, 4) * 5:
            found.append(windows.take_at(AT, item, "many", wanted=wanted))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 50 == windows.used(item, "many", at=AT)


def test_a_redis_that_hangs_is_waited_for_once_by_one(server: Service) -> None:
    windows = counting(server, Outage(retry=60))
    assert windows.hit_at(AT, LIMIT, "who")
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert windows.hit_at(AT, LIMIT, "who")
        first = time.monotonic() - began
        assert admitted(windows, 20) == 9
        rest = time.monotonic() - began - first
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert outage.SECONDS * 0.9 < first < 3 * outage.SECONDS
    assert rest < outage.SECONDS


def test_more_than_one_is_given_back_where_it_was_taken(server: Service) -> None:
    windows = counting(server)
    server.stop(signal.SIGKILL)
    assert windows.hit_at(AT, LIMIT, "who", cost=8) and not windows.hit_at(AT, LIMIT, "who", cost=3)
    assert windows.take_at(AT, LIMIT, "who", wanted=5) == 2


def test_one_caller_asks_again_when_it_is_time() -> None:
    away = Outage(retry=0.1)
    assert away.may_ask() and not away.is_on
    away.failed(OSError())
    assert away.is_on and not away.may_ask()
    time.sleep(0.12)
    assert not away.is_on
    assert [away.may_ask() for _ in range(3)] == [True, False, False]
    away.answered()
    assert not away.is_on and away.may_ask() and away.may_ask()


def test_sliding_windows_go_on_in_this_process(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"redis://127.0.0.1:{server.port}/0"
    limiter = rates.MovingWindowRateLimiter(RedisStorage(url, **outage.connection_options()))
    monkeypatch.setattr(rates, "_limiter", lambda: limiter)
    monkeypatch.setattr(outage, "redis", Outage(retry=60))
    limit = rates.per_seconds(3, 60)
    assert [rates.wait_for(limit, "x") > 0 for _ in range(4)] == [False, False, False, True]
    server.stop(signal.SIGKILL)
    assert [rates.wait_for(limit, "x") > 0 for _ in range(4)] == [False, False, False, True]
