"""The agent protocol behind Django's handler, for WSGI servers and Django's test client.

The same `answer` as the thin ASGI application, reached through one view for every path below `/controller/`.
"""

import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from config_merge.agent import presence
from config_merge.agent.endpoints import answer
from config_merge.agent.forms import parse_form, parse_query, safe
from config_merge.agent.messages import (
    BODY_LIMIT,
    HEADER,
    KEY_HEADER,
    AgentRequest,
    AgentResponse,
    endpoint_of,
    operation_of,
    text,
    try_again,
)
from core import metrics
from core.net import client_address
from core.rows import DATABASE_ERRORS

logger = logging.getLogger(__name__)


def _request_of(request: HttpRequest, path: str) -> AgentRequest:
    if request.method == "POST":
        fields = parse_form(request.body, request.headers.get("Content-Type", ""))
    else:
        fields = parse_query(request.META.get("QUERY_STRING", ""))
    return AgentRequest(
        method=request.method or "",
        operation=operation_of(path),
        fields=safe(fields),
        headers={name: request.headers.get(name, "") for name in (KEY_HEADER, "if-none-match")},
        client=client_address(
            request.META.get("REMOTE_ADDR"),
            request.headers.get("X-Forwarded-For", ""),
            settings.MUSTER.trusted_proxies,
        ),
    )


@csrf_exempt
def agent(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer one request of the agent protocol."""
    answered = _bounded(request, path)
    metrics.add(metrics.POLLS, endpoint_of(path), answered.status)
    if presence.is_due():
        _flush()
    headers: dict[str, Any] = dict((*answered.headers, HEADER))
    body = b"" if request.method == "HEAD" else answered.body
    return HttpResponse(body, status=answered.status, content_type=answered.content_type, headers=headers)


def _flush() -> None:
    """Write who was seen; that it did not work is no concern of the device that is being answered."""
    try:
        presence.flush()
    except DATABASE_ERRORS:
        logger.exception("who was seen could not be written")


def _bounded(request: HttpRequest, path: str) -> AgentResponse:
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_LIMIT:
            return text(413, "error: request too large\n")
        return answer(_request_of(request, path))
    except (RequestDataTooBig, ValueError):
        return text(413, "error: request too large\n")
    except DATABASE_ERRORS:
        logger.exception("agent request failed in the database")
        return try_again()
