"""The boot dialect's requests and answers as values, and how a path names an operation (spec part A).

Named tuples, because a boot makes several of them and a frozen dataclass takes four times as long to make.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from core.canonical import spaced_json
from tenancy.key_rows import KeyFacts as Key
from tracking.models import DEVICE_LENGTH

__all__ = ["BootRequest", "BootResponse", "Key", "Route"]
BODY_LIMIT = 4096
MAX_FIELDS = 100
KEY_HEADER, KEY_FIELD = "x-api-key", "apiKey"
# No path of an operation is longer, percent-encoded four bytes a character; a longer one is not worth looking at.
PATH_LIMIT = 4096
REMEMBERED = 128
JSON = "application/json"
READ = ("GET", "HEAD")
_PATH = re.compile(
    r"/(?:(?P<ping>ping)|boot/(?P<boot>[^/]+)/config|images/(?P<space>[^/]+)/(?P<path>.+?)|track|track/(?P<track>[^/]+))/?\Z"
)
METHODS: Mapping[str, tuple[str, ...]] = {
    "ping": READ,
    "boot": ("GET", "HEAD", "POST", "DELETE"),
    "images": READ,
    "track_list": READ,
    "track": ("GET", "HEAD", "POST"),
}


class Route(NamedTuple):
    """What a path asks for: `subject` is a device or an image space, `path` an image's path in it."""

    name: str
    subject: str = ""
    path: str = ""


class BootRequest(NamedTuple):
    """One request. `key` is its API key as sent, None when none was; `headers` has lower-case names.

    `origin` is the scheme and host that the client sees, such as `https://boot.example.org`; `is_proxied` tells that
    one of our proxies has said who the client is.
    """

    method: str
    route: Route | None
    key: str | None
    body: bytes
    headers: Mapping[str, str]
    client: str | None
    origin: str
    is_too_large: bool = False
    is_proxied: bool = False


class BootResponse(NamedTuple):
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON


def said(status: int, text: str, *headers: tuple[str, str]) -> BootResponse:
    """Return an answer in the form of the original's gateway."""
    return BootResponse(status, spaced_json({"message": text}), headers)


def result(value: Any) -> BootResponse:
    """Return a value as JSON."""
    return BootResponse(200, spaced_json(value))


def refused(error: Exception) -> BootResponse:
    """Return the answer to a body that is not what it should be."""
    return said(400, str(error))


OK = result({"status": "ok"})
NO_KEY = said(400, "Bad Request")
FORBIDDEN = said(403, "Forbidden")
NOT_FOUND = said(404, "Not Found")
TOO_LONG = said(413, "Request Too Long")
BROKEN = said(500, "Internal server error")
TRY_AGAIN = said(503, "Service Unavailable", ("Retry-After", "10"))


def used_up(seconds: int) -> BootResponse:
    """Return the refusal of a key whose quota is used up for so many seconds."""
    return said(429, "Limit Exceeded", ("Retry-After", str(seconds)))


def too_many(seconds: int) -> BootResponse:
    """Return the refusal of an address that comes with too many wrong keys, for so many seconds."""
    return said(429, "Too Many Requests", ("Retry-After", str(seconds)))


def key_of(method: str, header: str, query: str) -> str | None:
    """Return the key that a request was sent with, None when with none: in its header, or for reads in its query.

    >>> key_of("GET", "", "a=b&apiKey=deadbeef"), key_of("GET", "k", "apiKey=deadbeef"), key_of("POST", "", "apiKey=d")
    ('deadbeef', 'k', None)
    """
    if header or method not in READ or KEY_FIELD not in query:
        return header or None
    try:
        pairs = parse_qsl(query, errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    return next((value for name, value in pairs if name == KEY_FIELD), None)


def route_of(raw: bytes) -> Route | None:
    """Return what a path, percent-encoded or not, asks for; None for what is no route.

    >>> route_of(b"/boot/b8:27:eb:00:00:01/config") == route_of(b"/boot/b8%3A27%3aeb:00:00:01/config/")
    True
    >>> route_of(b"/images/global/a/b.sqsh")
    Route(name='images', subject='global', path='a/b.sqsh')
    >>> route_of(b"/boot/%ff/config"), route_of(b"/track//")
    (None, None)
    """
    if len(raw) > PATH_LIMIT:
        return None
    # Long paths are rare, and whoever sends many of them shall not have them remembered.
    return _remembered(raw) if len(raw) <= REMEMBERED else _route_of(raw)


@lru_cache(maxsize=16_384)
def _remembered(raw: bytes) -> Route | None:
    return _route_of(raw)


def _route_of(raw: bytes) -> Route | None:
    try:
        path = unquote_to_bytes(raw).decode() if b"%" in raw else raw.decode()
    except UnicodeDecodeError:
        return None
    match = _PATH.match(path)
    if match is None or not path.isprintable():
        return None
    if match["ping"]:
        return Route("ping")
    if match["space"]:
        return Route("images", match["space"], match["path"])
    device = match["boot"] or match["track"]
    if device is None:
        return Route("track_list")
    if len(device) > DEVICE_LENGTH:
        return None
    return Route("boot" if match["boot"] else "track", device)


def refusal(request: BootRequest) -> BootResponse | None:
    """Return the answer to what is no route or no method of it, or comes without a key (A2)."""
    if request.route is None:
        return NOT_FOUND
    allowed = METHODS[request.route.name]
    if request.method not in allowed:
        return said(405, "Method Not Allowed", ("Allow", ", ".join(allowed)))
    if request.route.name != "ping" and not request.key:
        return NO_KEY
    return None
