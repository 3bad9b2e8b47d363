"""A controller for the agent's tests: a real HTTP server on loopback that speaks spec/openwisp.md 1A.

Invariant: it answers exactly as 1A says unless a test queued something else in `script`.
"""

import gzip
import hashlib
import io
import ssl
import sys
import tarfile
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.agent.fake_link import FakeLink, Links

HEADER = ("X-Openwisp-Controller", "true")
SECRET = "fleet-secret"


def archive(files: dict[str, str | bytes], *, mode: int = 0o644) -> bytes:
    """A deterministic tar.gz of `files`, as 2.6 describes it."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


@dataclass(frozen=True)
class Reply:
    """A scripted answer. `cut` closes the connection without any answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (HEADER,)
    cut: bool = False


CUT = Reply(cut=True)
NOT_FOUND = Reply(status=404, body=b"<h1>Not Found</h1>", headers=())
BROKEN = Reply(status=502, body=b"bad gateway", headers=())


@dataclass(frozen=True)
class Call:
    """One request as it arrived: operation, path, query or form, headers in lower case."""

    operation: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class Device:
    """What the controller knows of one device."""

    uuid: str
    key: str
    name: str
    mac: str
    info: dict[str, str] = field(default_factory=dict)
    reports: list[tuple[str, str]] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Quiet about clients that were killed in the middle of a request."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class FakeController:
    """Serves `files` to every device; `script[operation]` is a queue of replies used before the real ones.

    While `is_dark` nothing answers, as if the network was gone. Links (operation `link`)
    are off until a test wants them.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.devices: dict[str, Device] = {}
        self.calls: list[Call] = []
        self.script: dict[str, list[Reply]] = defaultdict(list)
        self.always: dict[str, Reply] = {}
        self.etags = True
        self.poll_after: str | None = None
        self.links = Links()
        self.is_dark: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self.serve({"etc/config/system": "config system 'system'\n\toption hostname 'muster'\n"})
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if self.path.startswith("/ws/"):
                    owner._link(self)
                else:
                    owner._handle(self, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                owner._handle(self, parse_qs(body, keep_blank_values=True))

            def log_message(self, format: str, *args: object) -> None:
                """Silence: the calls are kept instead."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        for link in self.links.opened:
            link.cut()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, files: dict[str, str | bytes]) -> str:
        """Make `files` the configuration; returns its checksum."""
        return self.serve_bytes(archive(files))

    def serve_bytes(self, data: bytes, *, checksum: str = "") -> str:
        self.data = data
        self.checksum = checksum or hashlib.md5(data).hexdigest()
        return self.checksum

    def operations(self) -> list[str]:
        with self._lock:
            return [call.operation for call in self.calls]

    def of(self, operation: str) -> list[Call]:
        with self._lock:
            return [call for call in self.calls if call.operation == operation]

    @property
    def device(self) -> Device:
        (device,) = self.devices.values()
        return device

    def _link(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        uuid = handler.path.strip("/").rpartition("/")[2]
        with self._lock:
            queue = self.script["link"]
            reply = queue.pop(0) if queue else self.always.get("link")
            device = self.devices.get(uuid.replace("-", ""))
        if self.is_dark():
            reply = CUT
        elif reply is None and (device is None or not self.links.enabled):
            reply = NOT_FOUND
        elif reply is None and device is not None and handler.headers.get("X-Device-Key") != device.key:
            reply = Reply(status=403)
        with self._lock:
            self.calls.append(Call("link", handler.path, {}, {}, dict(handler.headers.items())))
        if reply is not None:
            self._send(handler, reply)
            return
        link = FakeLink(handler, self.links, is_dark=lambda: self.is_dark())
        self.links.opened.append(link)
        link.serve()

    def _handle(self, handler: BaseHTTPRequestHandler, form: dict[str, list[str]]) -> None:
        url = urlsplit(handler.path)
        parts = [part for part in url.path.split("/") if part]
        offset = 2 if parts[:2] == ["controller", "device"] else 1
        operation = parts[offset] if len(parts) > offset else ""
        uuid = parts[offset + 1] if len(parts) > offset + 1 else ""
        call = Call(
            operation=operation,
            path=url.path,
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            form={name: values[0] for name, values in form.items()},
            headers={name.lower(): value for name, value in handler.headers.items()},
        )
        with self._lock:
            self.calls.append(call)
            queue = self.script[operation]
            reply = queue.pop(0) if queue else self.always.get(operation)
            if self.is_dark():
                reply = CUT
            if reply is None:
                reply = self._answer(call, self.devices.get(uuid.replace("-", "")))
        self._send(handler, reply)

    def _answer(self, call: Call, device: Device | None) -> Reply:
        if call.operation == "register":
            return self._register(call.form)
        if device is None:
            return NOT_FOUND
        key = call.query.get("key") or call.form.get("key")
        if not key:
            return Reply(status=400, body=b'error: missing required parameter "key"\n')
        if key != device.key:
            return Reply(status=403, body=b"error: wrong key\n")
        if call.operation == "checksum":
            return self._conditional(call, self.checksum.encode(), hint=True)
        if call.operation == "download-config":
            return self._conditional(call, self.data)
        if call.operation == "report-status":
            return self._report(call.form, device)
        if call.operation == "update-info":
            device.info.update({name: call.form[name] for name in ("model", "os", "system")})
            return Reply(body=b"update-info: success")
        return NOT_FOUND

    def _conditional(self, call: Call, body: bytes, *, hint: bool = False) -> Reply:
        headers = [HEADER]
        if hint and self.poll_after is not None:
            headers.append(("X-Muster-Poll-After", self.poll_after))
        if self.etags:
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            headers.append(("ETag", etag))
            if call.headers.get("if-none-match") == etag:
                return Reply(status=304, headers=tuple(headers))
        return Reply(body=body, headers=tuple(headers))

    def _register(self, form: dict[str, str]) -> Reply:
        for name in ("secret", "name", "mac_address", "backend"):
            if not form.get(name):
                return Reply(status=400, body=f'error: missing required parameter "{name}"\n'.encode())
        if form["secret"] != SECRET:
            return Reply(status=403, body=b"error: unrecognized secret")
        key = form.get("key", "")
        known = next((device for device in self.devices.values() if key and device.key == key), None)
        if known is None and any(device.mac == form["mac_address"] for device in self.devices.values()):
            return Reply(status=400, body=b"mac address: already exists")
        device = known or Device(
            uuid=hashlib.md5(f"uuid {form['mac_address']}".encode()).hexdigest(),
            key=key or hashlib.md5(f"random {form['mac_address']}".encode()).hexdigest(),
            name=form["name"],
            mac=form["mac_address"],
        )
        self.devices[device.uuid] = device
        lines = (
            "registration-result: success",
            f"uuid: {device.uuid}",
            f"key: {device.key}",
            f"hostname: {device.name}",
            f"is-new: {0 if known else 1}",
        )
        return Reply(status=201, body="".join(f"{line}\n" for line in lines).encode())

    def _report(self, form: dict[str, str], device: Device) -> Reply:
        status = form.get("status", "")
        if status not in ("applied", "error"):
            return Reply(status=403, body=b"error: wrong status\n")
        device.reports.append((status, form.get("error_reason", "")))
        return Reply(body=f"report-result: success\ncurrent-status: {status}\n".encode())

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.cut:
            handler.close_connection = True
            handler.connection.close()
            return
        try:
            handler.send_response(reply.status)
            for name, value in reply.headers:
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(reply.body)))
            handler.end_headers()
            handler.wfile.write(reply.body)
        except ConnectionError:
            handler.close_connection = True  # the client was killed or stopped: part of many tests
