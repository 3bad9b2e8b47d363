"""Log lines people and machines can read, each carrying the id of the request that caused it.

Invariant: a query string is never written, device agents send their keys in it; what looks like a secret is not either
(`core.log_redaction`), whoever wrote the line. The id comes from
`X-Request-ID` when the caller sent a harmless one, and goes back in the answer's header of the same name.
"""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from core.acting import acting_for, request_id
from core.log_redaction import value_without_secrets
from core.request_ids import HEADER, accept_request_id

_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"'<>]++")


def without_query(text: str) -> str:
    """Drop query strings from anything that looks like a path or URL in `text`.

    >>> without_query("Not Found: /controller/checksum/1/?key=abc")
    'Not Found: /controller/checksum/1/'
    """
    return _QUERY.sub(lambda found: "" if "=" in found.group()[2:] else found.group(), text)


class RequestIdMiddleware:
    """Gives each request its id for the time it is handled, and names it in the answer."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identifier = accept_request_id(request.headers.get(HEADER, ""))
        # Not reset afterwards: Django logs a refused request after its middleware, and the next request sets
        # its own.
        request_id.set(identifier)
        with acting_for(request):
            response = self.get_response(request)
        response[HEADER] = identifier
        return response


Event = MutableMapping[str, Any]


def _add_request_id(_logger: object, _method: str, event: Event) -> Event:
    identifier = request_id.get()
    if identifier:
        event["request_id"] = identifier
    return event


def _drop_queries(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if isinstance(value, str) and "?" in value:
            event[name] = without_query(value)
    return event


def _hide_secrets(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if not name.startswith("_"):
            event[name] = value_without_secrets(value, name=name)
    return event


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at that moment, so that a replaced stream keeps working."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configuration(*, level: str, style: str, terminal: bool) -> dict[str, Any]:
    """The program's dictConfig; `style` is auto, console or json; `terminal` says whether stderr is one."""
    console = style == "console" or (style == "auto" and terminal)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    if console:
        last: Any = structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "muster": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _drop_queries,
                    _hide_secrets,
                    last,
                ],
            }
        },
        "handlers": {"stderr": {"()": "controller.logs.StandardError", "formatter": "muster"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own default handlers would print each record a second time.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # Below warning these describe machinery nobody asked about.
            # What it counts, `tenancy.sign_in.door` says in words.
            "axes": {"level": "ERROR"},
            "celery": {"level": "WARNING" if level != "DEBUG" else level},
            "kombu": {"level": "WARNING"},
            "amqp": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
            "uvicorn.error": {"level": "WARNING" if level != "DEBUG" else level},
            "uvicorn.access": {"level": "WARNING"},
            "botocore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            "channels_redis": {"level": "WARNING"},
        },
    }
