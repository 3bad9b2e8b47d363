"""deploy/nginx.conf as it is shipped, in a real nginx in front of a real server, on loopback ports."""

import datetime
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect

from tests.boot.house import House, running_house
from tests.controller.processes import ROOT, free_port
from tests.crash.servers import Service

pytestmark = [pytest.mark.slow, pytest.mark.services]
IMAGE = bytes(range(256)) * 2000


@dataclass
class Front:
    """Where nginx listens, what it wrote down, and the house behind it."""

    plain: str
    secure: str
    log: Path
    house: House
    key: str

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that knows no certificates."""
        return httpx.Client(base_url=self.secure, verify=False, timeout=30, **options)


def _certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (directory / "privkey.pem").write_bytes(text)


def _configured(directory: Path, *, ports: tuple[int, int], behind: str, media: Path) -> Path:
    """Write the shipped file with names of this test in it, and nginx's own around it."""
    shipped = (ROOT / "deploy/nginx.conf").read_text()
    plain, secure = ports
    for old, new in {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen [::]:80;": "",
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "listen [::]:443 ssl http2 so_keepalive=10s:5s:3;": "",
        "127.0.0.1:8001": behind,
        "server 127.0.0.1:8002;": "",
        "/etc/ssl/muster/": f"{directory}/",
        "/var/log/nginx/": f"{directory}/",
        "/var/lib/muster/media/": f"{media}/",
    }.items():
        assert old in shipped, old
        shipped = shipped.replace(old, new)
    (directory / "muster.conf").write_text(shipped)
    whole = directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    whole.write_text(
        f"{user} worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{\n{temporary}include {directory}/muster.conf;\n}}\n"
    )
    return whole


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory = tmp_path_factory.mktemp("nginx")
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "there is no nginx: .ci/run installs it"
    with running_house(
        directory / "data", MUSTER_SENDFILE_PREFIX="/media-files/", MUSTER_TRUSTED_PROXIES="127.0.0.1"
    ) as house:
        _certificate(directory)
        ports = (free_port(), free_port())
        whole = _configured(
            directory, ports=ports, behind=urlsplit(house.url).netloc, media=directory / "data/media"
        )
        checked = subprocess.run([program, "-t", "-c", whole], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        nginx = Service([program, "-c", str(whole)], ports[1], directory / "nginx.out")
        nginx.start()
        try:
            yield Front(
                f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}", directory / "muster.log", house,
                house.new_key(),
            )  # fmt: skip
        finally:
            nginx.stop(signal.SIGTERM)


def _image_at(front: Front, client: httpx.Client, path: str) -> str:
    told = client.get(f"/images/own/{path}", headers={"X-Api-Key": front.key})
    assert told.status_code == 302
    where = urlsplit(told.headers["location"])
    assert (where.scheme, where.netloc) == ("https", urlsplit(front.secure).netloc)
    assert where.path.startswith("/image-files/")
    return f"{where.path}?{where.query}"


def test_images_are_sent_by_nginx_and_only_after_muster_allowed_it(front: Front) -> None:
    made = front.house.publish(IMAGE, "v1/rootfs.sqsh", key=front.key)
    with front.client() as client:
        where = _image_at(front, client, "v1/rootfs.sqsh")
        whole = client.get(where)
        assert (whole.status_code, hashlib.md5(whole.content).hexdigest()) == (200, made["md5"])
        # Muster's own tag is the digest; nginx's says that it was nginx who sent it.
        assert whole.headers["etag"].strip('"') != made["md5"]
        head = client.head(where)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(IMAGE)))
        part = client.get(where, headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, IMAGE[1000:2000])
        assert client.get(where.partition("?")[0]).status_code == 403
        (stored,) = (path for path in (front.log.parent / "data/media").rglob("*") if path.is_file())
        name = stored.relative_to(front.log.parent / "data/media")
        assert client.get(f"/media-files/{name}").status_code == 404


def test_what_devices_ask_passes_unchanged(front: Front) -> None:
    secret = json.loads(
        front.house.manage("provision", "--organization", "agents", "--json").splitlines()[-1]
    )
    fields = {
        "secret": secret["organization"]["shared_secret"], "name": "ap", "mac_address": "02:00:00:00:00:01",
        "backend": "netjsonconfig.OpenWrt",
    }  # fmt: skip
    told = httpx.post(f"{front.plain}/controller/register/", data=fields)
    assert told.status_code == 201, told.text
    agent = dict(line.split(": ", 1) for line in told.text.splitlines())
    ask = {"key": agent["key"]}
    with front.client() as client:
        checksum = client.get(f"/controller/checksum/{agent['uuid']}/", params=ask).text
        sent = client.get(
            f"/controller/download-config/{agent['uuid']}/", params=ask, headers={"Accept-Encoding": "gzip"}
        )
    assert hashlib.md5(sent.content).hexdigest() == checksum
    assert "content-encoding" not in sent.headers
    with tarfile.open(fileobj=BytesIO(sent.content)) as archive:
        assert archive.getnames() is not None
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    hello = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"protocol": 1}}
    address = f"{front.secure.replace('https', 'wss')}/ws/device/{agent['uuid']}/"
    with connect(
        address, additional_headers={"X-Device-Key": agent["key"]}, ssl=unchecked, proxy=None
    ) as link:
        link.send(json.dumps(hello))
        assert json.loads(link.recv(timeout=20))["result"]["protocol"] == 1


def test_plain_http_leads_people_to_https_and_keeps_the_method(front: Front) -> None:
    told = httpx.post(f"{front.plain}/boot/x/config?a=1", content=b"{}")
    assert (told.status_code, told.headers["location"]) == (308, "https://127.0.0.1/boot/x/config?a=1")


def test_a_client_does_not_choose_its_address_nor_read_figures(front: Front) -> None:
    with front.client(headers={"X-Forwarded-For": "10.9.8.7"}) as client:
        posted = client.post("/track/forged", headers={"X-Api-Key": front.key}, json={"info": "here"})
        assert posted.status_code == 200, posted.text
        assert client.get("/metrics").status_code == 404
        assert client.get("/readyz").json()["status"] == "ok"
        guessed = [
            client.get("/boot/x/config", headers={"X-Api-Key": f"wrong{n}", "X-Forwarded-For": f"10.0.0.{n}"})
            for n in range(61)
        ]
    # One address asks, whatever it says.
    assert [answer.status_code for answer in guessed].count(429) >= 1


def test_no_key_is_in_the_log(front: Front) -> None:
    with front.client() as client:
        client.get(f"/images/{front.key}/nothing", headers={"X-Api-Key": front.key})
        client.get(f"/boot/x/config?apikey={front.key}")
        client.get("/healthz", params={"key": "0123456789abcdef0123456789abcdef"})
    written = front.log.read_text()
    assert '"GET /images/-/nothing" ' in written and '"GET /healthz" ' in written
    assert front.key not in written and front.key.partition(".")[2] not in written
    assert "0123456789abcdef0123456789abcdef" not in written
