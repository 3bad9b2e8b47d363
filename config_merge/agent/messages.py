"""The agent protocol's requests and answers as values, and how a path names an operation.

Named tuples, because a poll makes several of them and a frozen dataclass takes four times as long to make.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

HEADER = ("X-Openwisp-Controller", "true")
POLL_HEADER = "X-Muster-Poll-After"
KEY_HEADER = "x-device-key"
BODY_LIMIT = 65_536
# No path of an operation is longer; a longer one is not worth remembering.
PATH_LIMIT = 80
_ID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_PATH = re.compile(
    rf"^(?:device/)?(?:(?P<register>register)|(?P<name>checksum|download-config|report-status|update-info|link-ticket)/(?P<id>{_ID}))/?\Z"
)
METHODS: Mapping[str, tuple[str, ...]] = {
    "register": ("POST",),
    "checksum": ("GET", "HEAD"),
    "download-config": ("GET", "HEAD"),
    "report-status": ("POST",),
    "update-info": ("POST",),
    "link-ticket": ("POST",),
}


class Operation(NamedTuple):
    """What a path asks for, and of which device."""

    name: str
    device_id: UUID | None


class AgentRequest(NamedTuple):
    """One request: `fields` is the query of a GET or the form of a POST, `headers` has lower-case names."""

    method: str
    operation: Operation | None
    fields: Mapping[str, str]
    headers: Mapping[str, str]
    client: str | None

    @property
    def key(self) -> str:
        """The device key, from the query or form as the agent sends it, or from a header."""
        return self.fields.get("key") or self.headers.get(KEY_HEADER, "")


class AgentResponse(NamedTuple):
    """One answer; the controller's own header is added to every one of them."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


def operation_of(path: str) -> Operation | None:
    """Return the operation named by what follows `/controller/`, or None.

    >>> operation_of("checksum/0123456789abcdef0123456789abcdef/").name
    'checksum'
    >>> operation_of("device/register") == operation_of("register/")
    True
    >>> operation_of("checksum/nonsense/") is None
    True
    """
    return _operation_of(path) if len(path) <= PATH_LIMIT else None


@lru_cache(maxsize=16_384)
def _operation_of(path: str) -> Operation | None:
    match = _PATH.match(path)
    if match is None:
        return None
    if match["register"]:
        return Operation("register", None)
    return Operation(match["name"], UUID(match["id"]))


def endpoint_of(path: str) -> str:
    """Return the endpoint named by what follows `/controller/`, `unknown` when there is none, for the metrics."""
    operation = operation_of(path)
    return operation.name if operation is not None else "unknown"


def text(status: int, message: str, *headers: tuple[str, str]) -> AgentResponse:
    """Return a plain-text answer."""
    return AgentResponse(status, message.encode("utf-8", "replace"), headers=headers)


def try_again() -> AgentResponse:
    """Return the answer while the database does not."""
    return text(503, "error: try again\n", ("Retry-After", "10"))


def refusal(request: AgentRequest) -> AgentResponse | None:
    """Return the answer to what is no operation, no method of it, or no text a database can hold."""
    if request.operation is None:
        return text(404, "error: not found\n")
    allowed = METHODS[request.operation.name]
    if request.method not in allowed:
        return text(405, "error: method not allowed\n", ("Allow", ", ".join(allowed)))
    for value in request.fields.values():
        if "\x00" in value:
            return text(400, "error: invalid character in a parameter\n")
    return None
