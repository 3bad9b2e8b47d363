"""The client's own sequences (spec A8) against a running server, over HTTP, by curl."""

import base64
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.boot.hours import stay_in_this_hour
from tests.boot.house import House, running_house
from tests.boot.pi import EMPTY, Failed, Panic, Pi, Tools, curl, status

D, OTHER = "b8:27:eb:00:00:01", "b8:27:eb:00:00:02"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the client is made of curl"),
]


@pytest.fixture(scope="module")
def muster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A first start with the demo key, as the default mode has it."""
    with running_house(tmp_path_factory.mktemp("muster") / "data") as house:
        yield house


@pytest.fixture(autouse=True)
def _one_hour() -> None:
    stay_in_this_hour(60)


@pytest.fixture
def tools(muster: House) -> Tools:
    return Tools(muster.url, muster.new_key())


@pytest.fixture
def bystander() -> Iterator["Bystander"]:
    """Another API, which answers every read with the empty configuration and notes what it was asked."""
    server = Bystander()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Bystander(http.server.ThreadingHTTPServer):
    """State: the requests that came, as method and path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Noting)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Noting(http.server.BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.server.asked.append((self.command, self.path))  # type: ignore[attr-defined]
        body = json.dumps(EMPTY).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_DELETE = _answer

    def log_message(self, *_args: Any) -> None:
        return


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of images somewhere else, such as a configuration may point to."""
    directory = tmp_path / "files"
    directory.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", directory
    server.shutdown()
    thread.join()
    server.server_close()


def published(files: tuple[str, Path]) -> dict[str, Any]:
    """Put a build's two images and its info file there; returns the members that name them."""
    url, directory = files
    members, lines = {}, ["# a build"]
    for name, file in (("initfs", "initramfs.tgz"), ("rootfs", "rootfs.sqsh")):
        content = os.urandom(200_000)
        (directory / file).write_bytes(content)
        members[name] = {"url": f"{url}/{file}", "md5sum": hashlib.md5(content).hexdigest()}
        lines += [f"{name.upper()}={members[name]['url']}", f"{name.upper()}MD5={members[name]['md5sum']}"]
    (directory / "info.sh").write_text("\n".join(lines) + "\n")
    return members


def encoded(script: str) -> str:
    return base64.b64encode(script.encode()).decode()


def test_sequences_1_to_6_and_8_an_owner_configures_a_fleet(
    muster: House, tools: Tools, files: tuple[str, Path]
) -> None:
    with pytest.raises(Failed, match="Failed getting the device config"):
        tools.show()
    assert tools.update() == '{"status": "ok"}'
    assert tools.show(D) == EMPTY
    script = "#!/bin/sh\necho hello\n"
    assert tools.update(D, from_present=True, bootcode=encoded(script), config={"autoupdate": True}) == (
        '{"status": "ok"}'
    )
    own = tools.show(D)
    assert base64.b64decode(own["bootcode"]).decode() == script and own["config"] == {"autoupdate": True}
    assert tools.show() == tools.show("third") == EMPTY
    members = published(files)
    named = tools.info(f"{files[0]}/info.sh")
    assert named == members
    tools.update(from_present=True, **named)
    assert tools.show() == EMPTY | members
    tools.update(D, from_present=True, bootcode="")
    assert tools.show(D)["bootcode"] == ""
    assert tools.list() == [D, "default", "third"]
    assert Tools(muster.url, muster.new_key()).list() == ["default"]
    with pytest.raises(Failed, match="Failed listing the tracked devices"):
        Tools(muster.url, "no-such-key").list()


def built(muster: House, recipe: str, key: str = "") -> tuple[str, dict[str, bytes]]:
    """Publish a build; returns the address of its info file and the two images."""
    folder = f"autobuild/{recipe}/2018_06_29_120000"
    images = {name: os.urandom(100_000) for name in ("initramfs.tgz", "rootfs.sqsh")}
    at = f"{muster.url}/images/{'own' if key else 'global'}/{folder}"
    lines = ["# a build", f"INFO={at}/info.sh"]
    for name, variable in (("initramfs.tgz", "INITFS"), ("rootfs.sqsh", "ROOTFS")):
        md5 = muster.publish(images[name], f"{folder}/{name}", key=key)["md5"]
        assert md5 == hashlib.md5(images[name]).hexdigest()
        lines += [f"{variable}={at}/{name}", f"{variable}MD5={md5}"]
    muster.publish("\n".join([*lines, ""]).encode(), f"{folder}/info.sh", key=key)
    return f"{at}/info.sh", images


@pytest.mark.parametrize("space", ["global", "own"])
def test_sequence_5_and_14_a_build_of_ours_is_configured_by_its_info_file_and_boots(
    muster: House, tools: Tools, space: str, tmp_path: Path
) -> None:
    info, images = built(muster, f"recipe-{space}", tools.key if space == "own" else "")
    named = tools.info(info)
    assert tools.update(**named) == '{"status": "ok"}'
    assert {name: tools.show()[name] for name in ("initfs", "rootfs")} == named
    pi = Pi(muster.url, tools.key, D, tmp_path / "pi")
    pi.boot()
    found = {file.name: file.read_bytes() for file in (tmp_path / "pi" / "images").iterdir()}
    assert found == {hashlib.md5(content).hexdigest(): content for content in images.values()}
    pi.boot()
    left = status(f"{muster.url}/images/global/nothing", "-H", f"X-Api-Key: {tools.key}")
    # Three downloads and this one of ten: what is there already is not fetched again.
    assert left[0] == 404
    codes = [
        status(f"{muster.url}/images/global/nothing", "-H", f"X-Api-Key: {tools.key}")[0] for _ in range(7)
    ]
    assert codes == [404] * 6 + [429]
    with pytest.raises(Failed):
        Tools(muster.url, "unknown").info(info)


def test_sequence_7_what_would_be_posted_is_shown_and_not_posted(
    muster: House, tools: Tools, bystander: Bystander
) -> None:
    tools.update(config={"ssh": {"pi": {"authorized_keys": ["ssh-ed25519 A"]}}})
    shown = json.loads(tools.update(from_present=True, ssh_key="ssh-ed25519 B", show_only=True))
    assert shown["config"]["ssh"]["pi"]["authorized_keys"] == ["ssh-ed25519 A", "ssh-ed25519 B"]
    assert tools.show()["config"]["ssh"]["pi"]["authorized_keys"] == ["ssh-ed25519 A"]
    said = json.loads(status(f"{muster.url}/track/default", "-H", f"X-Api-Key: {tools.key}")[2])
    assert [entry[27:] for entry in said] == ["BOOT POST", "BOOT GET", "BOOT GET"]
    elsewhere = Tools(bystander.url, "k")
    shown = json.loads(elsewhere.update(D, from_present=True, ssh_key="ssh-ed25519 B", show_only=True))
    assert shown == {**EMPTY, "config": {"ssh": {"pi": {"authorized_keys": ["ssh-ed25519 B"]}}}}
    assert bystander.asked == [("GET", f"/boot/{D}/config")]


def test_sequence_10_without_a_key_nothing_is_asked(bystander: Bystander) -> None:
    tools = Tools(bystander.url, "")
    for call in (tools.show, tools.update, tools.list, lambda: tools.update(D, from_present=True)):
        with pytest.raises(Failed, match="Error: Expecting api key"):
            call()
    assert bystander.asked == []
    # It would have noticed.
    assert Tools(bystander.url, "k").show() == EMPTY and len(bystander.asked) == 1


def test_sequence_9_the_demo_key_reads_and_tracks_and_writes_nothing(muster: House) -> None:
    demo = Tools(muster.url, "deadbeef")
    assert demo.show("testid") == EMPTY
    with pytest.raises(Failed, match="failed to update"):
        demo.update(config={"autoupdate": True})
    sent = ("-H", "X-Api-Key: deadbeef", "-d", '{"info":"the bird is the word"}')
    assert status(f"{muster.url}/track/testid", *sent)[2] == '{"status": "ok"}'
    said = status(f"{muster.url}/track/testid", "-H", "X-Api-Key: deadbeef")[2]
    assert [entry[27:] for entry in json.loads(said)] == ["BOOT GET", "the bird is the word"]


def test_sequence_11_keys_and_quotas(muster: House, tools: Tools) -> None:
    url, key = f"{muster.url}/boot/x/config", ("-H", f"x-api-key: {tools.key}")
    assert status(url)[0] == 400
    assert status(url, "-H", "X-Api-Key: wrong")[0] == 403
    posted = [status(url, *key, "-d", "{}")[0] for _ in range(11)]
    assert posted == [200] * 10 + [429]
    got = [status(url, *key)[0] for _ in range(61)]
    assert got == [200] * 60 + [429]
    code, headers, body = status(url, *key)
    assert (code, body) == (429, '{"message": "Limit Exceeded"}') and 0 < int(headers["retry-after"]) <= 3600
    assert status(url, "-H", f"X-Api-Key: {muster.new_key()}")[0] == 404
    assert status(f"{muster.url}/track/x", *key)[0] == 200


def test_sequence_12_images_through_a_redirect_that_opens_for_a_moment(
    muster: House, tools: Tools, tmp_path: Path
) -> None:
    content, other = os.urandom(200_000), muster.new_key()
    muster.publish(content, "v1/initramfs.tgz", key=tools.key)
    url, key = f"{muster.url}/images/own/v1/initramfs.tgz", ("-H", f"X-Api-Key: {tools.key}")
    code, headers, body = status(url, *key)
    assert (code, headers["content-length"], body) == (302, "0", "")
    where = headers["location"]
    assert where.startswith(f"{muster.url}/image-files/") and tools.key not in where
    got = tmp_path / "got"
    # The key goes along, as curl has it; the address needs none.
    for sent in (key, ()):
        assert curl("-f", *sent, "-o", str(got), where).returncode == 0
        assert got.read_bytes() == content
    code, headers, body = status(where, "-I")
    assert (code, headers["content-length"], body) == (200, str(len(content)), "")
    assert curl("-f", "-r", "1000-1999", "-o", str(got), where).returncode == 0
    assert got.read_bytes() == content[1000:2000]
    # An interrupted download goes on where it was.
    got.write_bytes(content[:150_000])
    assert curl("-fL", "-C", "-", *key, "-o", str(got), url).returncode == 0
    assert got.read_bytes() == content
    code, headers, _ = status(url, *key, "-I")
    assert (code, headers["content-length"]) == (302, "0")
    tampered = where.replace("initramfs.tgz", "rootfs.sqsh")
    for bad in (tampered, where.partition("?")[0], where[:-1], where.replace("expires=1", "expires=2")):
        assert status(bad, *key)[::2] == (403, '{"message": "Forbidden"}')
    for space in (other, other.partition(".")[0], "Global"):
        assert status(f"{muster.url}/images/{space}/x", *key)[::2] == (403, '{"message": "Forbidden"}')
    assert status(f"{muster.url}/images/own/v1/initramfs.tgz", "-H", f"X-Api-Key: {other}")[0] == 404
    assert [status(url, *key)[0] for _ in range(8)] == [302] * 7 + [429]
    code, headers, body = status(url, *key)
    assert (code, body) == (429, '{"message": "Limit Exceeded"}')
    ends = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    assert abs(int(headers["retry-after"]) - (ends - datetime.now(UTC)).total_seconds()) < 5
    # A used-up month closes nothing that has been opened, and nothing else.
    assert status(where, "-I")[0] == 200 and status(f"{muster.url}/track", *key)[0] == 200
    expires = int(parse_qs(urlsplit(where).query)["expires"][0])
    assert 0 < expires - time.time() <= 30
    time.sleep(max(0.0, expires - time.time()) + 0.1)
    for method in ((), ("-I",), ("-r", "0-9")):
        assert status(where, *method)[0] == 403


def test_sequence_13_a_track_keeps_ten_entries(muster: House, tools: Tools) -> None:
    url, key = f"{muster.url}/track/{D}", ("-H", f"X-Api-Key: {tools.key}")
    for number in range(11):
        assert status(url, *key, "-d", json.dumps({"info": str(number)}))[0] == 200
    entries = json.loads(status(url, *key)[2])
    assert [entry[27:] for entry in entries] == [str(number) for number in range(1, 11)]
    assert all(re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} ", entry) for entry in entries)
    status(url, *key, "-d", json.dumps({"info": "x" * 500}))
    assert len(json.loads(status(url, *key)[2])[-1]) == 256
    code, headers, _ = status(url, *key, "-X", "DELETE")
    assert (code, headers["allow"]) == (405, "GET, HEAD, POST")


def test_sequence_14_a_pi_boots(muster: House, tools: Tools, files: tuple[str, Path], tmp_path: Path) -> None:
    members = published(files)
    tools.update(**members, bootcode=encoded("echo booted > flag; echo running\n"))
    pi = Pi(muster.url, tools.key, D, tmp_path / "pi")
    pi.boot()
    assert pi.said == ["API is up", "running"] and (tmp_path / "pi" / "flag").read_text() == "booted\n"
    images = {file.name for file in (tmp_path / "pi" / "images").iterdir()}
    assert images == {members["initfs"]["md5sum"], members["rootfs"]["md5sum"]}
    tools.update(rootfs=members["rootfs"] | {"md5sum": "0" * 32}, initfs=members["initfs"])
    with pytest.raises(Panic, match="not what it should be"):
        pi.boot()
    entries = json.loads(status(f"{muster.url}/track/{D}", "-H", f"X-Api-Key: {tools.key}")[2])
    assert [entry[27:] for entry in entries] == ["BOOT GET", "BOOT GET"]


def test_sequence_16_only_a_change_of_its_own_reboots_a_device(
    muster: House, tools: Tools, files: tuple[str, Path], tmp_path: Path
) -> None:
    members = published(files)
    tools.update(**members)
    pi = Pi(muster.url, tools.key, D, tmp_path / "pi")
    pi.boot()
    assert pi.is_up_to_date()
    tools.update(OTHER, config={"autoupdate": True})
    assert pi.is_up_to_date()
    # A configuration of its own that says what the default says is the same bytes.
    tools.update(D, from_present=True)
    assert pi.is_up_to_date()
    tools.update(D, from_present=True, config={"autoupdate": True})
    assert not pi.is_up_to_date()


def test_the_page_and_ping_need_no_key_and_carry_the_time(muster: House) -> None:
    for method in ((), ("-I",)):
        code, headers, _ = status(f"{muster.url}/ping", *method)
        assert code == 200 and headers["date"].endswith("GMT")


def test_keys_stay_out_of_the_log(muster: House, tools: Tools) -> None:
    status(f"{muster.url}/boot/x/config?apiKey={tools.key}")
    status(f"{muster.url}/boot/x/config?apiKey=a-wrong-one")
    status(f"{muster.url}/images/{tools.key}/x", "-H", f"X-Api-Key: {tools.key}")
    status(f"{muster.url}/boot/x/config", "-H", f"X-Api-Key: {tools.key}", "-d", "nonsense")
    assert tools.key not in muster.up.printed and "a-wrong-one" not in muster.up.printed


def test_requests_are_counted_under_the_dialects_name(muster: House, tools: Tools) -> None:
    status(f"{muster.url}/boot/x/config", "-H", f"X-Api-Key: {tools.key}")
    page = status(f"{muster.url}/metrics")[2]
    assert re.search(r'muster_http_requests_total\{dialect="boot",method="GET",status="4xx"\} [1-9]', page)
    assert 'muster_http_request_duration_seconds_count{dialect="boot"}' in page


def test_sequence_15_a_lan_without_keys(tmp_path: Path, files: tuple[str, Path]) -> None:
    """The key is named before it exists: a text of the owner's choice, imported like any fleet's."""
    key = "lan-3b1f6f3e-0d5b"
    with running_house(tmp_path / "data", MUSTER_BOOT_LAN_KEY=key, MUSTER_DEMO_KEY="no") as house:
        url = f"{house.url}/boot/23:45:34:33:33:12/config"
        assert status(url)[0] == 403
        assert status(url, "-H", "X-Api-Key: deadbeef")[0] == 403
        house.manage("import_api_key", "--organization", "demo", "--user", "admin", sent=key + "\n")
        Tools(house.url, key).update(**published(files))
        code, _, body = status(url)
        assert code == 200
        for name in ("initfs", "rootfs"):
            image = json.loads(body)[name]
            file = tmp_path / name
            subprocess.run(["curl", "-fsk", "-o", str(file), image["url"]], check=True)
            assert hashlib.md5(file.read_bytes()).hexdigest() == image["md5sum"]
        assert status(url, "-d", "{}")[0] == 400
        assert status(url, "-H", "X-Forwarded-For: 8.8.8.8")[0] == 400
