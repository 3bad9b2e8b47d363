"""Waking the processes that hold links, from any thread of any process.

A ring that is lost delays work until the next look of the process that has it; it loses nothing.
"""

import logging
from collections.abc import Mapping
from typing import Any

from asgiref.sync import async_to_sync

from devices.link.registry import CHANNEL_ERRORS, GROUP, registry, shared_layer

logger = logging.getLogger(__name__)


def ring() -> None:
    """Let every process that holds links look for work. Not to be called on an event loop."""
    tell({"type": "links.look"})


def ring_here() -> None:
    """Let this process look for work, if it holds links."""
    told_here({"type": "links.look"})


def tell(message: Mapping[str, Any]) -> None:
    """Send a message to every process that holds links, this one included."""
    told_here(message)
    layer = shared_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(GROUP, {**message, "from": registry.server_id.hex})
    except CHANNEL_ERRORS as error:
        logger.warning("the channel layer cannot be reached: %s", type(error).__name__)


def told_here(message: Mapping[str, Any]) -> None:
    """Send a message to this process's own links, if it holds any."""
    loop = registry.loop
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(registry.hear, message)
