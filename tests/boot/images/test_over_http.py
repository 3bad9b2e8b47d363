"""Images over real HTTP: streamed by the ASGI server, resumed after kill -9, and nothing of a key in any log."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from boot.images import uploads
from tests.controller.processes import ROOT, Up, free_port, plain_environment, running_up

pytestmark = pytest.mark.slow
BYTES = os.urandom(3 << 20)


def provisioned(data: Path) -> dict[str, str]:
    """Return the Authorization header of an operator of the demo organization."""
    command = [sys.executable, "manage.py", "provision", "--organization", "demo", "--user", "olga", "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=plain_environment(MUSTER_DATA_DIR=str(data)),
        capture_output=True,
        text=True,
        check=True,
    )
    return {"Authorization": f"Bearer {json.loads(done.stdout)['user']['token']}"}


def api(up: Up, who: dict[str, str]) -> httpx.Client:
    return httpx.Client(base_url=f"{up.url}/api/v1", headers=who, timeout=30)


def new_key(client: httpx.Client) -> tuple[str, str]:
    """Make an API key; returns its id and its text."""
    organization = client.get("/users/organization/").json()["results"][0]["id"]
    made = client.post("/users/api-key/", json={"organization": organization, "name": "pis"}).json()
    return made["id"], made["key"]


def send(client: httpx.Client, upload: str, start: int, stop: int) -> Any:
    return client.patch(
        f"/boot/uploads/{upload}/",
        params={"offset": start},
        content=BYTES[start:stop],
        headers={"Content-Type": "application/octet-stream"},
    )


def test_an_upload_survives_kill_9_and_the_image_is_streamed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    half = len(BYTES) // 2
    with running_up(data) as up:
        who = provisioned(data)
        with api(up, who) as client:
            key, text = new_key(client)
            begun = client.post(
                "/boot/uploads/", json={"key": key, "path": "v1/rootfs.sqsh", "size": len(BYTES)}
            )
            assert begun.status_code == 201, begun.text
            upload = begun.json()["id"]
            assert send(client, upload, 0, half).json()["received"] == half
        up.stop(signal.SIGKILL)
    with running_up(data) as up, api(up, who) as client:
        stands = client.get(f"/boot/uploads/{upload}/").json()["received"]
        assert stands == half
        refused = send(client, upload, 0, half)
        assert (refused.status_code, refused.json()["received"]) == (409, half)
        # A client that does not know the length yet sends it in chunks.
        whole = (BYTES[start : start + 100_000] for start in range(half, len(BYTES), 100_000))
        sent = client.patch(
            f"/boot/uploads/{upload}/",
            params={"offset": half},
            content=whole,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert sent.json()["received"] == len(BYTES), sent.text
        image = client.post(f"/boot/uploads/{upload}/finish/").json()
        assert image["sha256"] == hashlib.sha256(BYTES).hexdigest()

        answer = httpx.get(f"{up.url}/images/own/v1/rootfs.sqsh", headers={"X-Api-Key": text})
        assert answer.status_code == 302 and answer.headers["Content-Length"] == "0"
        where = answer.headers["Location"]
        assert where.startswith(f"{up.url}/image-files/")
        # As curl does: the key goes along.
        with httpx.stream("GET", where, headers={"X-Api-Key": text}) as stream:
            portions = list(stream.iter_raw())
        assert b"".join(portions) == BYTES
        assert httpx.head(where).headers["Content-Length"] == str(len(BYTES))
        part = httpx.get(where, headers={"Range": f"bytes={half}-"})
        assert (part.status_code, part.content) == (206, BYTES[half:])
        assert httpx.get(where[:-1]).status_code == 403
        # A reader that goes away in the middle leaves no open file behind.
        with httpx.stream("GET", where) as stream:
            next(stream.iter_raw())
        opened = Path(f"/proc/{up.process.pid}/fd")
        up.wait_until(lambda: not any("/images/" in target for target in _open_files(opened)), seconds=10)
        up.stop()
        assert text not in up.printed and text.partition(".")[2] not in up.printed
        assert "signature=" not in up.printed


def test_of_a_long_part_that_breaks_off_whole_stretches_stay(tmp_path: Path) -> None:
    """A sender that goes away in the middle of one request has not sent all of it in vain."""
    data, size = tmp_path / "data", uploads.PART + len(BYTES)
    with running_up(data) as up, api(up, provisioned(data)) as client:
        key, _ = new_key(client)
        begun = client.post("/boot/uploads/", json={"key": key, "path": "v1/rootfs.sqsh", "size": size})
        where = f"/boot/uploads/{begun.json()['id']}/"

        def breaking() -> Iterator[bytes]:
            for start in range(0, size - 1, 1 << 20):
                yield bytes(min(1 << 20, size - 1 - start))
            raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError), api(up, dict(client.headers)) as sender:
            sender.patch(
                where,
                params={"offset": 0},
                content=breaking(),
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            )
        up.wait_until(lambda: client.get(where).json()["received"] == uploads.PART)
        rest = client.patch(
            where,
            params={"offset": uploads.PART},
            content=bytes(len(BYTES)),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert rest.json()["received"] == size


def _open_files(folder: Path) -> list[str]:
    """What a process's descriptors point at; one that is closed meanwhile is left out."""
    targets = []
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(link))
    return targets


def test_a_wsgi_server_streams_too(tmp_path: Path) -> None:
    """granian's WSGI worker on the data of a server that has ended."""
    data = tmp_path / "data"
    with running_up(data) as up:
        who = provisioned(data)
        with api(up, who) as client:
            key, text = new_key(client)
            made = client.post(
                "/boot/images/", data={"key": key, "path": "initramfs.tgz"}, files={"file": ("x", BYTES)}
            )
            assert made.status_code == 201, made.text
            assert made.json()["md5"] == hashlib.md5(BYTES).hexdigest()
        up.stop()
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--port",
        str(port),
        "controller.wsgi:application",
    ]
    with (tmp_path / "granian.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=plain_environment(MUSTER_DATA_DIR=str(data)), stdout=log, stderr=log
        )
    served = Up(process, f"http://127.0.0.1:{port}", tmp_path / "granian.log")
    try:
        served.wait_until(lambda: _answers(served.url))
        answer = httpx.get(f"{served.url}/images/own/initramfs.tgz", headers={"X-Api-Key": text})
        assert answer.status_code == 302 and answer.headers["Content-Length"] == "0"
        where = answer.headers["Location"]
        assert httpx.get(where).content == BYTES
        part = httpx.get(where, headers={"Range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, BYTES[-5:])
        assert httpx.head(where).headers["Content-Length"] == str(len(BYTES))
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.TransportError:
        return False
