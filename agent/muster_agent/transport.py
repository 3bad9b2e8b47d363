"""The place that speaks HTTP: sends a `Request`, returns a `Response` or raises TransportError.

Invariant: redirects are not followed, a body never exceeds the limit, no exchange outlasts the total timeout.
"""

import math
import ssl
import time
from types import TracebackType

import httpx

from muster_agent import __version__
from muster_agent.errors import TransportError
from muster_agent.protocol import Request, Response
from muster_agent.settings import Settings


class Transport:
    """HTTP for one cycle. `reset` closes connections, so that the next exchange proves the network anew."""

    def __init__(self, settings: Settings) -> None:
        """Raises OSError or ssl.SSLError when the CA file or directory cannot be read."""
        self._settings = settings
        self.tls = _tls_context(settings)
        self._client: httpx.Client | None = None

    def __enter__(self) -> "Transport":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reset()

    def reset(self) -> None:
        """Close every open connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def send(self, request: Request, *, within: float = math.inf) -> Response:
        """One exchange, in less than `within` seconds. Raises TransportError when there is no complete HTTP answer."""
        timing = self._settings.timing
        total = min(timing.total_timeout, within)
        deadline = time.monotonic() + total
        # The halves of connecting and of waiting for the answer make up the whole of a short time.
        timeout = httpx.Timeout(
            min(timing.total_timeout, within / 2), connect=min(timing.connect_timeout, within / 2)
        )
        if self._client is None:
            self._client = httpx.Client(verify=self.tls, follow_redirects=False)
        headers = {
            "User-Agent": f"muster-agent/{__version__}",
            # The md5 is of the bytes as stored: no transfer compression may change them on the way.
            "Accept-Encoding": "identity",
            **dict(request.headers),
        }
        form = dict(request.form) if request.form is not None else None
        try:
            with self._client.stream(
                request.method, request.url, headers=headers, data=form, timeout=timeout
            ) as answer:
                body = self._body(answer, deadline)
                names = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status_code, headers=names, body=body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self.reset()
            raise TransportError(f"{type(error).__name__}: {error}") from error
        except TransportError:
            self.reset()
            raise

    def _body(self, answer: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > self._settings.max_download:
                raise TransportError(f"answer is larger than {self._settings.max_download} bytes")
            if time.monotonic() > deadline:
                raise TransportError("answer took longer than the total timeout")
        return bytes(body)


def _tls_context(settings: Settings) -> ssl.SSLContext:
    if not settings.url.lower().startswith("https:"):
        # Loading the system's certificates costs more than a whole turn; plain HTTP needs none.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context(
        cafile=str(settings.ca_file) if settings.ca_file else None,
        capath=str(settings.ca_dir) if settings.ca_dir else None,
    )
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
