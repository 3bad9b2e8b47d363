"""The agent protocol's own ASGI application, in front of Django's handler.

A warm poll costs one indexed read on the event loop and nothing else: no middleware, no thread, no ORM. Whatever
needs a write or a computation runs `endpoints.answer` on a small pool of threads; reports that arrive together
are written together, in one transaction, and answered after its commit.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import lru_cache
from time import perf_counter
from typing import Any, TypeVar

from django.conf import settings

from config_merge.agent import endpoints, presence
from config_merge.agent.forms import parse_form, parse_query, safe
from config_merge.agent.messages import (
    BODY_LIMIT,
    HEADER,
    KEY_HEADER,
    AgentRequest,
    AgentResponse,
    endpoint_of,
    operation_of,
    refusal,
    text,
    try_again,
)
from config_merge.services import reports
from core import metrics
from core.acting import request_id
from core.database_threads import DatabaseThreads, Together
from core.net import Network, client_address, is_trusted
from core.request_ids import HEADER as ID_HEADER
from core.request_ids import counted_request_id, needed_request_id
from core.rows import DATABASE_ERRORS, RowReader, row_reader

T = TypeVar("T")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
PREFIX = "/controller/"
REPORT_BATCH = 200
_WANTED = {
    KEY_HEADER.encode(): KEY_HEADER,
    b"if-none-match": "if-none-match",
    b"content-type": "content-type",
    b"x-forwarded-for": "x-forwarded-for",
    b"x-request-id": "x-request-id",
}
_ID_HEADER = ID_HEADER.lower().encode()
_HEADER = (HEADER[0].encode(), HEADER[1].encode())
# A device comes back with the same address; parsing it costs more than reading its row. The limit bounds what the
# cache can take.
_client_address = lru_cache(maxsize=16_384)(client_address)
_is_trusted = lru_cache(maxsize=1024)(is_trusted)
FORWARDED_LIMIT = 200
logger = logging.getLogger(__name__)


class Unread(Enum):
    """Why there is no body: the client sends more than the protocol needs, or went away in the middle of it."""

    TOO_LARGE = "too_large"
    ABANDONED = "abandoned"


class AgentApplication:
    """State: the reader of facts, the pool of threads, and the reports that wait to be written."""

    def __init__(self) -> None:
        self._reader: RowReader | None = None
        self._threads = DatabaseThreads("agent")
        self._reports: Together[reports.Report, str] = Together(
            self._threads, reports.take_many, most=REPORT_BATCH
        )
        self._flusher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request below `/controller/`."""
        started = perf_counter()
        try:
            answered = await self._answer(scope, receive)
        except DATABASE_ERRORS:
            needed_request_id()
            logger.exception("agent request failed in the database")
            answered = try_again()
        if answered is not None:
            endpoint = endpoint_of(scope["path"].removeprefix(PREFIX))
            metrics.request("agent", scope["method"], answered.status, perf_counter() - started, endpoint)
            await _send(send, answered, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> AgentResponse | None:
        """Return the answer, or None when there is nobody left to have it."""
        body = await _body(receive) if scope["method"] == "POST" else b""
        if body is Unread.ABANDONED:
            return None
        if body is Unread.TOO_LARGE:
            return text(413, "error: request too large\n")
        request = _request_of(scope, body)
        if (problem := refusal(request)) is not None:
            return problem
        assert request.operation is not None  # noqa: S101 - refused above
        if request.operation.name in ("checksum", "download-config"):
            polled = await self._poll(request)
            return polled if polled is not None else await self._run(endpoints.answer, request)
        if request.operation.name == "report-status":
            return await self._report(request)
        return await self._run(endpoints.answer, request)

    async def _facts(self, request: AgentRequest) -> endpoints.Facts | None:
        if self._reader is None:
            self._reader = row_reader(
                columns=endpoints.FACT_COLUMNS, source=endpoints.FACT_SOURCE, key=endpoints.FACT_KEY
            )
        row = await self._reader.get(request.operation.device_id)  # type: ignore[union-attr, arg-type]
        return endpoints.Facts.of(row) if row else None

    async def _poll(self, request: AgentRequest) -> AgentResponse | None:
        facts = await self._facts(request)
        answered = endpoints.decide(request, facts)
        if answered is not None and answered.status < 400 and facts is not None:
            presence.note(request.operation.device_id)  # type: ignore[union-attr, arg-type]
        return answered

    async def _report(self, request: AgentRequest) -> AgentResponse:
        facts = await self._facts(request)
        problem = endpoints.key_problem(request, facts) or endpoints.report_problem(request)
        if problem is not None:
            return problem
        assert facts is not None  # noqa: S101 - key_problem has answered
        presence.note(request.operation.device_id)  # type: ignore[union-attr, arg-type]
        if facts.hold:
            return endpoints.report_answer(facts.status)
        return endpoints.report_answer(await self._reports.do(endpoints.report_of(request, facts)))

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await self._threads.run(work, *args)

    async def startup(self) -> None:
        """Begin flushing who was seen every few seconds."""
        self._flusher = asyncio.create_task(self._flush_forever())

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(presence.FLUSH_SECONDS)
            try:
                await self._run(presence.flush)
            except DATABASE_ERRORS:
                logger.exception("who was seen could not be written")

    async def shutdown(self) -> None:
        """Write what is still in memory and let go of the database."""
        if self._flusher is not None:
            self._flusher.cancel()
        with contextlib.suppress(*DATABASE_ERRORS):
            await self._run(presence.flush)
        if self._reader is not None:
            await self._reader.close()
            self._reader = None

    def close(self) -> None:
        """End the threads, when the application is not needed any more."""
        self._threads.close()


def _request_of(scope: Scope, body: bytes) -> AgentRequest:
    headers = {_WANTED[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
    # A poll that is answered as it should be needs no id of ours; what is logged or refused gets one then.
    sent = headers.get("x-request-id")
    request_id.set(counted_request_id(sent) if sent else "")
    if scope["method"] == "POST":
        fields = safe(parse_form(body, headers.get("content-type", "")))
    else:
        fields = safe(parse_query(scope["query_string"]))
    return AgentRequest(
        method=scope["method"],
        operation=operation_of(scope["path"].removeprefix(PREFIX)),
        fields=fields,
        headers=headers,
        client=_client(scope, is_forwarded="x-forwarded-for" in headers),
    )


def _client(scope: Scope, *, is_forwarded: bool) -> str | None:
    """Return the client's address; only what a proxy of ours says of it is read, and nothing long remembered."""
    client = scope.get("client")
    peer = client[0] if client else None
    trusted: tuple[Network, ...] = settings.MUSTER.trusted_proxies
    if not is_forwarded or not _is_trusted(peer, trusted):
        return _client_address(peer, "", trusted)
    said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode(
        "latin-1"
    )
    return (_client_address if len(said) <= FORWARDED_LIMIT else client_address)(peer, said, trusted)


async def _body(receive: Receive) -> bytes | Unread:
    """Return the request's body, or why there is none."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Unread.ABANDONED
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            return Unread.TOO_LARGE
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


async def _send(send: Send, answered: AgentResponse, *, head: bool) -> None:
    headers = [_HEADER]
    headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in answered.headers]
    if answered.status >= 400:
        headers.append((_ID_HEADER, needed_request_id().encode()))
    if answered.status != 304:
        headers.append((b"content-type", answered.content_type.encode()))
        headers.append((b"content-length", b"%d" % len(answered.body)))
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    body = b"" if head or answered.status == 304 else answered.body
    await send({"type": "http.response.body", "body": body})


application = AgentApplication()


async def startup() -> None:
    """Start the application's background work (from the server's lifespan)."""
    await application.startup()


async def shutdown() -> None:
    """Stop it and flush (from the server's lifespan)."""
    await application.shutdown()
