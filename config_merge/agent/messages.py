"""The agent protocol's requests and answers as values, and how a path names an operation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

HEADER = ("X-Openwisp-Controller", "true")
POLL_HEADER = "X-Muster-Poll-After"
KEY_HEADER = "x-device-key"
BODY_LIMIT = 65_536
_ID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_PATH = re.compile(
    rf"^(?:device/)?(?:(?P<register>register)|(?P<name>checksum|download-config|report-status|update-info)/(?P<id>{_ID}))/?\Z"
)
METHODS: Mapping[str, tuple[str, ...]] = {
    "register": ("POST",),
    "checksum": ("GET", "HEAD"),
    "download-config": ("GET", "HEAD"),
    "report-status": ("POST",),
    "update-info": ("POST",),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a path asks for, and of which device."""

    name: str
    device_id: UUID | None


@dataclass(frozen=True, slots=True)
class AgentRequest:
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


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """One answer; the controller's own header is added to every one of them."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = field(default=())


def operation_of(path: str) -> Operation | None:
    """Return the operation named by what follows `/controller/`, or None.

    >>> operation_of("checksum/0123456789abcdef0123456789abcdef/").name
    'checksum'
    >>> operation_of("device/register") == operation_of("register/")
    True
    >>> operation_of("checksum/nonsense/") is None
    True
    """
    match = _PATH.match(path)
    if match is None:
        return None
    if match["register"]:
        return Operation("register", None)
    return Operation(match["name"], UUID(match["id"]))


def text(status: int, message: str, *headers: tuple[str, str]) -> AgentResponse:
    """Return a plain-text answer."""
    return AgentResponse(status, message.encode("utf-8", "replace"), headers=headers)


def refusal(request: AgentRequest) -> AgentResponse | None:
    """Return the answer to what is no operation, no method of it, or no text a database can hold."""
    if request.operation is None:
        return text(404, "error: not found\n")
    allowed = METHODS[request.operation.name]
    if request.method not in allowed:
        return text(405, "error: method not allowed\n", ("Allow", ", ".join(allowed)))
    if any("\x00" in value for value in request.fields.values()):
        return text(400, "error: invalid character in a parameter\n")
    return None
