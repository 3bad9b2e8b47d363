"""What devices may ask and tell over the link, and who answers. Higher floors register theirs when they load.

A handler gets the link and the parameters and returns the result; it raises RpcError for anything that is wrong with
the parameters. It runs on the event loop: database work goes through `registry.threads`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from devices.events import Opening
from devices.link import params as read
from devices.link.presence import Telemetry
from devices.link.registry import HEARTBEAT, registry
from devices.link.rpc import UNKNOWN_METHOD, UNKNOWN_PROTOCOL, RpcError

if TYPE_CHECKING:
    from devices.link.consumer import LinkConsumer

PROTOCOL = 1
MEASURED = ("uptime", "load", "memory")
Handler = Callable[["LinkConsumer", Mapping[str, Any]], Awaitable[Any]]
_handlers: dict[str, Handler] = {}


def register(name: str, handler: Handler) -> None:
    """Let `handler` answer the method `name`."""
    _handlers[name] = handler


async def call(link: "LinkConsumer", name: str, params: Mapping[str, Any]) -> Any:
    """Answer a method. Raises RpcError."""
    handler = _handlers.get(name)
    if handler is None:
        raise RpcError(UNKNOWN_METHOD, "unknown method")
    return await handler(link, params)


def heartbeat() -> int:
    """Return how often a device says that it is there, in seconds."""
    return HEARTBEAT


def opening_of(
    params: Mapping[str, Any], *, device_id: UUID, epoch: UUID, key_digest: str, address: str | None
) -> Opening:
    """Return what a `hello` says. Raises RpcError."""
    protocol = params.get("protocol")
    if protocol != PROTOCOL or isinstance(protocol, bool):
        raise RpcError(UNKNOWN_PROTOCOL, "unknown protocol", {"supported": [PROTOCOL]})
    busy = params.get("busy")
    if busy is not None and not isinstance(busy, dict):
        raise read.invalid("busy", "an object or null")
    return Opening(
        device_id=device_id,
        epoch=epoch,
        key_digest=key_digest,
        address=address,
        agent=read.text(params, "agent", most=64, default=""),
        boot_id=read.text(params, "boot_id", most=64, default=""),
        capabilities=tuple(read.texts(params, "capabilities", most=64, length=64)),
        applied=read.hexadecimal(params, "applied", digits=32),
        busy=read.identifier(busy, "task") if busy else None,
        actual=read.hexadecimal(params, "actual", digits=64),
    )


async def _ping(_link: "LinkConsumer", _params: Mapping[str, Any]) -> Any:
    return {}


async def _telemetry(link: "LinkConsumer", params: Mapping[str, Any]) -> Any:
    values = {name: value for name in MEASURED if (value := read.amount(params, name)) is not None}
    actual = read.hexadecimal(params, "actual", digits=64)
    await registry.telemetry.do(Telemetry(link.device_id, link.epoch, values, actual))
    return {}


register("ping", _ping)
register("telemetry", _telemetry)
