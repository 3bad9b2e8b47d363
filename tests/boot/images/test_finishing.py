"""Large uploads are put together by a worker: asked for at once, done once, taken up again when it dies."""

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.storage import FileSystemStorage

from boot.images import finishing, uploads
from boot.images.queries import Space
from boot.models_images import Image, ImageFile, ImagePart, ImageUpload
from core.acting import Actor, acting_as
from core.clock import now
from core.errors import Conflict
from tenancy.models import AuditEvent
from tests import factories
from tests.boot.images.conftest import stored
from tests.controller.processes import ROOT, plain_environment, running_up

pytestmark = pytest.mark.django_db
BYTES = os.urandom(10_000)


@pytest.fixture(autouse=True)
def small(monkeypatch: Any) -> None:
    """Everything of more than a thousand bytes is large."""
    monkeypatch.setattr(uploads, "AT_ONCE", 1000)
    monkeypatch.setattr(finishing, "AT_ONCE", 1000)


def sent(space: Space, content: bytes = BYTES, path: str = "large", **fields: Any) -> ImageUpload:
    upload = uploads.upload_begin(space, path=path, size=len(content), **fields)
    return uploads.upload_append(upload, io.BytesIO(content), offset=0)


def state(upload: ImageUpload) -> tuple[str, int]:
    upload.refresh_from_db()
    return upload.state, upload.checked


def test_a_large_upload_waits_for_a_worker_and_a_small_one_does_not(space: Space, media: Path) -> None:
    assert uploads.upload_finish_ask(sent(space, b"small", "small")) is not None
    upload = sent(space)
    assert uploads.upload_finish_ask(upload) is None and state(upload) == ("finishing", 0)
    assert uploads.upload_finish_ask(upload) is None, "asking again changes nothing"
    with pytest.raises(Conflict, match="being put together"):
        uploads.upload_delete(upload)
    assert finishing.uploads_finish() is False
    assert state(upload) == ("finished", len(BYTES))
    image = uploads.upload_finish_ask(upload)
    assert image == upload.image and image.file.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert not ImagePart.objects.exists() and len(stored(media)) == 2


def test_whoever_asked_made_it(space: Space) -> None:
    person = factories.user()
    upload = sent(space)
    with acting_as(Actor(name=person.username, via="rest", user_id=person.pk)):
        uploads.upload_finish_ask(upload)
    finishing.uploads_finish()
    event = AuditEvent.objects.get(action="image.created")
    assert (event.actor_name, event.actor_id) == (person.username, person.pk)


def test_what_is_wrong_is_said_by_the_upload(space: Space, media: Path) -> None:
    upload = sent(space, md5="0" * 32)
    uploads.upload_finish_ask(upload)
    finishing.uploads_finish()
    assert state(upload)[0] == "failed" and "have the MD5" in upload.problem
    assert stored(media) == [] and not ImageFile.objects.exists()
    with pytest.raises(Conflict, match="failed"):
        uploads.upload_finish_ask(upload)
    incomplete = uploads.upload_begin(space, path="b", size=5000)
    with pytest.raises(Conflict, match="have not come"):
        uploads.upload_finish_ask(incomplete)


def test_a_storage_that_fails_leaves_the_upload_to_be_finished_again(
    space: Space, monkeypatch: Any, media: Path
) -> None:
    def full(*_args: Any, **_options: Any) -> str:
        raise OSError("the disk is full")

    upload, other = sent(space), sent(space, b"x" * 2000, "other")
    for row in (upload, other):
        uploads.upload_finish_ask(row)
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", full)
        assert finishing.uploads_finish() is True
    assert state(upload)[0] == "open" and "Finish it again" in upload.problem
    finishing.uploads_finish()
    assert state(other)[0] == "finished", "the next one does not wait for it"
    uploads.upload_finish_ask(upload)
    assert state(upload)[0] == "finishing" and upload.problem == ""
    finishing.uploads_finish()
    assert state(upload)[0] == "finished"


def test_one_at_a_time_the_longest_waiting_first(space: Space) -> None:
    first, second = sent(space), sent(space, BYTES[::-1], "second")
    for row in (first, second):
        uploads.upload_finish_ask(row)
    ImageUpload.objects.filter(pk=first.pk).update(lease_until=now() + timedelta(minutes=1))
    assert finishing.uploads_finish() is False and state(second) == ("finishing", 0)
    # Whoever had the first one has died.
    ImageUpload.objects.filter(pk=first.pk).update(lease_until=now() - timedelta(seconds=1))
    assert finishing.uploads_finish() is True and state(first)[0] == "finished"
    assert finishing.uploads_finish() is False and state(second)[0] == "finished"


def test_who_lost_the_upload_writes_nothing(space: Space, media: Path) -> None:
    upload = sent(space)
    uploads.upload_finish_ask(upload)
    ImageUpload.objects.filter(pk=upload.pk).update(lease_until=now())
    lease = finishing.Lease(upload, now())
    lease.renew()
    assert lease.is_lost
    with pytest.raises(finishing._Lost):
        list(lease.counted(iter([b"abc"])))
    with pytest.raises(Conflict, match="being put together"):
        finishing._put_together(finishing._loaded(upload.pk), lease)
    assert not Image.objects.exists() and len(stored(media)) == 1
    assert state(upload)[0] == "finishing"


@pytest.mark.django_db(transaction=True)
def test_a_lease_is_renewed_and_tells_how_far_it_is(space: Space, monkeypatch: Any) -> None:
    monkeypatch.setattr(finishing, "BEAT_SECONDS", 0.02)
    upload = sent(space)
    seen = set()

    def slowly(names: Any) -> Any:
        for start in range(0, len(BYTES), 1000):
            yield BYTES[start : start + 1000]
            time.sleep(0.05)
            seen.add(ImageUpload.objects.get(pk=upload.pk).checked)

    monkeypatch.setattr(finishing.files, "joined", slowly)
    uploads.upload_finish_ask(upload)
    finishing.uploads_finish()
    assert state(upload) == ("finished", len(BYTES)) and len(seen) > 3 and max(seen) > 5000


@pytest.mark.django_db(transaction=True)
def test_a_wrong_digest_is_refused_in_the_request_too(space: Space) -> None:
    with pytest.raises(ValidationError):
        uploads.upload_finish_ask(sent(space, b"small", "small", md5="0" * 32))


@pytest.mark.slow
def test_a_worker_killed_on_the_way_is_followed_by_another(tmp_path: Path) -> None:
    """The script kills itself in the middle of the file; the next server's sweeper makes the image."""
    data = tmp_path / "data"
    environment = plain_environment(MUSTER_DATA_DIR=str(data), PYTHONPATH=str(ROOT))
    script = [sys.executable, str(Path(__file__).with_name("finish_script.py"))]
    killed = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    digest = killed.stdout.split()[-1]
    with running_up(data) as up:
        seen = [sys.executable, str(Path(__file__).with_name("finish_script.py")), "look"]

        def is_there() -> bool:
            done = subprocess.run(seen, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            return done.stdout.split() == ["finished", digest]

        up.wait_until(is_there, seconds=60)
        with contextlib.suppress(ProcessLookupError):
            up.stop()
