"""The floors of the device link: websockets that answer `hello` and hand one message to a whole group, nothing else.

`/channels/<group>/` is a minimal consumer of Channels with its in-memory layer, `/raw/<group>/` plain ASGI with a set
of this process. A link that asks `go` is answered when everyone in its group, itself included, has answered.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
django.setup()

# These need the settings.
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import InMemoryChannelLayer, channel_layers  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Tell = Callable[[str], Awaitable[None]]
HELLO = json.dumps({"jsonrpc": "2.0", "id": "hello", "result": {"heartbeat": 30}})
GONE = json.dumps({"jsonrpc": "2.0", "id": "go", "result": {}})
channel_layers.set("default", InMemoryChannelLayer())


class Counting:
    """State: how many answers each group still owes, and who waits for them."""

    def __init__(self) -> None:
        self._owed: dict[str, int] = {}
        self._all_in: dict[str, asyncio.Event] = {}

    async def of(self, group: str, count: int, send_all: Callable[[], Awaitable[None]]) -> None:
        self._owed[group], self._all_in[group] = count, asyncio.Event()
        await send_all()
        await self._all_in[group].wait()

    def answered(self, group: str) -> None:
        self._owed[group] -= 1
        if not self._owed[group]:
            self._all_in[group].set()


counting = Counting()
members: dict[str, set[Send]] = defaultdict(set)
sizes: dict[str, int] = defaultdict(int)
asking: set[asyncio.Task[None]] = set()


def message_of(size: int) -> str:
    """The message a group gets: as long as a `config.apply` with its archive."""
    return json.dumps({"jsonrpc": "2.0", "id": "fan", "method": "fan", "params": {"archive": "x" * size}})


async def take(text: str, *, group: str, tell: Tell, send_all: Callable[[str], Awaitable[None]]) -> None:
    """Act on what a link says; `go` is waited for beside the link, whose own answer is one of those awaited."""
    frame = json.loads(text)
    if frame["id"] == "hello":
        await tell(HELLO)
    elif frame["id"] == "fan":
        counting.answered(group)
    else:
        text = message_of(frame["params"]["size"])

        async def go() -> None:
            await counting.of(group, sizes[group], lambda: send_all(text))
            await tell(GONE)

        task = asyncio.create_task(go())
        asking.add(task)
        task.add_done_callback(asking.discard)


class BareConsumer(AsyncWebsocketConsumer):
    """What a straightforward implementation would begin with."""

    async def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["group"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        sizes[self.group] += 1
        await self.accept()

    async def disconnect(self, code: int) -> None:
        sizes[self.group] -= 1
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await take(text_data or "", group=self.group, tell=self.tell, send_all=self.tell_all)

    async def tell(self, text: str) -> None:
        await self.send(text_data=text)

    async def tell_all(self, text: str) -> None:
        await self.channel_layer.group_send(self.group, {"type": "fan.out", "text": text})

    async def fan_out(self, event: Message) -> None:
        await self.send(text_data=event["text"])


channels_application = URLRouter([re_path(r"^channels/(?P<group>\w+)/\Z", BareConsumer.as_asgi())])


async def raw_application(scope: Message, receive: Receive, send: Send) -> None:
    """The same without Channels."""
    # The consumers count theirs under the bare name.
    group = f"raw {scope['path'].split('/')[2]}"

    async def tell(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    async def tell_all(text: str) -> None:
        for each in list(members[group]):
            await each({"type": "websocket.send", "text": text})

    await receive()
    await send({"type": "websocket.accept"})
    members[group].add(send)
    sizes[group] += 1
    while (event := await receive())["type"] == "websocket.receive":
        await take(event["text"], group=group, tell=tell, send_all=tell_all)
    members[group].discard(send)
    sizes[group] -= 1


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """One floor or the other, by the path."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"].startswith("/raw/"):
        await raw_application(scope, receive, send)
    else:
        await channels_application(scope, receive, send)
