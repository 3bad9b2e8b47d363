"""What the public client of the cloud's API does, with the standard library only: `public_client.py URL KEY`.

It finds its site, gives a new one its beginning, adds a login from the form for logins, and overrides that login at
every device, each time by reading `config-changes`, editing what it read and posting it back. It reads the flags of an
answer in the order suspended, changed by somebody else, status; it sends a whole login wherever it overrides one.
Prints one JSON object of what it did; raises SystemExit with the controller's text when it is refused.
"""

import binascii
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

Settings = dict[str, dict[str, Any]]
Edit = Callable[[dict[str, Any]], Settings]
ATTEMPTS = 20


class Client:
    """Asks with a key."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url.rstrip("/"), key

    def ask(self, path: str, body: Any = None) -> tuple[int, str]:
        """Return the status and the text of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-api-key": self.key, "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/pub/v1/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path: str) -> Any:
        """Return what stands at a path."""
        status, text = self.ask(path)
        if status != 200:
            raise SystemExit(f"{path}: {status} {text}")
        return json.loads(text)

    def change(self, path: str, edit: Edit) -> dict[str, Any]:
        """Read, edit, post; again from the beginning when somebody else was faster."""
        for _ in range(ATTEMPTS):
            read = self.get(f"{path}/config-changes")
            changes = edit(read)
            if not changes:
                return dict(read)
            status, text = self.ask(
                f"{path}/config-changes", {"timestamp": read["timestamp"], "changes": changes}
            )
            if status == 400:
                raise SystemExit(f"{path}: {text}")
            if status != 200:
                raise SystemExit(f"{path}: {status}")
            said: dict[str, Any] = json.loads(text)
            if said["configSuspended"]:
                raise SystemExit(f"{path}: suspended, reset the device")
            if not said["serverSideChanged"]:
                return said
        raise SystemExit(f"{path}: changed by someone else, {ATTEMPTS} times")


def beginning(country: str) -> Edit:
    """Return the edit that gives a new site its beginning, with a country."""

    def edit(read: dict[str, Any]) -> Settings:
        initial: Settings = read.get("initial", {})
        if initial:
            initial["locale/code"]["value"] = country
        return initial

    return edit


def login(name: str, password: str) -> Edit:
    """Return the edit that adds a login to a site, from the form for new ones."""
    number = binascii.crc32(name.encode("ascii"))

    def edit(read: dict[str, Any]) -> Settings:
        form = {**read["defaults"]["user"], "name": name, "passwd": password, "shell": "1"}
        entries = {f"users/{number}/": {"value": str(number), "origin": "site"}}
        return entries | {
            f"users/{number}/{member}": {"value": value, "origin": "site"} for member, value in form.items()
        }

    return edit


def override(name: str, password: str) -> Edit:
    """Return the edit that gives a device a password of its own for a login of its site: the whole login, copied."""
    number = binascii.crc32(name.encode("ascii"))

    def edit(read: dict[str, Any]) -> Settings:
        whole = {
            key: {**entry, "origin": "site-device"}
            for key, entry in read["device"].items()
            if key.startswith(f"users/{number}/")
        }
        whole[f"users/{number}/passwd"]["value"] = password
        return whole

    return edit


def main(url: str, key: str) -> None:
    """Do it all and print what there is now."""
    client = Client(url, key)
    told: dict[str, Any] = {}
    for site in client.get("sites"):
        client.change(f"site/{site['id']}", beginning("LT"))
        after = client.change(f"site/{site['id']}", login("api_user", "of the site"))
        told[site["name"]] = {key: entry["value"] for key, entry in after["site"].items()}
        for device in client.get(f"site/{site['id']}/devices"):
            client.change(f"device/{device['id']}", override("api_user", f"of device {device['name']}"))
            config = client.get(f"devices/{device['id']}/config")
            told[device["name"]] = {key: entry["value"] for key, entry in config.items()}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
