"""Linked devices for the crash tests, in a process that may be killed: it keeps on disk what a device keeps.

`python linked_fleet.py DEVICES JOURNAL SECONDS URL [URL …]`: DEVICES is a JSON list of {"id", "key"}, JOURNAL a file to
which every apply is appended, as "<device> <checksum>", before anything is said about it. A device applies a checksum
once; after a kill it knows what it has from the journal alone.
"""

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException


class Journal:
    """What every device has applied, in the order it happened."""

    def __init__(self, path: Path) -> None:
        self.has: dict[str, str] = {}
        if path.exists():
            # A line that was being written when the process was killed was never said to be applied.
            whole = path.read_text().rpartition("\n")[0]
            path.write_text(f"{whole}\n" if whole else "")
            self.has = dict(line.split() for line in whole.splitlines())
        self._file = path.open("a")

    def write(self, device: str, checksum: str) -> None:
        self._file.write(f"{device} {checksum}\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.has[device] = checksum


class Device:
    """One device: dials, says hello, applies what it is told to, reports."""

    def __init__(
        self, number: int, identity: dict[str, str], journal: Journal, urls: list[str], slow: float
    ) -> None:
        self.number, self.id, self.key = number, identity["id"], identity["key"]
        self.journal, self.urls, self.slow = journal, urls, slow
        self.work: asyncio.Task[None] | None = None

    async def live(self) -> None:
        attempt = self.number
        while True:
            url = self.urls[attempt % len(self.urls)]
            try:
                async with connect(
                    f"{url}/ws/device/{self.id}/", additional_headers={"X-Device-Key": self.key},
                    compression=None, open_timeout=5, close_timeout=1, proxy=None,
                ) as link:  # fmt: skip
                    await self.talk(link)
            except (OSError, TimeoutError, InvalidHandshake, WebSocketException):
                pass
            finally:
                if self.work is not None:
                    self.work.cancel()
            attempt += 1
            await asyncio.sleep(random.uniform(0.1, 0.6))

    async def talk(self, link: Any) -> None:
        able = ["config.apply", "config.read", "archive"]
        params = {
            "protocol": 1, "agent": "crash/1", "boot_id": "b", "capabilities": able,
            "applied": self.journal.has.get(self.id, ""), "busy": None, "actual": None,
        }  # fmt: skip
        await self.ask(link, "hello", params)
        async for text in link:
            frame = json.loads(text)
            if frame.get("method") == "config.apply":
                await self.told(link, frame)
            elif frame.get("method") == "config.read":
                await self.say(link, {"id": frame["id"], "result": {"files": {}, "actual": self.id}})

    async def told(self, link: Any, frame: dict[str, Any]) -> None:
        params = frame["params"]
        archive = b64decode(params["archive"])
        assert hashlib.md5(archive).hexdigest() == params["checksum"]
        if self.journal.has.get(self.id) == params["checksum"]:
            await self.say(link, {"id": frame["id"], "result": {"state": "applied"}})
            return
        await self.say(link, {"id": frame["id"], "result": {"state": "running"}})
        self.work = asyncio.create_task(self.apply(link, params))

    async def apply(self, link: Any, params: dict[str, Any]) -> None:
        await asyncio.sleep(random.uniform(0, self.slow))
        self.journal.write(self.id, params["checksum"])
        await asyncio.sleep(random.uniform(0, self.slow / 4))
        told = {name: params[name] for name in ("task", "attempt", "checksum")}
        await self.ask(link, "report", told | {"status": "applied"})

    async def ask(self, link: Any, method: str, params: dict[str, Any]) -> None:
        await self.say(link, {"id": method, "method": method, "params": params})

    async def say(self, link: Any, frame: dict[str, Any]) -> None:
        try:
            await link.send(json.dumps({"jsonrpc": "2.0"} | frame))
        except WebSocketException:
            # The link is gone; the next hello says what there is.
            return


async def main(devices: Path, journal: Path, slow: float, urls: list[str]) -> None:
    kept = Journal(journal)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    lives = [
        asyncio.create_task(Device(number, identity, kept, urls, slow).live())
        for number, identity in enumerate(json.loads(devices.read_text()))
    ]
    await told.wait()
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
