"""The architecture page names what exists: every event and who hears it."""

import re
from pathlib import Path

from core.events import subscriptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"
ROW = re.compile(r"^\| `(\w+)` \| `([\w.]+)` \| `(\w+)`", re.MULTILINE)


def test_the_table_of_events_is_complete_and_true() -> None:
    documented = {(name, heard_by) for name, _, heard_by in ROW.findall(PAGE.read_text())}
    actual = {
        (event.__name__, handler.__module__.split(".")[0])
        for event, handlers in subscriptions().items()
        for handler in handlers
    }
    assert documented == actual
    publishers = {name: publisher.split(".")[0] for name, publisher, _ in ROW.findall(PAGE.read_text())}
    assert publishers == {event.__name__: event.__module__.split(".")[0] for event in subscriptions()}
