"""The pure parts of the link: frames, waits, deadlines, orders; and the examples in the agent's docstrings."""

import dataclasses
import doctest
import importlib
import json
import pkgutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import muster_agent
from muster_agent.deadline import Deadline, Moment, deadline_in
from muster_agent.desk import CALLS_MOST, Call, Desk
from muster_agent.link_frames import (
    LONGEST_FRAME,
    Answer,
    BadFrame,
    Incoming,
    failure,
    read_frame,
    request,
    success,
)
from muster_agent.link_rules import Ending, Redial
from muster_agent.orders import BadParameters, parse_order
from muster_agent.protocol import Identity, link_address
from muster_agent.records import OWED_MOST, Memory, memory_from_json
from muster_agent.settings import Timing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def low(least: float, most: float) -> float:
    assert least <= most
    return least


def high(least: float, most: float) -> float:
    assert least <= most
    return most


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(muster_agent.__path__)])
def test_examples_in_docstrings_are_true(name: str) -> None:
    if name == "__main__":
        return
    module = importlib.import_module(f"muster_agent.{name}")
    assert doctest.testmod(module).failed == 0
    assert module.__doc__


def test_the_default_waits_of_the_link_are_the_protocols() -> None:
    redial = Redial(Timing(), uniform=high)
    broken = Ending("broken")
    assert [redial.wait_after(broken) for _ in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    assert redial.wait_after(Ending("lasted", lasted=59.9)) == 60
    assert redial.wait_after(Ending("lasted", lasted=60.0)) == 2
    assert Redial(Timing(), uniform=low).wait_after(broken) == 1
    assert Timing().linked_polls == 10
    # The first try of a new beginning comes sooner, and the bound begins anew.
    assert (redial.begin_anew(), redial.wait_after(broken), redial.wait_after(broken)) == (5, 2, 4)
    assert Redial(Timing(), uniform=low).begin_anew() == 0


@pytest.mark.parametrize(
    ("ending", "least", "most"),
    [
        (Ending("", code=1012), 0, 5),
        (Ending("", code=4000), 60, 90),
        (Ending("", code=4003), 270, 330),
        (Ending("", status=403), 270, 330),
        (Ending("", status=404), 270, 330),
        (Ending("", unsupported=True), 270, 330),
        (Ending("", status=503, retry_after=20), 21, 22),
        (Ending("", status=503, retry_after=1e9), 301, 302),
        (Ending("", status=503), 1, 2),
        *((Ending("", code=code), 1, 2) for code in (1000, 1006, 1009, 4001, 4002, 4008, 4010, 4029)),
    ],
)
def test_every_ending_has_its_wait(ending: Ending, least: float, most: float) -> None:
    assert Redial(Timing(), uniform=low).wait_after(ending) == pytest.approx(least)
    assert Redial(Timing(), uniform=high).wait_after(ending) == pytest.approx(most)


def test_only_silence_may_have_come_from_the_devices_own_network() -> None:
    assert Ending("no route").is_silence
    assert not any(
        e.is_silence for e in (Ending("", code=4003), Ending("", status=503), Ending("", unsupported=True))
    )


@given(
    st.text()
    | JSON.map(json.dumps)
    | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), JSON | st.just("2.0")
    ).map(json.dumps)
)
@settings(max_examples=300, deadline=None)
def test_a_frame_is_a_request_an_answer_or_refused(text: str) -> None:
    try:
        frame = read_frame(text)
    except BadFrame as bad:
        assert bad.code in (-32700, -32600)
        return
    assert isinstance(frame, Incoming | Answer)


@given(st.integers(), st.text(), st.dictionaries(st.text(), JSON))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(number: int, method: str, params: dict[str, Any]) -> None:
    assert read_frame(request(number, method, params)) == Incoming(method, params, number)
    assert read_frame(success(number, params)) == Answer(number, params)


def test_an_answer_larger_than_a_frame_becomes_an_error() -> None:
    edge = LONGEST_FRAME - len(success(1, {"a": ""}))
    assert len(success(1, {"a": "x" * edge})) == LONGEST_FRAME
    assert json.loads(success(1, {"a": "x" * (edge + 1)}))["error"]["code"] == -32011


def test_an_error_tells_its_code_message_and_data() -> None:
    assert json.loads(failure("n", -32010, data={"task": "t"})) == {
        "jsonrpc": "2.0",
        "id": "n",
        "error": {"code": -32010, "message": "busy", "data": {"task": "t"}},
    }


