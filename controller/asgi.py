"""One ASGI callable for everything: agents, people, websockets, health and start-up.

Why it exists: fleets poll and boot. A request for `/controller/` or of the boot dialect reaches its own thin
application before any of Django's machinery. Invariant: every server that runs this callable (uvicorn, granian,
`manage.py up`) behaves the same.
"""

import asyncio
import ipaddress
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
django_application = get_asgi_application()

# These need the apps that the line above has loaded.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from boot import asgi as boot  # noqa: E402
from boot.images import stretches  # noqa: E402
from config_merge.agent import asgi as agent  # noqa: E402
from config_merge.consumers import DashboardConsumer  # noqa: E402
from config_merge.delivery.courier import courier  # noqa: E402
from config_merge.presence_socket import PresenceConsumer  # noqa: E402
from controller import health, metrics, server  # noqa: E402
from controller.charsets import without_odd_charset  # noqa: E402
from controller.sockets import closing  # noqa: E402
from core import metrics as core_metrics  # noqa: E402
from core.acting import request_id  # noqa: E402
from core.metrics import request as count  # noqa: E402
from core.net import client_address  # noqa: E402
from core.request_ids import HEADER, accept_request_id, counted_request_id  # noqa: E402
from devices.link.consumer import LinkConsumer  # noqa: E402
from devices.link.registry import registry as links  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Any], Awaitable[None]]

AGENT_PREFIX = "/controller/"
LINK_PREFIX = "/ws/device/"
UNKNOWN_PATH = 4404


async def refuse(_scope: Scope, receive: Receive, send: Send) -> None:
    """Close a websocket on a path nobody serves; before `accept` servers turn this into HTTP 403."""
    await receive()
    await send({"type": "websocket.close", "code": UNKNOWN_PATH})


# A route of Channels leads to an ASGI application; Django's types know only views.
websocket_routes = [
    re_path(r"^ws/dashboard/$", DashboardConsumer.as_asgi()),
    re_path(r"^ws/presence/$", PresenceConsumer.as_asgi()),
    re_path(r"", refuse),  # type: ignore[arg-type]
]
_DEVICE_ID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_LINK_PATH = re.compile(rf"/ws/device/({_DEVICE_ID})/?\Z")
websocket_application = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_routes)))


async def link_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a device's link. It proves itself with a key: no session, no cookie, no page of a browser is involved.

    Channels' router would keep a copy of the scope for each of thousands of links.
    """
    found = _LINK_PATH.match(scope["path"])
    if found is None:
        await refuse(scope, receive, send)
    else:
        await LinkConsumer(UUID(found[1]))(scope, receive, send)


def is_trusted(address: str) -> bool:
    """Whether `address` is one of our proxies."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in settings.MUSTER.trusted_proxies)


