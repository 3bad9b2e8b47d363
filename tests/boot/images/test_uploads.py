"""Uploads in parts: put together, checked, resumed, refused, forgotten."""

import hashlib
import io
import itertools
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from boot.images import files, finishing, services, uploads
from boot.images.collection import files_collect
from boot.images.queries import LARGEST, Space, room_of
from boot.models_images import Image, ImageFile, ImagePart, ImageUpload
from core.clock import now
from core.errors import Conflict
from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tests.boot.images.conftest import stored

pytestmark = pytest.mark.django_db
BYTES = bytes(range(256)) * 40


def begun(space: Space, content: bytes = BYTES, path: str = "a/rootfs.sqsh", **fields: Any) -> ImageUpload:
    return uploads.upload_begin(space, path=path, size=len(content), **fields)


def sent(upload: ImageUpload, content: bytes, offset: int = 0) -> ImageUpload:
    return uploads.upload_append(upload, io.BytesIO(content), offset=offset)


def uploaded(space: Space, content: bytes = BYTES, path: str = "a/rootfs.sqsh", **fields: Any) -> Image:
    upload = begun(space, content, path, **fields)
    sent(upload, content)
    return finishing.upload_finish(upload)


def bytes_of(image: Image) -> bytes:
    with files.storage().open(image.file.name, "rb") as stream:
        return bytes(stream.read())


@options(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_however_it_is_cut_the_image_is_what_was_sent(space: Space, content: bytes, cuts: list[int]) -> None:
    Image.objects.all().delete()
    ImageUpload.objects.all().delete()
    upload = begun(space, content)
    places = sorted({min(cut, len(content)) for cut in cuts} | {0, len(content)})
    for start, stop in itertools.pairwise(places):
        assert sent(upload, content[start:stop], start).received == stop
    image = finishing.upload_finish(upload)
    assert bytes_of(image) == content
    assert (image.file.size, image.file.md5, image.file.sha256) == (
        len(content),
        hashlib.md5(content).hexdigest(),
        hashlib.sha256(content).hexdigest(),
    )


def test_nothing_is_left_of_the_parts_and_the_name_says_nothing(space: Space, media: Path) -> None:
    image = uploaded(space)
    assert stored(media) == [image.file.name]
    assert "rootfs" not in image.file.name and str(image.pk) not in image.file.name
    assert not ImagePart.objects.exists()


def test_a_part_counts_only_where_the_upload_stands(space: Space, media: Path) -> None:
    upload = begun(space)
    sent(upload, BYTES[:100])
    for offset in (0, 99, 101):
        with pytest.raises(uploads.Misplaced) as refused:
            sent(upload, BYTES[100:], offset)
        assert refused.value.received == 100
    assert len(stored(media)) == 1
    sent(upload, BYTES[100:], 100)
    assert bytes_of(finishing.upload_finish(upload)) == BYTES


def test_too_much_is_refused_and_leaves_the_upload_as_it_was(space: Space, media: Path) -> None:
    upload = begun(space)
    with pytest.raises(ValidationError, match="More than the 10,240 bytes"):
        sent(upload, BYTES + b"x")
    assert stored(media) == []
    sent(upload, BYTES)
    assert bytes_of(finishing.upload_finish(upload)) == BYTES


def test_what_breaks_off_leaves_whole_parts(space: Space, monkeypatch: Any, media: Path) -> None:
    monkeypatch.setattr(uploads, "PART", 1000)

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 2500:
                raise OSError("the client went away")
            return super().read(min(size or 0, 2500 - self.tell()))

    upload = begun(space)
    with pytest.raises(OSError, match="went away"):
        uploads.upload_append(upload, Broken(BYTES), offset=0)
    upload.refresh_from_db()
    assert upload.received == 2000
    assert len(stored(media)) == 2
    sent(upload, BYTES[2000:], 2000)
    assert bytes_of(finishing.upload_finish(upload)) == BYTES


def test_an_incomplete_upload_is_not_finished(space: Space) -> None:
    upload = begun(space)
    sent(upload, BYTES[:-1])
    with pytest.raises(Conflict, match="1 bytes have not come"):
        finishing.upload_finish(upload)


def test_finishing_twice_is_the_same_as_once(space: Space) -> None:
    upload = begun(space)
    sent(upload, BYTES)
    assert finishing.upload_finish(upload) == uploads.upload_finish(upload)
    with pytest.raises(Conflict, match="finished"):
        sent(upload, b"", 0)


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_other_bytes_than_expected_are_refused_and_removed(space: Space, media: Path, name: str) -> None:
    expected = hashlib.new(name, b"something else").hexdigest()
    upload = begun(space, **{name: expected.upper()})
    sent(upload, BYTES)
    with pytest.raises(ValidationError) as refused:
        finishing.upload_finish(upload)
    assert hashlib.new(name, BYTES).hexdigest() in refused.value.message_dict[name][0]
    assert stored(media) == [] and not Image.objects.exists() and not ImageFile.objects.exists()
    upload.refresh_from_db()
    assert upload.state == "failed" and upload.problem
    assert uploaded(space, **{name: hashlib.new(name, BYTES).hexdigest()})


def test_a_path_is_written_once(space: Space, media: Path) -> None:
    image = uploaded(space)
    assert uploaded(space) == image, "the same bytes are the same image"
    upload = begun(space, BYTES[::-1])
    sent(upload, BYTES[::-1])
    with pytest.raises(ValidationError, match="never changes"):
        finishing.upload_finish(upload)
    with pytest.raises(ValidationError, match="never changes"):
        begun(space, b"another size")
    assert bytes_of(image) == BYTES and stored(media) == [image.file.name]


def test_equal_bytes_of_an_organization_are_kept_once_and_of_two_twice(space: Space, media: Path) -> None:
    first, second = uploaded(space), uploaded(space, path="b/rootfs.sqsh")
    assert first.file == second.file and len(stored(media)) == 1
    other = factories.organization("org-b")
    key, _ = factories.api_key(factories.user(role=Role.OPERATOR, organization=other), other)
    assert uploaded(Space(other, key)).file != first.file
    services.image_delete(first)
    assert bytes_of(second) == BYTES
    services.image_delete(second)
    assert len(stored(media)) == 1 and ImageFile.objects.count() == 1


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a/.b", "a b", "a\\b", "a%2fb", "ä", "a\x00b", "a" * 256,
     "/".join("a" * 13)],
)  # fmt: skip
def test_what_is_no_path_is_refused(space: Space, path: str) -> None:
    with pytest.raises(ValidationError) as refused:
        begun(space, path=path)
    assert "path" in refused.value.message_dict


