"""The controller's end of the device link for tests: real websockets on the fake controller's own port.

Invariant: it answers as docs/link-protocol.md says unless a test switched something off.
"""

import base64
import hashlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol


@dataclass
class Links:
    """What the controller does with links. `push` sends a task to a device that lacks `wanted`."""

    enabled: bool = False
    heartbeat: float = 30.0
    answers_hello: bool = True
    answers_pings: bool = True
    report_error: int | None = None
    answers_reports: bool = True
    before_answering: Callable[["FakeLink"], None] | None = None
    hello_error: int | None = None
    push: Callable[["FakeLink", dict[str, Any]], None] | None = None
    opened: list["FakeLink"] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> "FakeLink":
        return self.opened[-1]

    def up(self) -> list["FakeLink"]:
        return [link for link in self.opened if link.is_up]


class FakeLink:
    """One link. `call` asks the device something and waits for its answer."""

    def __init__(self, handler: BaseHTTPRequestHandler, links: Links, *, is_dark: Callable[[], bool]) -> None:
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.path = handler.path
        self.began = time.monotonic()
        self.heard: list[dict[str, Any]] = []
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.close_code: int | None = None
        self.is_up = False
        self.stops_reading = False
        self._links = links
        self._is_dark = is_dark
        self._socket: socket.socket = handler.connection
        self._protocol = ServerProtocol()
        self._lock = threading.Lock()
        self._number = 0
        head = "".join(f"{name}: {value}\r\n" for name, value in handler.headers.items())
        self._protocol.receive_data(f"GET {handler.path} HTTP/1.1\r\n{head}\r\n".encode())
        (request,) = self._protocol.events_received()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        assert self._protocol.state is OPEN
        self._flush()

    def serve(self) -> None:
        """Until the link ends."""
        try:
            while data := self._socket.recv(65536):
                while self.stops_reading:
                    time.sleep(0.05)
                if self._is_dark():
                    self.cut()
                    return
                with self._lock:
                    self._protocol.receive_data(data)
                    events = self._protocol.events_received()
                self._flush()
                for event in events:
                    self._hear(event)
        except OSError:
            return
        finally:
            self.is_up = False
            self.cut()

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every frame of this method."""
        return [frame.get("params", {}) for frame in list(self.heard) if frame.get("method") == method]

    def send(self, frame: dict[str, Any] | str | bytes) -> None:
        data = json.dumps(frame) if isinstance(frame, dict) else frame
        with self._lock:
            if isinstance(data, str):
                self._protocol.send_text(data.encode())
            else:
                self._protocol.send_binary(data)
        self._flush()

    def call(self, method: str, params: Any, *, number: Any = None) -> dict[str, Any]:
        """Ask, and return the whole answer: `result` or `error`."""
        self._number += 1
        self.send({"jsonrpc": "2.0", "id": number or f"c{self._number}", "method": method, "params": params})
        return self.answers.get(timeout=20)

    def close(self, code: int, reason: str = "") -> None:
        with self._lock:
            self._protocol.send_close(code, reason)
        self._flush()

    def cut(self) -> None:
        """As if the wire was."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _hear(self, event: Any) -> None:
        if not isinstance(event, Frame):
            return
        if event.opcode is Opcode.CLOSE:
            self.close_code = int.from_bytes(event.data[:2], "big")
            return
        if event.opcode is not Opcode.TEXT:
            return
        assert len(event.data) <= 262_144
        frame = json.loads(bytes(event.data))
        assert frame["jsonrpc"] == "2.0"
        self.heard.append(frame)
        if "method" not in frame:
            self.answers.put(frame)
        elif frame["method"] == "hello":
            self._welcome(frame)
        elif frame["method"] == "ping" and self._links.answers_pings:
            self.send({"jsonrpc": "2.0", "id": frame["id"], "result": {}})
        elif frame["method"] == "report" and self._links.answers_reports:
            self._take_report(frame)

    def _welcome(self, frame: dict[str, Any]) -> None:
        if not self._links.answers_hello:
            return
        if self._links.hello_error is not None:
            error = {"code": self._links.hello_error, "message": "no", "data": {"supported": [2]}}
            self.send({"jsonrpc": "2.0", "id": frame["id"], "error": error})
            return
        result = {"protocol": 1, "link": "l", "heartbeat": self._links.heartbeat, "wanted": ""}
        self.is_up = True
        self.send({"jsonrpc": "2.0", "id": frame["id"], "result": result})
        if self._links.push is not None:
            self._links.push(self, frame["params"])

    def _take_report(self, frame: dict[str, Any]) -> None:
        if self._links.report_error is not None:
            error = {"code": self._links.report_error, "message": "later"}
            self.send({"jsonrpc": "2.0", "id": frame["id"], "error": error})
            return
        self._links.reports.append(frame["params"])
        if self._links.before_answering is not None:
            self._links.before_answering(self)
        result = {"status": frame["params"]["status"], "wanted": frame["params"]["checksum"]}
        self.send({"jsonrpc": "2.0", "id": frame["id"], "result": result})

    def _flush(self) -> None:
        with self._lock:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
                else:
                    self.cut()


def order(uuid: str, data: bytes, *, inline: bool = True, **changes: Any) -> dict[str, Any]:
    """The parameters of a `config.apply` for this archive."""
    params = {
        "task": "t1",
        "attempt": 1,
        "revision": 1,
        "checksum": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": f"/controller/download-config/{uuid}/",
        "confirm_within": 5,
    }
    if inline:
        params["archive"] = base64.b64encode(data).decode()
    return params | changes
