"""Puts an upload together and kills itself on the way, as kill -9 does (see test_finishing); `look` tells its state."""

import hashlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from boot.images import files, finishing, uploads  # noqa: E402
from boot.images.queries import Space  # noqa: E402
from boot.models_images import ImageUpload  # noqa: E402

CONTENT = bytes(range(256)) * (finishing.AT_ONCE // 256 + 1)


def dying(names: list[str]) -> Iterator[bytes]:
    """Yield half of it and die."""
    yield CONTENT[: len(CONTENT) // 2]
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1:] == ["look"]:
        row = ImageUpload.objects.select_related("image__file").get()
        print(row.state, row.image.file.sha256 if row.image else "-")
        sys.exit()
    call_command("migrate", verbosity=0)
    upload = uploads.upload_begin(Space(None, None), path="large", size=len(CONTENT))
    uploads.upload_append(upload, io.BytesIO(CONTENT), offset=0)
    assert uploads.upload_finish_ask(upload) is None
    print(hashlib.sha256(CONTENT).hexdigest(), flush=True)
    finishing.LEASE = timedelta(seconds=2)
    files.joined = dying
    finishing.uploads_finish()