def behind_proxy(scope: Scope) -> Scope:
    """The scope with the client's own address and scheme when a trusted proxy states them."""
    trusted = settings.MUSTER.trusted_proxies
    client = scope.get("client")
    if not trusted or not client or not is_trusted(client[0]):
        return scope
    # Repeated headers make one list, as RFC 9110 section 5.3 has it.
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in {b"x-forwarded-for", b"x-forwarded-proto"}:
            headers[name] = (
                f"{headers[name]},{value.decode('latin1')}" if name in headers else value.decode("latin1")
            )
    changed = dict(scope)
    address = client_address(client[0], headers.get(b"x-forwarded-for", ""), trusted)
    if address and address != client[0]:
        changed["client"] = (address, 0)
    scheme = headers.get(b"x-forwarded-proto", "").split(",")[-1].strip().lower()
    if scheme in {"http", "https"}:
        secure = scheme == "https"
        changed["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else scheme
    return changed


def readable(scope: Scope) -> Scope:
    """The scope with a Content-Type that Django can decode."""
    headers = [
        (
            name,
            without_odd_charset(value.decode("latin1")).encode("latin1")
            if name == b"content-type"
            else value,
        )
        for name, value in scope["headers"]
    ]
    return scope if headers == scope["headers"] else {**scope, "headers": headers}


async def _json(send: Send, *, status: int, body: dict[str, Any], head: bool) -> None:
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status >= 400:
        headers.append((HEADER.lower().encode(), counted_request_id().encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else content})


async def _health(scope: Scope, send: Send) -> None:
    """Answered before Django, so that a probe needs neither a known Host header nor a free request thread."""
    head, started = scope["method"] == "HEAD", time.perf_counter()
    if scope["path"] == "/healthz":
        count("health", scope["method"], 200, time.perf_counter() - started)
        await _json(send, status=200, body={"status": "ok"}, head=head)
        return
    report = await asyncio.to_thread(health.probe.report)
    count("health", scope["method"], report.status, time.perf_counter() - started)
    await _json(send, status=report.status, body=report.as_json(), head=head)


async def _metrics(scope: Scope, send: Send) -> None:
    """Answered before Django, so that a scrape needs no known Host header."""
    started = time.perf_counter()
    headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
    peer = (scope.get("client") or ("",))[0]
    page = await asyncio.to_thread(metrics.page_in_thread, peer, headers)
    shown = {
        "content-type": metrics.CONTENT_TYPE,
        "content-length": str(len(page.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        **page.headers,
    }
    encoded = [(name.lower().encode(), value.encode()) for name, value in shown.items()]
    count("metrics", scope["method"], page.status, time.perf_counter() - started)
    await send({"type": "http.response.start", "status": page.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


async def _websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Give a websocket its id for as long as it lives; name it in the answer to the handshake, and count that.

    What is said afterwards is nobody's request.
    """
    name = HEADER.lower().encode()
    sent = next((value.decode("latin1") for header, value in scope["headers"] if header == name), "")
    identifier = accept_request_id(sent)
    request_id.set(identifier)
    waiting = True

    async def answered(message: Any) -> None:
        nonlocal waiting
        accepted = message["type"] == "websocket.accept"
        if accepted:
            message = {**message, "headers": [*message.get("headers", ()), (name, identifier.encode())]}
        if waiting and (accepted or message["type"] == "websocket.close"):
            waiting = False
            core_metrics.add(core_metrics.REQUESTS, "websocket", "CONNECT", 101 if accepted else 403)
        await send(message)

    received, sent = closing(receive, answered)
    await websocket_application(behind_proxy(scope), received, sent)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start and stop what lives as long as the server does; Django's application does not."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            server.set_loop(asyncio.get_running_loop())
            links.start()
            await agent.startup()
            await send({"type": "lifespan.startup.complete"})
        else:
            await courier.stop()
            await links.stop()
            await agent.shutdown()
            await boot.shutdown()
            server.set_loop(None)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each scope to the one who answers it; agents first, they are the load."""
    kind = scope["type"]
    if kind == "http":
        path = scope["path"]
        if path.startswith(AGENT_PREFIX):
            await agent.application(scope, receive, send)
        elif boot.serves(path):
            await boot.application(behind_proxy(scope), receive, send)
        elif path in {"/healthz", "/readyz"} and scope["method"] in {"GET", "HEAD"}:
            await _health(scope, send)
        elif path == metrics.PATH and scope["method"] in {"GET", "HEAD"}:
            await _metrics(scope, send)
        elif stretches.serves(scope):
            scope = readable(behind_proxy(scope))
            await stretches.in_stretches(django_application, scope, receive, send)
        else:
            await django_application(readable(behind_proxy(scope)), receive, send)
    elif kind == "websocket" and scope["path"].startswith(LINK_PREFIX):
        await link_application(behind_proxy(scope), receive, send)
    elif kind == "websocket":
        await _websocket(scope, receive, send)
    elif kind == "lifespan":
        await _lifespan(receive, send)
    else:
        raise ValueError(f"unknown scope type {kind!r}")
