"""The wire protocol without the wire: builds requests, reads answers. Source: spec/openwisp.md, 1A.1 to 1A.9.

Invariant: pure. No socket, clock, file or randomness; equal arguments give equal requests.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from muster_agent.settings import Facts, PathStyle

CONTROLLER_HEADER = "x-openwisp-controller"
POLL_HINT_HEADER = "x-muster-poll-after"
KEY_HEADER = "X-Device-Key"
REASON_BYTES = 1011
TRUNCATED = "\n[truncated]"
MD5 = re.compile(r"[0-9a-f]{32}\Z")

Outcome = Literal["applied", "failed", "rolled_back"]
OUTCOMES: tuple[Outcome, ...] = ("applied", "failed", "rolled_back")


@dataclass(frozen=True)
class Request:
    """One HTTP exchange to make. `form` is sent urlencoded when it is not None."""

    method: Literal["GET", "POST"]
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Response:
    """One HTTP answer. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def is_controllers(self) -> bool:
        """Whether the answer carries the mark every controller puts on its own answers."""
        return self.headers.get(CONTROLLER_HEADER, "").strip().lower() == "true"

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Identity:
    """What registration gave: the device's id (32 hex) and its key."""

    uuid: str
    key: str = field(repr=False)
    hostname: str = ""


@dataclass(frozen=True)
class Registered:
    """A parsed 201."""

    identity: Identity
    is_new: bool


class MalformedAnswer(ValueError):
    """The controller's answer lacks what the protocol promises."""


def consistent_key(*, mac: str, hardware_id: str, use_hardware_id: bool, secret: str) -> str:
    """The key a device can compute again after a factory reset: md5(base "+" secret), 1A.8.

    >>> consistent_key(mac="00:11:22:33:44:55", hardware_id="", use_hardware_id=True, secret="s")
    '517e89f35108b9c0be99179168ad2b24'
    """
    base = hardware_id if use_hardware_id and hardware_id else mac
    return hashlib.md5(f"{base}+{secret}".encode(), usedforsecurity=False).hexdigest()


def device_name(*, hostname: str, mac: str, default_hostname: str = "") -> str:
    """The name to register: the MAC where the hostname says nothing (1A.9 step 2).

    >>> device_name(hostname="OpenWrt", mac="00:11:22:33:44:55")
    '00:11:22:33:44:55'
    """
    if (
        not hostname
        or hostname.lower() == "openwrt"
        or default_hostname == "*"
        or hostname == default_hostname
    ):
        return mac
    return hostname


def _path(base: str, style: PathStyle, name: str, uuid: str = "") -> str:
    prefix = "controller/device" if style == "new" else "controller"
    tail = f"{uuid}/" if uuid else ""
    return f"{base.rstrip('/')}/{prefix}/{name}/{tail}"


def register_request(
    *, base: str, style: PathStyle, facts: Facts, backend: str, secret: str, key: str, management_ip: str
) -> Request:
    """1A.8. Empty values are left out; `key` is empty when consistent keys are off."""
    fields = (
        ("backend", backend),
        ("key", key),
        ("management_ip", management_ip),
        ("secret", secret),
        ("name", facts.name),
        ("hardware_id", facts.hardware_id),
        ("mac_address", facts.mac),
        ("tags", facts.tags),
        ("model", facts.model),
        ("os", facts.os),
        ("system", facts.system),
    )
    form = tuple((name, value) for name, value in fields if value)
    return Request(method="POST", url=_path(base, style, "register"), form=form)


def _poll(
    base: str, style: PathStyle, name: str, identity: Identity, management_ip: str, etag: str
) -> Request:
    query = [("key", identity.key)]
    if management_ip:
        query.append(("management_ip", management_ip))
    headers = [(KEY_HEADER, identity.key)]
    if etag:
        headers.append(("If-None-Match", etag))
    url = f"{_path(base, style, name, identity.uuid)}?{urlencode(query)}"
    return Request(method="GET", url=url, headers=tuple(headers))


def checksum_request(
    *, base: str, style: PathStyle, identity: Identity, management_ip: str = "", etag: str = ""
) -> Request:
    """1A.4."""
    return _poll(base, style, "checksum", identity, management_ip, etag)


