"""Which images boot configurations name, now and in the versions that can still be brought back.

Invariant: when in doubt, an image is named. Any host counts, since a controller has many names; so does an address in a
script or the free part of a configuration, and so does a digest alone.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from boot.images import paths
from boot.models import BootVersion
from boot.models_images import Image

# Who removes images takes this turn for themselves; who writes a boot configuration shares it.
TURN = "boot.images"
_ADDRESS = re.compile(r"/images/([^/\s\"'\\]+)/([A-Za-z0-9._~+=,@/%-]+)")
Rows = Iterable[tuple[Any, UUID, str, str, str]]


@dataclass(slots=True)
class Named:
    """What configurations name: (key, path) of own images, paths of global ones, MD5 digests, and who named it."""

    own: dict[tuple[str, str], str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, body: dict[str, Any], *, key_id: str, device: str) -> None:
        """Note what one configuration names."""
        for place in ("initfs", "rootfs"):
            digest = body.get(place, {}).get("md5sum", "")
            if digest:
                self.digests.setdefault(digest, device)
        for text in _texts(body):
            for space, path in _ADDRESS.findall(text):
                # A sentence may end after an address; that names the shorter one, too.
                for name in {unquote(path), unquote(path).rstrip(".,/")}:
                    self._name(unquote(space), name, key_id, device)

    def _name(self, space: str, path: str, key_id: str, device: str) -> None:
        if space == paths.GLOBAL:
            self.shared.setdefault(path, device)
        else:
            self.own.setdefault((key_id if space == paths.OWN else space.partition(".")[0], path), device)
            # A key of another form than ours stands for itself.
            self.own.setdefault((key_id, path), device)

    def by(self, image: Image, *, key_id: str | None) -> str | None:
        """Return the device whose configuration names an image, None when there is none."""
        device = self.shared.get(image.path) if key_id is None else self.own.get((key_id, image.path))
        return device or self.digests.get(image.file.md5)


def _texts(node: Any) -> Iterator[str]:
    """Yield every text of a configuration, and what it says when it is base64."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node
        try:
            yield base64.b64decode("".join(node.split()), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return


def versions_after(seen: set[int]) -> tuple[set[int], Named]:
    """Return the ids of all versions there are, and what those not in `seen` name, with the configurations in force."""
    present = set(BootVersion.objects.values_list("pk", flat=True))
    named = Named()
    for chunk in _chunks(sorted(present - seen)):
        rows = BootVersion.objects.filter(pk__in=chunk).exclude(body="").select_related("api_key")
        for version in rows.iterator():
            named.add(version.document or {}, key_id=version.api_key.key_id, device=version.device)
    return present, named


def _chunks(keys: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(keys), 500):
        yield keys[start : start + 500]