def test_an_organization_keeps_no_more_than_it_may(org: Organization, key: ApiKey, space: Space) -> None:
    services.limits_update(org, largest=1000, total=2500)
    with pytest.raises(ValidationError, match="at most 1,000"):
        begun(space, b"x" * 1001)
    uploaded(space, b"a" * 1000, "a")
    begun(space, b"b" * 1000, "b")
    with pytest.raises(ValidationError, match="500 are left of 2,500"):
        begun(space, b"c" * 501, "c")
    with pytest.raises(ValidationError, match="500 are left"):
        services.image_store(space, "d", io.BytesIO(b"d" * 501))
    assert room_of(org).left == 500
    uploaded(space, b"e" * 500, "e")
    assert room_of(Space(None, None).organization).largest == LARGEST


def test_an_upload_nobody_goes_on_with_is_removed_and_a_living_one_stays(space: Space, media: Path) -> None:
    old, young = begun(space), begun(space, path="b")
    sent(old, BYTES[:10])
    sent(young, BYTES[:10])
    # What a killed process left beside the parts that count.
    files.write(files.part_name(old.pk, 10), [b"lost"], limit=10)
    ImageUpload.objects.filter(pk=old.pk).update(modified=now() - timedelta(hours=25))
    assert uploads.uploads_collect() == 1
    assert list(ImageUpload.objects.all()) == [young]
    assert len(stored(media)) == 1
    assert sent(young, BYTES[10:], 10).received == len(BYTES)
    uploads.upload_delete(young)
    assert stored(media) == []


def test_a_finish_that_died_can_be_repeated_once_its_lease_is_over(space: Space, media: Path) -> None:
    upload = begun(space)
    sent(upload, BYTES)
    ImageUpload.objects.filter(pk=upload.pk).update(
        state="finishing", lease_until=now() + timedelta(minutes=1)
    )
    with pytest.raises(Conflict, match="being put together"):
        finishing.upload_finish(upload)
    with pytest.raises(Conflict):
        uploads.upload_delete(upload)
    ImageUpload.objects.filter(pk=upload.pk).update(lease_until=now() - timedelta(seconds=1))
    assert bytes_of(finishing.upload_finish(upload)) == BYTES


@pytest.mark.django_db(transaction=True)
def test_of_two_parts_at_once_one_counts_and_of_two_ends_one_makes_the_image(
    space: Space, media: Path
) -> None:
    upload = begun(space)
    outcomes: list[Any] = []
    together = threading.Barrier(4)

    def run(work: Any) -> None:
        together.wait()
        try:
            outcomes.append(work())
        except Conflict as error:
            outcomes.append(error)
        finally:
            connection.close()

    def at_once(work: Any) -> list[Any]:
        outcomes.clear()
        threads = [threading.Thread(target=run, args=(work,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    parts = at_once(lambda: sent(upload, BYTES))
    assert sum(isinstance(outcome, ImageUpload) for outcome in parts) == 1
    assert len(stored(media)) == 1
    ends = at_once(lambda: finishing.upload_finish(upload))
    assert {outcome.pk for outcome in ends if isinstance(outcome, Image)} == {Image.objects.get().pk}
    assert stored(media) == [Image.objects.get().file.name]


def test_a_large_image_is_never_in_memory(space: Space) -> None:
    size = 48 << 20

    class Zeros(io.RawIOBase):
        left = size

        def read(self, wanted: int = -1) -> bytes:
            given = min(wanted, self.left)
            self.left -= given
            return b"\x00" * given

    upload = uploads.upload_begin(space, path="large", size=size)
    stream: Any = Zeros()
    tracemalloc.start()
    try:
        uploads.upload_append(upload, stream, offset=0)
        image = finishing.upload_finish(upload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.file.size == size
    assert peak < 8 << 20


def test_images_of_an_organization_that_is_gone_leave_nothing(space: Space, media: Path) -> None:
    uploaded(space)
    assert space.organization is not None
    space.organization.delete()
    assert not Image.objects.exists() and len(stored(media)) == 1
    assert files_collect() == 1
    assert stored(media) == [] and not ImageFile.objects.exists()


def _iterated() -> Iterator[bytes]:
    yield b"abc"
    raise OSError("the disk is full")


def test_a_failing_storage_leaves_nothing(space: Space, media: Path) -> None:
    with pytest.raises(OSError, match="full"):
        services.image_write(space, "a", _iterated(), size=10)
    assert stored(media) == [] and not ImageFile.objects.exists() and not Image.objects.exists()
