"""What a device that has an artefact should measure on itself (docs/link-protocol.md, *Drift*)."""

import hashlib
from collections.abc import Iterable

from config_merge.engine.types import File


def measure(files: Iterable[File]) -> str:
    """Return the digest of files as a device computes it: 64 hexadecimal digits.

    >>> measure([File("etc/config/system", "0644", b"x")])[:16]
    '68c25c18269e5e05'
    """
    lines = sorted((file.path, hashlib.sha256(file.contents).hexdigest()) for file in files)
    text = "".join(f"{digest}  {path}\n" for path, digest in lines)
    return hashlib.sha256(text.encode()).hexdigest()
