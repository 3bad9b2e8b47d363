"""The boot configuration as a document: what is accepted, and the bytes it is served as.

Pure. Invariant: every member is always there in the type that the client's scripts expect, since they execute what they
find (spec/cattlepi_ignitenet.md A3, A6); equal documents are equal bytes.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from core.canonical import spaced_json

IMAGES = ("initfs", "rootfs")
SCRIPTS = ("bootcode", "usercode")
MEMBERS = ("bootcode", "config", "initfs", "rootfs", "usercode")
INVALID = "Invalid request body"
# It becomes a file's name on the device.
_MD5 = re.compile(r"[0-9a-f]{32}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Whoever walks through a configuration does so by recursion; no file of settings needs a tenth of it.
DEEPEST = 100
_BLANK = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff]")


class InvalidDocument(ValueError):
    """A document that cannot be served; `member` names what is wrong, empty for the whole, `reason` why."""

    def __init__(self, member: str = "", reason: str = "") -> None:
        super().__init__(f"{INVALID}: {member}" if member else INVALID)
        self.member = member
        self.reason = reason or "This is not what a boot configuration consists of."


def _no_constant(name: str) -> Any:
    raise InvalidDocument("", f"{name} is no JSON.")


def parsed(raw: bytes) -> Any:
    """Return what JSON text says. Raises InvalidDocument for everything else, also what nests too deep."""
    try:
        return json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument from error


def document_of(sent: Any) -> dict[str, Any]:
    """Return the five members of what was sent, each of them set; unknown ones are left out. Raises InvalidDocument."""
    if not isinstance(sent, Mapping):
        raise InvalidDocument
    document: dict[str, Any] = {name: _image(name, sent.get(name)) for name in IMAGES}
    document |= {name: _script(name, sent.get(name)) for name in SCRIPTS}
    config = sent.get("config")
    document["config"] = {} if config is None else _checked(config)
    return document


def _checked(config: Any) -> Any:
    """Return the free part of a configuration, which can be shown, searched and served by everybody."""
    level, depth = [config], 0
    while level:
        if depth == DEEPEST and any(isinstance(item, Mapping | list) for item in level):
            raise InvalidDocument("config", f"It is nested more than {DEEPEST} levels deep.")
        if any(isinstance(item, str) and _SURROGATE.search(item) for item in level):
            raise InvalidDocument("config", "Half of a surrogate pair is no text.")
        level, depth = [below for item in level for below in _below(item)], depth + 1
    return config


def _below(item: Any) -> Iterable[Any]:
    if isinstance(item, Mapping):
        return chain(item.keys(), item.values())
    return item if isinstance(item, list) else ()


def body_of(document: Mapping[str, Any]) -> str:
    """Return the text that a document is stored and served as. Raises InvalidDocument."""
    try:
        return spaced_json(document).decode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument("config") from error


def _image(name: str, sent: Any) -> dict[str, str]:
    # The original's page says that what is missing is an empty string; who sends back what it says means this.
    given = {} if sent is None or sent == "" else sent
    if not isinstance(given, Mapping):
        raise InvalidDocument(name)
    url, md5sum = (_text(f"{name}.{member}", given.get(member)) for member in ("url", "md5sum"))
    if url and not _is_url(url):
        raise InvalidDocument(f"{name}.url", "Enter an absolute URL with http or https.")
    if md5sum and not _MD5.fullmatch(md5sum):
        raise InvalidDocument(f"{name}.md5sum", "Enter 32 hexadecimal digits in lower case.")
    return {"url": url, "md5sum": md5sum}


def _text(member: str, sent: Any) -> str:
    if sent is None:
        return ""
    if not isinstance(sent, str):
        raise InvalidDocument(member)
    return sent


def _is_url(text: str) -> bool:
    if _BLANK.search(text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _script(name: str, sent: Any) -> str:
    text = _text(name, sent)
    try:
        script_of(text)
    except ValueError as error:
        raise InvalidDocument(name, "Enter standard base64.") from error
    return text


def script_of(encoded: str) -> bytes:
    """Return the script that a member holds; line ends within base64 are passed over. Raises ValueError.

    >>> script_of("IyEv\\nYmlu")
    b'#!/bin'
    """
    joined = encoded.replace("\n", "").replace("\r", "")
    if not _BASE64.fullmatch(joined):
        raise ValueError("not base64")
    try:
        return base64.b64decode(joined, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def encoded(script: bytes) -> str:
    """Return the member that holds a script, empty for an empty one.

    >>> encoded(b"#!/bin")
    'IyEvYmlu'
    """
    return base64.b64encode(script).decode("ascii")
