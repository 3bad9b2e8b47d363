"""What the values of environment variables may be: each function turns a text into a value, or says what was expected.

Invariant: no Django here, and whatever is refused is an `InvalidEnvironment` whose text does not repeat the value.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InvalidEnvironment(ValueError):
    """A variable of the environment is missing or malformed; the text is for the person who starts Muster."""


@dataclass(frozen=True)
class MailUrl:
    """The parts of MUSTER_EMAIL_URL; `security` is "", "tls" (STARTTLS) or "ssl"."""

    host: str
    port: int
    user: str
    security: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class PostgresUrl:
    """The parts of MUSTER_DATABASE_URL; `options` are libpq parameters such as sslmode."""

    host: str
    port: int | None
    name: str
    user: str
    password: str = field(repr=False)
    options: tuple[tuple[str, str], ...] = ()


def text(value: str) -> str:
    """Any text."""
    return value


def names(value: str) -> tuple[str, ...]:
    """Texts with commas between them."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def flag(value: str) -> bool:
    """Yes or no, in the usual words."""
    lowered = value.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise InvalidEnvironment("expected yes or no")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise InvalidEnvironment(f"expected a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Seconds within bounds, with up to three decimals."""

    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value) or not low <= float(value) <= high:
            raise InvalidEnvironment(f"expected seconds from {low:g} to {high:g}, such as 0.5")
        return float(value)

    return parse


def choice(*allowed: str, upper: bool = False) -> Callable[[str], str]:
    """One of a few words, in any case of letters."""

    def parse(value: str) -> str:
        word = value.upper() if upper else value.lower()
        if word not in allowed:
            raise InvalidEnvironment(f"expected one of {', '.join(allowed)}")
        return word

    return parse


def path(value: str) -> Path:
    """A path; a relative one is the project's."""
    found = Path(value).expanduser()
    return found if found.is_absolute() else (ROOT / found).resolve()


def networks(value: str) -> tuple[Network, ...]:
    """Addresses or networks with commas between them."""
    try:
        return tuple(ipaddress.ip_network(item, strict=False) for item in names(value))
    except ValueError as error:
        raise InvalidEnvironment(
            "expected addresses or networks such as 10.0.0.0/8, separated by commas"
        ) from error


def encryption_keys(value: str) -> tuple[str, ...]:
    """Fernet keys with commas between them, the newest first."""
    keys = names(value)
    for position, key in enumerate(keys, start=1):
        try:
            raw = base64.b64decode(key.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidEnvironment(f"key {position} is not url-safe base64") from error
        if len(raw) != 32:
            raise InvalidEnvironment(f"key {position} holds {len(raw)} bytes, 32 are needed")
    return keys


def postgres_url(value: str) -> PostgresUrl:
    """The parts of `postgres://user:password@host:port/name?option=value`; raises InvalidEnvironment.

    >>> postgres_url("postgres://u:p%40@db:5433/muster?sslmode=require").options
    (('sslmode', 'require'),)
    """
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise InvalidEnvironment("not a URL") from error
    name = unquote(url.path.lstrip("/"))
    if url.scheme not in {"postgres", "postgresql"} or not name or "/" in name:
        raise InvalidEnvironment("expected postgres://user:password@host:port/name")
    return PostgresUrl(
        host=unquote(url.hostname or ""),
        port=port,
        name=name,
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        options=tuple(parse_qsl(url.query)),
    )


def mail_url(value: str) -> MailUrl:
    """The parts of `smtp://user:password@host:port`, `smtp+tls://…` or `smtps://…`; raises InvalidEnvironment.

    >>> mail_url("smtp+tls://u:p%40@mail.example.org").port
    587
    """
    security = {"smtp": "", "smtp+tls": "tls", "smtps": "ssl"}
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise InvalidEnvironment("not a URL") from error
    if url.scheme not in security or not url.hostname:
        raise InvalidEnvironment("expected smtp://, smtp+tls:// or smtps:// and [user:password@]host[:port]")
    return MailUrl(
        host=url.hostname,
        port=port or {"smtp": 25, "smtp+tls": 587, "smtps": 465}[url.scheme],
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        security=security[url.scheme],
    )


def redis(value: str) -> str:
    """The address of a Redis server."""
    try:
        url = urlsplit(value)
        port_is_valid = url.port is None or url.port > 0
    except ValueError as error:
        raise InvalidEnvironment("not a URL") from error
    if url.scheme not in {"redis", "rediss"} or not url.hostname or not port_is_valid:
        raise InvalidEnvironment("expected redis://[:password@]host[:port][/number] or rediss://…")
    return value


def origins(value: str) -> tuple[str, ...]:
    """Origins (`https://host`) with commas between them."""
    given = names(value)
    if not all(re.fullmatch(r"https?://[^/\s]+", origin) for origin in given):
        raise InvalidEnvironment("expected origins such as https://muster.example.org, separated by commas")
    return given


def http_url(value: str) -> str:
    """An address that begins with http:// or https://."""
    if not re.fullmatch(r"https?://\S+", value):
        raise InvalidEnvironment("expected http://… or https://…")
    return value


def location(value: str) -> str:
    """A path of a server, with slashes at both ends."""
    if not re.fullmatch(r"/(?:[A-Za-z0-9_.-]+/)+", value):
        raise InvalidEnvironment("expected a path such as /media-files/")
    return value


def token(value: str) -> str:
    """A secret of printable ASCII characters."""
    if not re.fullmatch(r"[\x21-\x7e]{16,256}", value):
        raise InvalidEnvironment("expected 16 to 256 printable ASCII characters without blanks")
    return value


def rate(value: str) -> str:
    """So many per unit of time."""
    if not re.fullmatch(r"[0-9]+/(s|sec|second|m|min|minute|h|hour|d|day)", value):
        raise InvalidEnvironment("expected a rate such as 30/min")
    return value
