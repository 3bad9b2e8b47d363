"""What the boot dialect answers, decided in one place for every server it runs under (spec part A).

Order of checks (A2): route, key present, key known, key may do this, quota, size, body, object. What is refused for its
size or body is not counted.
"""

import contextlib
import ipaddress
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from boot import boots, images, quotas, services, strangers
from boot.documents import InvalidDocument, body_of, document_of, parsed
from boot.messages import (
    FORBIDDEN,
    OK,
    READ,
    TOO_LONG,
    BootRequest,
    BootResponse,
    Key,
    refusal,
    refused,
    result,
    used_up,
)
from boot.models import BootConfig, Operation
from core.acting import Actor, acting_as
from core.clock import now
from tenancy.key_rows import key_facts
from tenancy.policy import allows
from tracking import queries as tracks
from tracking import services as tracking
from tracking.models import TrackedDevice

GLOBAL, OWN = "global", "own"
WRITTEN = {"POST": "BOOT POST", "DELETE": "BOOT DELETE"}
_OPERATIONS = {
    ("boot", "POST"): Operation.BOOT_POST,
    ("boot", "DELETE"): Operation.BOOT_DELETE,
    ("images", "GET"): Operation.IMAGE_GET,
    ("track_list", "GET"): Operation.TRACK_LIST,
    ("track", "GET"): Operation.TRACK_GET,
    ("track", "POST"): Operation.TRACK_POST,
    ("boot", "GET"): Operation.BOOT_GET,
}
# Any of them says that somebody stands between us and the client.
_FORWARDING = frozenset({"forwarded", "x-forwarded-for", "x-real-ip", "via"})


def on_lan(request: BootRequest) -> BootRequest:
    """Return a read without a key from this network as one with the key for such reads, where there is one (A5)."""
    key = settings.MUSTER.boot_lan_key
    if not key or request.key or request.method not in READ or not _is_near(request):
        return request
    return request._replace(key=key)


def _is_near(request: BootRequest) -> bool:
    """Tell whether the client itself is on this machine or a private network.

    A proxy that is not one of ours would make all the world look like a neighbour.
    """
    if request.client is None or (_FORWARDING & request.headers.keys() and not request.is_proxied):
        return False
    try:
        address = ipaddress.ip_address(request.client)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_private or address.is_link_local


def boot_of(request: BootRequest) -> boots.Boot | None:
    """Return a request that reads a boot configuration and nothing is wrong with, for `boots.answer_all`."""
    if request.route is None or request.route.name != "boot" or request.method not in READ:
        return None
    if request.is_too_large:
        return None
    return boots.Boot(request.key or "", request.route.subject, request.client)


def answer(request: BootRequest) -> BootResponse:
    """Answer any request of the dialect, doing what it takes."""
    request = on_lan(request)
    if (problem := refusal(request)) is not None:
        return problem
    assert request.route is not None  # noqa: S101 - refused above
    if request.route.name == "ping":
        return OK
    if (boot := boot_of(request)) is not None:
        return boots.answer_all([boot])[0]
    at = now()
    key = key_facts(request.key or "", at=at)
    if key is None:
        return strangers.refusal_of(request.client)
    if not _may(request, key):
        return FORBIDDEN
    boots.note_used([key.id])
    method = "GET" if request.method == "HEAD" else request.method
    operation = _OPERATIONS[request.route.name, method]
    sent = _sent(request)
    if isinstance(sent, BootResponse):
        return _used_up(operation, at) if quotas.is_used_up(key, operation, at=at) else sent
    doing = Actor(name=f"API key {key.name}", via="boot", address=request.client or "")
    # What only reads has nothing to undo, and where an image is kept may take its time to answer.
    together = contextlib.nullcontext() if request.method in READ else transaction.atomic()
    with acting_as(doing), together:
        if not quotas.admit_key(key, operation, at=at):
            return _used_up(operation, at)
        return _DOING[request.route.name, method](request, key, sent, at)


def _used_up(operation: str, at: datetime) -> BootResponse:
    return used_up(quotas.window_of(operation, at).seconds_left(at))


def _may(request: BootRequest, key: Key) -> bool:
    """Tell whether a key may do what is asked; a read-only one still writes to tracks (A2, A3)."""
    assert request.route is not None  # noqa: S101 - refused before
    match request.route.name:
        case "boot" if request.method in WRITTEN:
            action = "delete" if request.method == "DELETE" else "change"
            return not key.is_read_only and allows(key.role, action, BootConfig)
        case "track" if request.method == "POST":
            return allows(key.role, "add", TrackedDevice)
        case "images":
            return _space(request, key) is not None
    return True


def _space(request: BootRequest, key: Key) -> str | None:
    """Return the space of images that is meant: everybody's, the key's own by any of its names, or None."""
    named = request.route.subject if request.route is not None else ""
    if named == GLOBAL:
        return GLOBAL
    return OWN if named in (OWN, key.key_id, str(key.id), key.id.hex, request.key) else None


def _sent(request: BootRequest) -> Any:
    """Return what the body says, or the refusal of it."""
    assert request.route is not None  # noqa: S101 - refused before
    if request.is_too_large:
        return TOO_LONG
    if request.method != "POST":
        return None
    try:
        sent = parsed(request.body)
        if request.route.name == "boot":
            document = document_of(sent)
            body_of(document)
            return document
        info = sent.get("info") if isinstance(sent, dict) else None
        if not isinstance(info, str):
            raise InvalidDocument("info" if isinstance(sent, dict) else "")
    except InvalidDocument as error:
        return refused(error)
    return info


def _set(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    device = request.route.subject  # type: ignore[union-attr]
    services.boot_config_set(api_key_id=key.id, device=device, document=sent)
    return _tracked(key, device, WRITTEN["POST"], at)


def _delete(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    device = request.route.subject  # type: ignore[union-attr]
    services.boot_config_delete(api_key_id=key.id, device=device)
    return _tracked(key, device, WRITTEN["DELETE"], at)


def _say(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    return _tracked(key, request.route.subject, sent, at)  # type: ignore[union-attr]


def _tracked(key: Key, device: str, info: str, at: datetime) -> BootResponse:
    tracking.track(api_key_id=key.id, organization_id=key.organization_id, device=device, info=info, at=at)
    return OK


def _entries(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    return result(tracks.entries(api_key_id=key.id, device=request.route.subject))  # type: ignore[union-attr]


def _devices(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    return result(tracks.active_devices(api_key_id=key.id, at=at))


def _image(request: BootRequest, key: Key, sent: Any, at: datetime) -> BootResponse:
    space = _space(request, key) or ""
    return images.answer(request, key, space, request.route.path)  # type: ignore[union-attr]


_DOING: dict[tuple[str, str], Callable[[BootRequest, Key, Any, datetime], BootResponse]] = {
    ("boot", "POST"): _set,
    ("boot", "DELETE"): _delete,
    ("images", "GET"): _image,
    ("track_list", "GET"): _devices,
    ("track", "GET"): _entries,
    ("track", "POST"): _say,
}
