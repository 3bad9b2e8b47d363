"""One POST to an address somebody else chose: nothing internal is reached, nothing takes longer than it may.

Invariant: the address that was checked is the one that is connected to, so a name that resolves differently a moment
later changes nothing; certificates are verified against the name; redirects are not followed; the whole exchange has
one deadline, however slowly the other side speaks, and no more of its answer is read than is kept.
"""

import contextlib
import functools
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from core.net import valid_address

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
EXCERPT_BYTES = 1024
# No more addresses of one name are tried than these.
ADDRESSES = 3
_EMBEDDED_V4 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unreachable(Exception):
    """There is no answer; the text says why and is safe to show."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said: its status, and the beginning of its body as text."""

    status: int
    excerpt: str

    @property
    def is_success(self) -> bool:
        """Whether it took the message."""
        return 200 <= self.status < 300


def _faces(address: Address) -> Iterator[Address]:
    """Yield an address and the IPv4 addresses that it leads to."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            yield address.ipv4_mapped
        if address.sixtofour:
            yield address.sixtofour
        if address in _EMBEDDED_V4:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo:
            yield from address.teredo


def is_allowed(address: str, *, private: bool) -> bool:
    """Tell whether messages may go to `address`; with `private`, to this network and this machine too.

    >>> [is_allowed(a, private=False) for a in ("93.184.215.14", "10.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::")]
    [True, False, False, False]
    >>> is_allowed("127.0.0.1", private=True), is_allowed("169.254.169.254", private=True)
    (True, False)
    """
    for face in _faces(ipaddress.ip_address(address.partition("%")[0])):
        if face.is_multicast or face.is_unspecified or face.is_link_local:
            return False
        if isinstance(face, ipaddress.IPv6Address) and face.is_site_local and not private:
            return False
        # Python counts an embedding such as ::ffff:10.0.0.1 as reserved; what it embeds is looked at by itself.
        embeds = isinstance(face, ipaddress.IPv6Address) and len(list(_faces(face))) > 1
        if not private and not embeds and not (face.is_global and not face.is_reserved):
            return False
    return True


def is_allowed_host(url: str) -> bool:
    """Tell whether the host of `url` may be one, as far as it is known without asking for its name."""
    host = urlsplit(url).hostname or ""
    private: bool = settings.MUSTER.webhook_private_allowed
    if valid_address(host) is None:
        return private or host.rstrip(".").lower() != "localhost"
    return is_allowed(host, private=private)


def addresses_of(host: str, port: int, *, private: bool) -> list[tuple[Any, ...]]:
    """Resolve a host to the addresses that may be connected to. Raises Unreachable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable("The host name cannot be resolved.") from error
    allowed = [entry for entry in found if is_allowed(str(entry[4][0]), private=private)]
    if not allowed:
        raise Unreachable("The host is a private, local or special address; messages do not go there.")
    return allowed[:ADDRESSES]


class _Timed(io.RawIOBase):
    """Reads a socket until a deadline, however small the pieces are."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """It is there for that."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come. Raises TimeoutError after the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


class _Line:
    """What `http.client` needs of a socket, with the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send within the time that is left; Python bounds the whole of it."""
        self._sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._sock.sendall(data)

    def makefile(self, _mode: str, *_options: Any) -> io.BufferedReader:
        """Return the answer's stream."""
        return io.BufferedReader(_Timed(self._sock, self._deadline))

    def close(self) -> None:
        """Who opened the socket closes it."""


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _connected(host: str, port: int, *, private: bool, context: ssl.SSLContext | None) -> socket.socket:
    """Return a connection to the first address of `host` that takes one. Raises Unreachable."""
    deadline = time.monotonic() + CONNECT_SECONDS
    problem: Exception | None = None
    for family, kind, protocol, _name, address in addresses_of(host, port, private=private):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            sock.connect(address)
            if context is None:
                return sock
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            return context.wrap_socket(sock, server_hostname=host)
        except (OSError, ValueError) as error:
            sock.close()
            problem = error
    if isinstance(problem, ssl.SSLCertVerificationError):
        raise Unreachable(f"The certificate is not valid: {problem.verify_message}.") from problem
    if isinstance(problem, ssl.SSLError):
        raise Unreachable("No TLS connection could be made.") from problem
    if isinstance(problem, TimeoutError):
        raise Unreachable(f"No connection within {CONNECT_SECONDS:g} s.") from problem
    raise Unreachable("The host does not accept connections.") from problem


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    private: bool,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send one POST and return the answer. Raises Unreachable.

    `context` replaces the system's trust in certificates.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    sock = _connected(host, port, private=private, context=(context or _tls()) if secure else None)
    with contextlib.closing(sock):
        line = http.client.HTTPConnection(host, port)
        # http.client asks of its socket only what the stand-in has.
        line.sock = _Line(sock, time.monotonic() + ANSWER_SECONDS)  # type: ignore[assignment]
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            line.request("POST", target, body, {"Host": parts.netloc, "Connection": "close", **headers})
            answered = line.getresponse()
            try:
                excerpt = answered.read(EXCERPT_BYTES)
            except (OSError, http.client.HTTPException, ValueError):
                # The status has been said; that the rest never came is the other side's affair.
                excerpt = b""
            return Answer(answered.status, excerpt.decode("utf-8", "replace").replace("\x00", ""))
        except TimeoutError as error:
            raise Unreachable(f"No answer within {ANSWER_SECONDS:g} s.") from error
        except http.client.HTTPException as error:
            raise Unreachable("The answer is not HTTP.") from error
        except (OSError, ValueError) as error:
            raise Unreachable("The connection broke before an answer.") from error
        finally:
            line.close()
