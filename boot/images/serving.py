"""How images go out: a redirect that opens for half a minute, and the files behind the redirects of this machine.

Invariant: a redirect's target asks for nothing but its signature; a key that is sent along is not looked at.
"""

import re
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from boot.images import files, paths, signing
from boot.messages import FORBIDDEN, NOT_FOUND, BootRequest, BootResponse, Key
from boot.models_images import Image, ImageFile
from core.streaming import Streamed

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def answer(request: BootRequest, key: Key, space: str, path: str) -> BootResponse:
    """Answer a GET or HEAD of an image. The key is known, its quota counted, and the space its own or everybody's.

    `space` is `global` or `own`, `path` what follows it, decoded. One query.
    """
    if not paths.is_path(path):
        return NOT_FOUND
    image = (
        Image.objects.select_related("file")
        .filter(key=None if space == paths.GLOBAL else key.id, path=path)
        .only("path", "content_type", "file__name", "file__state")
        .first()
    )
    if image is None:
        return NOT_FOUND
    location = location_of(image, method=request.method, origin=request.origin)
    return BootResponse(302, b"", (("Location", location), ("Cache-Control", "no-store")))


def location_of(image: Image, *, method: str, origin: str) -> str:
    """Return an absolute address from which an image may be had for half a minute, with GET or with HEAD.

    In a bucket it is the bucket's own, signed for that one method; on disk it is ours, below `origin`.
    """
    name = image.path.rpartition("/")[2]
    if files.is_on_disk():
        return origin + signing.signed_path(image.file_id, name)
    location: str = files.storage().url(
        image.file.name,
        parameters={"ResponseContentType": image.content_type},
        expire=signing.LIFETIME,
        http_method="HEAD" if method == "HEAD" else "GET",
    )
    return location


def origin_of(request: Any) -> str:
    """Return scheme and host that links to this controller begin with: the installation's own, or the request's."""
    public: str = settings.MUSTER.public_url
    return public.rstrip("/") or request.build_absolute_uri("/").rstrip("/")


@csrf_exempt
def signed_file(request: HttpRequest, identifier: str, name: str) -> HttpResponseBase:
    """Serve a file to whoever has its signed address: GET and HEAD, whole or one range."""
    if request.method not in ("GET", "HEAD"):
        refused = _said(405, b'{"message": "Method Not Allowed"}')
        refused["Allow"] = "GET, HEAD"
        return refused
    given, identity = request.GET, UUID(identifier)
    if not signing.is_valid(identity, name, given.get("expires", ""), given.get("signature", "")):
        return _said(403, FORBIDDEN.body)
    found = ImageFile.objects.filter(pk=identity, state=ImageFile.State.READY).first()
    if found is None or not files.is_on_disk():
        return _said(404, NOT_FOUND.body)
    return _sent(request, found, content_type=paths.content_type_of(name))


def _said(status: int, body: bytes) -> HttpResponse:
    response = HttpResponse(body, status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


def _sent(request: HttpRequest, found: ImageFile, *, content_type: str) -> HttpResponseBase:
    """Answer with the file, the range that was asked for, or the word that the caller has it."""
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{found.md5}"',
        "Cache-Control": "private, max-age=0",
        "Content-Type": content_type,
    }
    if settings.MUSTER.sendfile_prefix:
        # nginx reads ranges and conditions itself.
        accelerated = {"X-Accel-Redirect": settings.MUSTER.sendfile_prefix + found.name}
        return HttpResponse(headers=headers | accelerated)
    if request.headers.get("If-None-Match", "") == headers["ETag"]:
        return HttpResponse(status=304, headers=headers)
    wanted = _wanted(request, found, etag=headers["ETag"])
    if wanted is None:
        headers |= {"Content-Range": f"bytes */{found.size}", "Content-Length": "0"}
        return HttpResponse(status=416, headers=headers)
    start, stop = wanted
    headers["Content-Length"] = str(stop - start)
    is_part = (start, stop) != (0, found.size)
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
    status = 206 if is_part else 200
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers)
    try:
        stream: Any = files.storage().open(found.name, "rb")
    except FileNotFoundError:
        return _said(404, NOT_FOUND.body)
    return Streamed(files.Portion(stream, start=start, length=stop - start), status=status, headers=headers)


def _wanted(request: HttpRequest, found: ImageFile, *, etag: str) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that are asked for, None when there are no such (RFC 9110).

    What is no single range of bytes, or is about other bytes (`If-Range`), is a request for everything.
    """
    everything = (0, found.size)
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    condition = request.headers.get("If-Range", etag)
    if request.method != "GET" or asked is None or asked.groups() == ("", "") or condition != etag:
        return everything
    first, last = asked.groups()
    if not first:
        length = min(int(last), found.size)
        return (found.size - length, found.size) if length else None
    start, stop = int(first), min(int(last) + 1, found.size) if last else found.size
    if last and int(last) < start:
        return everything
    return (start, stop) if start < found.size else None