@given(st.lists(st.tuples(st.floats(0.5, 100), st.floats(0, 100)), max_size=20), st.floats(1, 1000))
@settings(max_examples=200, deadline=None)
def test_no_row_of_reboots_keeps_a_deadline_from_passing(
    boots: list[tuple[float, float]], within: float
) -> None:
    now = Moment(boot="0", seconds=1000.0)
    deadline: Deadline = deadline_in(within, now=now)
    assert deadline.remaining(now) == pytest.approx(within)
    left = within
    for number, (started, looked) in enumerate(boots, start=1):
        here = Moment(boot=str(number), seconds=started)
        deadline = deadline.carried(here)
        assert deadline.remaining(here) == pytest.approx(left - started)
        later = Moment(boot=str(number), seconds=started + looked)
        assert deadline.remaining(later) == pytest.approx(left - started - looked)
        left -= started


def test_the_links_address_keeps_the_controllers_path() -> None:
    identity = Identity(uuid="0a", key="k")
    assert link_address(base="http://h:8000/muster/", identity=identity) == "ws://h:8000/muster/ws/device/0a/"
    assert link_address(base="HTTPS://h", identity=identity) == "wss://h/ws/device/0a/"


def test_an_order_needs_an_object() -> None:
    with pytest.raises(BadParameters):
        parse_order([])


def test_owed_reports_are_bounded_and_of_polls_only_the_last_counts() -> None:
    memory = Memory()
    for number in range(3):
        memory = memory.owing(memory.result(str(number), "applied"))
    assert [pending.checksum for pending in memory.owed] == ["2"]
    order, _ = parse_order(
        {"task": "t", "attempt": 2, "checksum": "0" * 32, "url": "/", "confirm_within": 1.5}
    )
    for number in range(20):
        memory = dataclasses.replace(memory, order=dataclasses.replace(order, task=str(number)))
        result = memory.result("c", "failed", reason="r")
        memory = memory.owing(result)
        assert memory.order is None
        assert memory.owing(result) == memory
    assert [pending.task for pending in memory.owed] == [str(number) for number in range(20)][-OWED_MOST:]
    other = dataclasses.replace(memory, order=order)
    assert other.owing(result).order == order


@pytest.mark.parametrize(
    "changes", [{"owed": {}}, {"owed": [{}]}, {"order": {"task": "t"}}, {"refused": ...}]
)
def test_a_memory_of_another_shape_is_damaged(changes: dict[str, Any]) -> None:
    data: dict[str, Any] = {
        **dict.fromkeys(("applied", "boot_id", "checksum_etag", "checksum_seen", "archive_etag"), ""),
        "interrupted_checksum": "",
        "interruptions": 0,
        "owed": [],
        "order": None,
        "refused": "",
        "refused_reason": "",
    }
    assert memory_from_json(data) == Memory()
    damaged = {name: value for name, value in (data | changes).items() if value is not ...}
    with pytest.raises((KeyError, TypeError, ValueError)):
        memory_from_json(damaged)


def call(said: list[Any]) -> Call:
    def fail(code: int, message: str, data: object) -> None:
        said.append((code, data))

    return Call(method="config.apply", params={}, succeed=said.append, fail=fail)


def test_the_desk_refuses_while_it_is_occupied_and_when_it_is_full() -> None:
    rings: list[None] = []
    desk = Desk(ring=lambda: rings.append(None))
    said: list[Any] = []
    desk.offer(call(said))
    assert len(rings) == 1
    with desk.occupied(("t", 1)):
        assert said == [(-32010, {"task": "t"})]
        assert desk.hello()["busy"] == {"task": "t", "attempt": 1}
        desk.offer(call(said))
        assert len(said) == 2
    assert desk.hello()["busy"] is None
    for _ in range(CALLS_MOST + 1):
        desk.offer(call(said))
    assert said[2:] == [(-32010, {"task": None})]
    desk.close()
    desk.offer(call(said))
    assert len(said) == 4
    assert len(rings) == 1 + CALLS_MOST


def test_no_call_is_lost_or_answered_twice_between_the_threads() -> None:
    """Every call is either taken by the main thread or refused, whatever the order of events."""
    desk = Desk(ring=lambda: None)
    said: list[Any] = []
    taken: list[Call] = []
    calls = [call(said) for _ in range(2000)]

    def offer() -> None:
        for each in calls:
            desk.offer(each)

    thread = threading.Thread(target=offer)
    thread.start()
    take: Callable[[], Call | None] = desk.take_call
    while thread.is_alive():
        with desk.occupied():
            time.sleep(0)
        if (found := take()) is not None:
            taken.append(found)
    thread.join()
    while (found := take()) is not None:
        taken.append(found)
    assert len(taken) + len(said) == len(calls)
    assert len({id(each) for each in taken}) == len(taken)
