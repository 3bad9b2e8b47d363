"""Asking a linked device something, from any thread of any process, and waiting for its answer."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync

from devices.link.registry import CHANNEL_ERRORS, GROUP, registry, shared_layer
from devices.link.rpc import RpcError
from devices.models import Link


class NotReachable(Exception):
    """The device has no link, or did not answer in time."""


def call(device_id: UUID, method: str, params: Mapping[str, Any], *, seconds: float = 15.0) -> Any:
    """Ask a device and return its result. Blocks for at most `seconds`; never on an event loop.

    Raises NotReachable, RpcError (the device's own).
    """
    if not Link.objects.filter(pk=device_id).exists():
        raise NotReachable("The device is not linked.")
    loop, link = registry.loop, registry.links.get(device_id)
    if loop is not None and link is not None:
        asked = asyncio.run_coroutine_threadsafe(link.outcome(method, params, seconds=seconds), loop)
        told: Mapping[str, Any] = asked.result(seconds + 5)
    else:
        told = _elsewhere(device_id, method, params, seconds)
    if "error" in told:
        raise RpcError(told["error"]["code"], told["error"]["message"], told["error"]["data"])
    if "result" not in told:
        raise NotReachable("The device did not answer.")
    return told["result"]


def _elsewhere(device_id: UUID, method: str, params: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
    """Ask through the process that holds the link."""
    layer = shared_layer()
    if layer is None:
        raise NotReachable("Another process holds the link, and no channel layer reaches it.")

    async def ask() -> Mapping[str, Any]:
        reply = await layer.new_channel("muster-calls")
        message = {"device": device_id.hex, "method": method, "params": params, "seconds": seconds}
        await layer.group_send(GROUP, {"type": "links.call", "from": "", "reply": reply, **message})
        try:
            async with asyncio.timeout(seconds + 2):
                answer: Mapping[str, Any] = await layer.receive(reply)
                return answer
        except TimeoutError:
            return {}

    try:
        return async_to_sync(ask)()
    except CHANNEL_ERRORS as error:
        raise NotReachable("The channel layer cannot be reached.") from error
