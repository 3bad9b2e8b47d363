"""What is collected: what no configuration names, and never what one does, even one that is being written."""

import base64
import io
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from boot.images import collection, paths, services
from boot.images.queries import Space
from boot.models_images import Image
from boot.services import VERSIONS, boot_config_delete, boot_config_set
from core.clock import now
from core.errors import Conflict
from tenancy.models import ApiKey, Organization
from tests import factories
from tests.boot.images.conftest import stored

pytestmark = pytest.mark.django_db
GLOBAL = Space(None, None)


def old(space: Space, path: str, content: bytes = b"") -> Image:
    """Store an image that has been there for a year."""
    image = services.image_store(space, path, io.BytesIO(content or path.encode()))
    Image.objects.filter(pk=image.pk).update(created=now() - timedelta(days=365))
    return image


def configured(key: ApiKey, device: str = "default", **document: Any) -> None:
    boot_config_set(api_key_id=key.pk, device=device, document=document)


def rootfs(url: str = "", md5sum: str = "") -> dict[str, str]:
    return {"url": url, "md5sum": md5sum}


def left() -> set[str]:
    return set(Image.objects.values_list("path", flat=True))


def named_by_script(url: str) -> str:
    return base64.b64encode(f"#!/bin/sh\ncurl -fsSL '{url}' | sh\n".encode()).decode()


@pytest.mark.parametrize(
    "document",
    [
        lambda url: {"rootfs": rootfs(url)},
        lambda url: {"initfs": rootfs(url)},
        lambda url: {"bootcode": named_by_script(url)},
        lambda url: {"usercode": named_by_script(url)},
        lambda url: {"config": {"deep": [{"er": f"see {url}."}]}},
    ],
)
@pytest.mark.parametrize("word", ["own", "id"])
def test_an_image_that_is_named_anywhere_stays(space: Space, key: ApiKey, document: Any, word: str) -> None:
    old(space, "v1/rootfs.sqsh")
    old(space, "v1/unnamed")
    named = key.key_id if word == "id" else word
    configured(key, **document(f"https://any.example.org/images/{named}/v1/rootfs.sqsh"))
    assert [image.path for image in collection.images_collect(days=30).images] == ["v1/unnamed"]
    assert left() == {"v1/rootfs.sqsh"}
    with pytest.raises(Conflict, match="default names this image"):
        services.image_delete(Image.objects.get())


def test_a_digest_alone_names_an_image(space: Space, key: ApiKey) -> None:
    image = old(space, "a")
    configured(key, rootfs=rootfs("http://elsewhere/x", image.file.md5))
    assert collection.images_collect(days=30).images == ()


def test_global_images_are_named_by_anybody_and_own_ones_by_their_own(space: Space, key: ApiKey) -> None:
    other = factories.organization("org-b")
    stranger, _ = factories.api_key(factories.user(role="operator", organization=other), other)
    old(GLOBAL, "everybodys")
    old(space, "mine")
    configured(
        stranger,
        rootfs=rootfs("http://x/images/global/everybodys"),
        initfs=rootfs("http://x/images/own/mine"),
    )
    collection.images_collect(days=30)
    assert left() == {"everybodys"}


def test_a_version_that_can_be_brought_back_names_its_images(space: Space, key: ApiKey) -> None:
    old(space, "v1")
    configured(key, rootfs=rootfs("http://x/images/own/v1"))
    configured(key, rootfs=rootfs("http://x/images/own/v2"))
    boot_config_delete(api_key_id=key.pk, device="default")
    assert collection.images_collect(days=30).images == ()
    for number in range(VERSIONS):
        configured(key, config={"n": number})
    assert len(collection.images_collect(days=30).images) == 1


def test_a_build_goes_or_stays_as_a_whole(space: Space, key: ApiKey) -> None:
    kept, lost = (paths.folder_of("stock", number) for number in ("2020_01_01_000000", "2020_01_02_000000"))
    for folder in (kept, lost):
        for name in paths.PARTS:
            old(space, folder + name)
    configured(key, initfs=rootfs(f"http://x/images/own/{kept}initramfs.tgz"))
    collection.images_collect(days=30)
    assert left() == {kept + name for name in paths.PARTS}


def test_young_images_stay_and_zero_days_keep_all(space: Space, media: Any) -> None:
    old(space, "old")
    services.image_store(space, "young", io.BytesIO(b"young"))
    assert collection.images_collect(days=0).images == ()
    would = collection.images_collect(days=30, dry_run=True)
    assert [image.path for image in would.images] == ["old"] and would.size == 3
    assert left() == {"old", "young"}
    collected = collection.images_collect(days=30)
    assert (len(collected.images), collected.size) == (1, 3)
    assert left() == {"young"} and len(stored(media)) == 1


def test_the_command_says_what_goes(space: Space, key: ApiKey, capsys: Any) -> None:
    image = old(space, "old")
    call_command("collect_images", "--dry-run", "--days", "30")
    said = capsys.readouterr().out
    assert f"{key.key_id}/old\t3\t{image.file.md5}" in said and "1 images, 3 bytes would go" in said
    assert left() == {"old"}
    call_command("collect_images", "--days", "30")
    assert "1 images, 3 bytes removed" in capsys.readouterr().out
    assert left() == set()


@pytest.mark.django_db(transaction=True)
def test_a_configuration_written_while_images_are_collected_keeps_its_image(
    space: Space, key: ApiKey
) -> None:
    old(space, "v1")
    old(space, "v2")
    collected = collection.images_collect(
        days=30, between=lambda: configured(key, rootfs=rootfs("http://x/images/own/v1"))
    )
    assert [image.path for image in collected.images] == ["v2"] and left() == {"v1"}


@pytest.mark.django_db(transaction=True)
def test_a_configuration_that_has_not_committed_yet_keeps_its_image(
    space: Space, key: ApiKey, org: Organization
) -> None:
    """On SQLite the writer has the database for itself; on PostgreSQL the removal waits for its turn."""
    old(space, "v1")
    written, looked = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                configured(key, rootfs=rootfs("http://x/images/own/v1"))
                written.set()
                looked.wait(1)
        finally:
            connection.close()

    thread = threading.Thread(target=write)

    def between() -> None:
        thread.start()
        assert written.wait(10)

    collected = collection.images_collect(days=30, between=between)
    looked.set()
    thread.join()
    assert collected.images == () and left() == {"v1"}
