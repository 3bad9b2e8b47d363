"""A real HTTP server on loopback that notes what it is sent and answers as it was told, well or badly."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Behaviour = Callable[[socket.socket, threading.Event], None]


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """The server; `behave` writes the answer."""

    behave: Behaviour
    requests: list[Received] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def serve(self, listener: socket.socket) -> None:
        """Answer one connection after another, each in a thread of its own."""
        while not self.ended.is_set():
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        with contextlib.closing(taken), contextlib.suppress(OSError):
            taken.settimeout(10)
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = taken.recv(65536)
                if not chunk:
                    return
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            lines = head.decode("latin1").split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
            while len(body) < int(headers["content-length"]):
                body += taken.recv(65536)
            self.requests.append(Received(lines[0], headers, body))
            self.behave(taken, self.ended)


def saying(answer: bytes) -> Behaviour:
    """Say this, whatever it is."""
    return lambda taken, _ended: taken.sendall(answer)


def answering(status: int, **headers: str) -> Behaviour:
    """Answer with a status."""
    said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return saying(f"HTTP/1.1 {status} X\r\n{said}Content-Length: 2\r\n\r\nno".encode())


def silent(_taken: socket.socket, ended: threading.Event) -> None:
    """Never answer."""
    ended.wait(20)


def dripping(taken: socket.socket, ended: threading.Event) -> None:
    """Send a header that never ends, one byte at a time."""
    taken.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(2000):
        if ended.is_set():
            return
        taken.sendall(b"x")
        time.sleep(0.02)


@contextlib.contextmanager
def endpoint(behave: Behaviour | None = None) -> Iterator[Endpoint]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = Endpoint(behave or saying(OK), port=listener.getsockname()[1])
    thread = threading.Thread(target=served.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
