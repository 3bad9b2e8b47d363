"""What `config.apply` asks of the device, checked. Source: docs/link-protocol.md.

Invariant: an Order that exists is well formed, and its address lies on the controller: the key goes nowhere else. Pure.
"""

import base64
import binascii
import math
import re
from dataclasses import dataclass

MD5 = re.compile(r"[0-9a-f]{32}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
PATH = re.compile(r"/[!-~]*\Z")
LONGEST_WORD = 64
LONGEST_PATH = 1024
LONGEST_ARCHIVE = 32_768
CONFIRM_MOST = 86_400.0


class BadParameters(ValueError):
    """The parameters of a request are not what the protocol promises; the message names the first wrong one."""


@dataclass(frozen=True)
class Order:
    """A task of the controller's. `sha256` is empty when it was not told; `confirm_within` is in seconds."""

    task: str
    attempt: int
    checksum: str
    url: str
    confirm_within: float
    sha256: str = ""
    force: bool = False


def parse_order(params: object) -> tuple[Order, bytes | None]:
    """The order and the archive that came inside it, if one did. Raises BadParameters.

    >>> params = {"task": "t", "attempt": 1, "checksum": "0" * 32, "confirm_within": 9, "url": "/a"}
    >>> order, archive = parse_order(params)
    >>> order.confirm_within, archive
    (9.0, None)
    """
    if not isinstance(params, dict):
        raise BadParameters("params is not an object")
    task, attempt, force = params.get("task"), params.get("attempt"), params.get("force", False)
    checksum, sha256, url = params.get("checksum"), params.get("sha256", ""), params.get("url")
    within = params.get("confirm_within")
    _check(isinstance(task, str) and 0 < len(task) <= LONGEST_WORD, "task")
    _check(_is_number(attempt) and int(str(attempt)) > 0, "attempt")
    _check(isinstance(checksum, str) and bool(MD5.match(checksum)), "checksum")
    _check(isinstance(sha256, str) and (not sha256 or bool(SHA256.match(sha256))), "sha256")
    _check(isinstance(url, str) and len(url) <= LONGEST_PATH, "url")
    _check(bool(PATH.match(str(url))) and not str(url).startswith("//"), "url")
    _check(_is_number(within, whole=False) and 0 < float(str(within)) <= CONFIRM_MOST, "confirm_within")
    _check(isinstance(force, bool), "force")
    order = Order(
        task=str(task),
        attempt=int(str(attempt)),
        checksum=str(checksum),
        url=str(url),
        confirm_within=float(str(within)),
        sha256=str(sha256),
        force=bool(force),
    )
    return order, _archive(params.get("archive"))


def _archive(text: object) -> bytes | None:
    if text is None:
        return None
    _check(isinstance(text, str), "archive")
    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadParameters("archive") from error
    _check(len(data) <= LONGEST_ARCHIVE, "archive")
    return data


def _is_number(value: object, *, whole: bool = True) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (not whole and isinstance(value, float) and math.isfinite(value))


def _check(condition: bool, name: str) -> None:
    if not condition:
        raise BadParameters(name)
