"""A device at the other end of a link, small enough to be read at once: what docs/link-protocol.md asks for."""

import base64
import contextlib
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


class LinkedDevice:
    """Keeps a link open in a thread, applies what it is sent, and tells what it has.

    `files` are what is on it, `applied` the checksums it applied, in order.
    """

    def __init__(self, url: str, device_id: str, key: str) -> None:
        self.id = str(UUID(device_id))
        self.files: dict[str, str] = {}
        self.applied: list[str] = []
        self._sent: dict[str, str] = {}
        self._address = f"ws{url.removeprefix('http')}/ws/device/{device_id}/"
        self._key = key
        self._socket: ClientConnection | None = None
        self._number = 0

    @contextlib.contextmanager
    def linked(self) -> Iterator["LinkedDevice"]:
        """Hold the link open."""
        with connect(self._address, additional_headers={"X-Device-Key": self._key}) as socket:
            self._socket = socket
            self._ask(
                "hello", protocol=1, agent="test/1", boot_id="b", busy=None, actual=self.actual(),
                capabilities=["config.apply", "config.read", "archive"],
                applied=self.applied[-1] if self.applied else "",
            )  # fmt: skip
            thread = threading.Thread(target=self._listen, args=(socket,))
            thread.start()
            try:
                yield self
            finally:
                socket.close()
                thread.join(10)

    def edit(self, path: str, old: str, new: str) -> None:
        """Edit a file by hand, and let the device notice."""
        assert old in self.files[path]
        self.files[path] = self.files[path].replace(old, new)
        assert self._socket is not None
        self._say({"jsonrpc": "2.0", "method": "telemetry", "params": {"actual": self.actual()}})

    def actual(self) -> str:
        """What is on the device of what it was sent."""
        lines = []
        for path in sorted(self._sent):
            digest = hashlib.sha256(self.files[path].encode()).hexdigest() if path in self.files else "-"
            lines.append(f"{digest}  {path}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _say(self, frame: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps(frame))

    def _ask(self, method: str, **params: Any) -> None:
        self._number += 1
        self._say({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})

    def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in socket:
                frame = json.loads(text)
                if frame.get("method") == "config.apply":
                    self._apply(frame["id"], frame["params"])
                elif frame.get("method") == "config.read":
                    files = {path: self.files.get(path) for path in self._sent}
                    self._say(
                        {
                            "jsonrpc": "2.0",
                            "id": frame["id"],
                            "result": {"files": files, "actual": self.actual()},
                        }
                    )

    def _apply(self, number: str, params: Any) -> None:
        self._say({"jsonrpc": "2.0", "id": number, "result": {"state": "running"}})
        task = {"task": params["task"], "attempt": params["attempt"]}
        progress = {**task, "step": "written", "message": ""}
        self._say({"jsonrpc": "2.0", "method": "task.progress", "params": progress})
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(params["archive"])), mode="r:gz") as archive:
            self._sent = {
                member.name: content.read().decode()
                for member in archive.getmembers()
                if (content := archive.extractfile(member)) is not None
            }
        self.files = dict(self._sent)
        self.applied.append(params["checksum"])
        self._ask(
            "report", **task, checksum=params["checksum"], status="applied", reason="", actual=self.actual()
        )
