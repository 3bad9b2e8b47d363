"""A boot configuration as people read, edit and compare it: scripts as text, secrets as marks, size against the limit.

Invariant: what people save passes the same checks as what devices send, and is never too large for a device's own tools
to send back.
"""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from boot.documents import IMAGES, SCRIPTS, encoded, script_of
from boot.messages import BODY_LIMIT
from boot.services import checked_body
from core.redaction import MARK, mark_of, redacted, redacted_text, restored

# Base64 of a file of passwords; the client writes it to the boot partition.
SECRET_NAMES = frozenset({"wpa_supplicant"})
HOLDS_MARKS = (
    "This holds marks of secrets that you may not see: leave it as it was, or write the secrets themselves."
)
TOO_LONG = "The whole configuration has {size:,} bytes; devices take at most {limit:,}."
_KEY = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{8}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])|(?<=apiKey=)[^&#\s]+")
EMPTY: Mapping[str, Any] = {
    "initfs": {"url": "", "md5sum": ""},
    "rootfs": {"url": "", "md5sum": ""},
    "bootcode": "",
    "usercode": "",
    "config": {},
}


def script_text(member: str) -> str:
    """Return a script as text; bytes that are no UTF-8 are marks of replacement.

    >>> script_text("ZWNobyBoaQo=")
    'echo hi\\n'
    """
    return script_of(member).decode("utf-8", "replace")


def is_text(member: str) -> bool:
    """Tell whether a script is text, so that editing it as text loses nothing."""
    try:
        script_of(member).decode()
    except ValueError:
        return False
    return True


def script_member(text: str) -> str:
    """Return the member of a script that was typed into a form; line ends are those of Unix."""
    return encoded(text.replace("\r\n", "\n").replace("\r", "\n").encode())


def size_of(document: Mapping[str, Any]) -> int:
    """Return how many bytes of the limit a document takes. Raises ValidationError."""
    return len(checked_body(document))


def check_size(document: Mapping[str, Any]) -> None:
    """Refuse what devices could not take. Raises ValidationError."""
    size = size_of(document)
    if size > BODY_LIMIT:
        raise ValidationError(TOO_LONG.format(size=size, limit=BODY_LIMIT))


def hidden(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with marks instead of its secrets: passwords, private keys, API keys in addresses."""
    shown: dict[str, Any] = {}
    for name in IMAGES:
        url = _KEY.sub(lambda found: mark_of(found.group()), document[name]["url"])
        shown[name] = {**document[name], "url": url}
    for name in SCRIPTS:
        text = script_text(document[name])
        veiled = _KEY.sub(lambda found: mark_of(found.group()), redacted_text(text))
        shown[name] = document[name] if veiled == text else encoded(veiled.encode())
    shown["config"] = redacted(document["config"], names=SECRET_NAMES)
    return shown


def put_back(sent: Mapping[str, Any], *, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was sent with the stored secrets instead of their marks. Raises ValidationError by member."""
    shown, found = hidden(stored), dict(sent)
    for name in (*IMAGES, *SCRIPTS):
        if name not in found:
            continue
        if found[name] == shown[name]:
            found[name] = stored[name]
        elif _has_mark(found[name]):
            raise ValidationError({name: HOLDS_MARKS})
    if "config" in found:
        try:
            found["config"] = restored(found["config"], stored=stored["config"], names=SECRET_NAMES)
        except ValidationError as error:
            raise ValidationError({"config": error.messages}) from error
    return found


def _has_mark(member: Any) -> bool:
    if isinstance(member, Mapping):
        return any(map(_has_mark, member.values()))
    if not isinstance(member, str):
        return False
    try:
        return bool(MARK.search(member) or MARK.search(script_text(member)))
    except ValueError:
        return bool(MARK.search(member))


def readable(document: Mapping[str, Any] | None) -> str:
    """Return a document as text to read and compare; nothing of one that is not there."""
    if document is None:
        return ""
    plain = {name: value for name, value in document.items() if name not in SCRIPTS}
    text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    for name in SCRIPTS:
        script = script_text(document[name])
        text += f"--- {name}\n{script}" + ("" if script.endswith("\n") or not script else "\n")
    return text


def difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, *, names: tuple[str, str]
) -> str:
    """Return what differs, as a unified diff; empty when nothing does."""
    lines = difflib.unified_diff(
        readable(before).splitlines(keepends=True), readable(after).splitlines(keepends=True), *names
    )
    return "".join(lines)


def free_text(document: Mapping[str, Any]) -> str:
    """Return the free part of a document as text."""
    return json.dumps(document["config"], indent=2, sort_keys=True, ensure_ascii=False)
