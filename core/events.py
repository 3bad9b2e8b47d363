"""Domain events: how a lower floor tells a higher one without knowing it.

`publish` runs the subscribers synchronously, inside the caller's transaction, in the order they subscribed.
A handler only marks rows stale or writes a task; it never does long work. Event classes are frozen dataclasses
and live in the `events.py` of the app that publishes them; `docs/architecture.md` has the table of all.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

E = TypeVar("E")
_subscribers: dict[type, list[Callable[..., None]]] = defaultdict(list)


def subscribe(event_type: type[E], handler: Callable[[E], None]) -> None:
    """Call `handler` for every published `event_type`; subscribing twice is the same as once."""
    if handler not in _subscribers[event_type]:
        _subscribers[event_type].append(handler)


def publish(event: object) -> None:
    """Hand `event` to its subscribers; what they raise reaches the publisher and undoes the transaction."""
    for handler in _subscribers[type(event)]:
        handler(event)


def subscriptions() -> dict[type, tuple[Callable[..., None], ...]]:
    """Return who listens to what, for the documentation test."""
    return {event: tuple(handlers) for event, handlers in _subscribers.items() if handlers}