def download_request(
    *, base: str, style: PathStyle, identity: Identity, management_ip: str = "", etag: str = ""
) -> Request:
    """1A.5."""
    return _poll(base, style, "download-config", identity, management_ip, etag)


def task_download_request(*, base: str, identity: Identity, url: str) -> Request:
    """A download from the path a task names, below the controller's address."""
    query = f"{'&' if '?' in url else '?'}{urlencode([('key', identity.key)])}"
    headers = ((KEY_HEADER, identity.key),)
    return Request(method="GET", url=f"{base.rstrip('/')}{url}{query}", headers=headers)


def link_address(*, base: str, identity: Identity) -> str:
    """Where the link is dialled.

    >>> link_address(base="https://muster.example/", identity=Identity(uuid="0a", key="k"))
    'wss://muster.example/ws/device/0a/'
    """
    scheme, _, rest = base.rstrip("/").partition("://")
    return f"{'wss' if scheme.lower() == 'https' else 'ws'}://{rest}/ws/device/{identity.uuid}/"


def report_request(
    *,
    base: str,
    style: PathStyle,
    identity: Identity,
    outcome: Outcome,
    checksum: str,
    reason: str = "",
    task: str = "",
) -> Request:
    """1A.6, which has one word, `error`, for all that is not `applied`. `reason` must already be cut by `error_reason`.

    The checksum of what was applied or refused goes along, so that a controller whose configuration moved on meanwhile
    does not take this for a word about the new one, and so do the outcome in full and the task it ends; controllers
    that do not know these parameters pass over them.
    """
    status = "applied" if outcome == "applied" else "error"
    form = [("key", identity.key), ("status", status), ("checksum", checksum), ("outcome", outcome)]
    if task:
        form.append(("task", task))
    if status == "error" and reason:
        form.append(("error_reason", reason))
    url = _path(base, style, "report-status", identity.uuid)
    return Request(method="POST", url=url, headers=((KEY_HEADER, identity.key),), form=tuple(form))


def update_info_request(*, base: str, style: PathStyle, identity: Identity, facts: Facts) -> Request:
    """1A.7."""
    form = (("key", identity.key), ("model", facts.model), ("os", facts.os), ("system", facts.system))
    url = _path(base, style, "update-info", identity.uuid)
    return Request(method="POST", url=url, headers=((KEY_HEADER, identity.key),), form=form)


def parse_registration(response: Response) -> Registered:
    """Read the body of a 201. Raises MalformedAnswer when uuid or key is missing or unusable."""
    values: dict[str, str] = {}
    for line in response.text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].endswith(":"):
            values.setdefault(words[0][:-1], words[1])
    uuid, key = values.get("uuid", ""), values.get("key", "")
    # The uuid becomes part of a path: nothing but the two known spellings may pass.
    if not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) or not key:
        raise MalformedAnswer("registration answer without a usable uuid and key")
    identity = Identity(uuid=uuid, key=key, hostname=values.get("hostname", ""))
    return Registered(identity=identity, is_new=values.get("is-new") == "1")


def parse_checksum(response: Response) -> str:
    """The md5 in the last line of a 200. Raises MalformedAnswer."""
    lines = response.text.splitlines()
    checksum = lines[-1].strip().lower() if lines else ""
    if not MD5.match(checksum):
        raise MalformedAnswer("checksum answer is not 32 hexadecimal digits")
    return checksum


def poll_hint(response: Response, *, longest: float) -> float | None:
    """Seconds to wait before the next poll, between 1 and `longest`; None without a hint."""
    try:
        seconds = float(response.headers.get(POLL_HINT_HEADER, ""))
    except ValueError:
        return None
    return min(max(seconds, 1.0), longest) if seconds == seconds else None


def error_reason(text: str) -> str:
    """`text` cut to 1011 bytes plus a mark (1A.9 step 9), never inside a character.

    >>> len(error_reason("x" * 2000).encode())
    1023
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= REASON_BYTES:
        return raw.decode()
    return raw[:REASON_BYTES].decode("utf-8", "ignore") + TRUNCATED
