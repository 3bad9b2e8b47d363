"""A network-booted Pi and its owner's tools, as the boot API sees them: own code for spec A6 and A8.

Requests go out by curl with the options that the field's scripts use (`-fsSL`: any status of 400 or above is a failure,
redirects are followed with the key's header), so that what these tests prove holds for a client that is no library.
"""

import base64
import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EMPTY = {"initfs": {"url": "", "md5sum": ""}, "rootfs": {"url": "", "md5sum": ""}, "bootcode": "", "usercode": "",
         "config": {}}  # fmt: skip


class Failed(Exception):
    """A script ended with a message and exit code 1."""


class Panic(Exception):
    """The device gave up in the middle of its boot."""


def curl(*arguments: str, sent: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run curl once."""
    command = ["curl", "-sS", "--max-time", "20", *arguments]
    return subprocess.run(command, input=sent.encode() if sent else None, capture_output=True, check=False)


def status(url: str, *arguments: str) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of one answer, whatever it is."""
    done = curl("-i", *arguments, url)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body.decode()


@dataclass
class Tools:
    """What an owner runs at a desk: show, change, list."""

    base: str
    key: str

    def _call(self, path: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        if not self.key:
            raise Failed("Error: Expecting api key")
        headers = ("-H", "Accept: application/json", "-H", "Content-Type: application/json")
        return curl("-f", *headers, "-H", f"X-Api-Key: {self.key}", *arguments, f"{self.base}{path}")

    def show(self, device: str = "default") -> Any:
        """Return a device's configuration."""
        done = self._call(f"/boot/{device}/config")
        if done.returncode:
            raise Failed("Error: Failed getting the device config")
        return json.loads(done.stdout)

    def merged(
        self, device: str = "default", *, from_present: bool = False, ssh_key: str = "", **changes: Any
    ) -> dict[str, Any]:
        """Return a whole configuration: nothing, or the present one, with changes and one more SSH key."""
        document = self.show(device) if from_present else {}
        config = {**(document.get("config") or {}), **changes.pop("config", {})}
        if ssh_key:
            known = config.get("ssh", {}).get("pi", {}).get("authorized_keys", [])
            config["ssh"] = {"pi": {"authorized_keys": [*known, ssh_key]}}
        document = {**document, **changes}
        if config:
            document["config"] = config
        return document

    def update(self, device: str = "default", *, show_only: bool = False, **changes: Any) -> str:
        """Post what `merged` says; returns what was answered. With `show_only` it is returned instead of posted."""
        document = self.merged(device, **changes)
        if show_only:
            return json.dumps(document)
        done = self._call(f"/boot/{device}/config", "-X", "POST", "-d", json.dumps(document))
        if done.returncode:
            raise Failed("failed to update the configuration via the api")
        return done.stdout.decode()

    def info(self, url: str) -> dict[str, Any]:
        """Return the members that a build's info file names; it is fetched with the key in the query."""
        done = curl("-fL", f"{url}?apiKey={self.key}")
        if done.returncode:
            raise Failed("Error: no such build")
        said = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
        return {
            name: {"url": said[name.upper()], "md5sum": said[f"{name.upper()}MD5"]}
            for name in ("initfs", "rootfs")
        }

    def list(self) -> list[str]:
        """Return the tracked devices and `default`."""
        done = self._call("/track")
        if done.returncode:
            raise Failed("Error: Failed listing the tracked devices")
        return sorted({*json.loads(done.stdout), "default"})


def raw(value: Any) -> str:
    """What a shell gets of a JSON value: a missing one prints as `null`."""
    return "null" if value is None else value if isinstance(value, str) else json.dumps(value)


@dataclass
class Pi:
    """The device: a directory for its boot partition, images by md5 beside it."""

    base: str
    key: str
    name: str
    directory: Path
    said: list[str] = field(default_factory=list)

    def boot(self) -> None:
        """Power on. Raises Panic."""
        (self.directory / "images").mkdir(parents=True, exist_ok=True)
        ping = curl("-k", "-I", f"{self.base}/ping")
        head = ping.stdout.decode().lower()
        if ping.returncode or "\ndate: " not in head:
            raise Panic("the API is down")
        self.said.append("API is up")
        config = self._config()
        wanted = {config[name]["md5sum"] for name in ("initfs", "rootfs")}
        for name in ("initfs", "rootfs"):
            self._image(config[name]["url"], config[name]["md5sum"])
        for old in (self.directory / "images").iterdir():
            if old.name not in wanted:
                old.unlink()
        self._run(raw(config.get("bootcode")))

    def _config(self) -> dict[str, Any]:
        fetched = self.fetch()
        stored = self.directory / "config"
        if not stored.exists() or stored.read_bytes() != fetched:
            stored.write_bytes(fetched)
        config: dict[str, Any] = json.loads(fetched)
        return config

    def fetch(self, *more: str) -> bytes:
        """Return the configuration's bytes. Raises Panic."""
        done = curl("-fL", "-H", f"X-Api-Key: {self.key}", *more, f"{self.base}/boot/{self.name}/config")
        if done.returncode:
            raise Panic("no configuration")
        return done.stdout

    def is_up_to_date(self) -> bool:
        """What the device asks every ten minutes: byte for byte, or it reboots."""
        sent = ("-H", "Accept: application/json", "-H", "Content-Type: application/json")
        return self.fetch(*sent) == (self.directory / "config").read_bytes()

    def _image(self, url: str, md5: str) -> None:
        file = self.directory / "images" / md5
        fetching = ("-fL", "-H", f"X-Api-Key: {self.key}", "-o", str(file), url)
        if not file.exists() and curl(*fetching).returncode:
            raise Panic(f"no image at {url}")
        if hashlib.md5(file.read_bytes()).hexdigest() != md5:
            raise Panic(f"{url} is not what it should be")

    def _run(self, encoded: str) -> None:
        script = base64.b64decode(encoded)
        done = subprocess.run(["sh"], input=script, capture_output=True, cwd=self.directory, check=False)
        if done.returncode:
            raise Panic("the boot code failed")
        self.said += done.stdout.decode().splitlines()
