"""Images in a bucket, on a real S3 server: moto's, listening on loopback."""

import hashlib
import io
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from boto3.s3.transfer import TransferConfig
from django.test import Client
from pytest_django import Settings

from boot.images import collection, files, finishing, services, uploads
from boot.images.queries import Space
from boot.models_images import Image, ImageUpload
from controller import databases
from controller.env import Environment
from core.clock import now
from tenancy.models import Organization, Role
from tests import factories
from tests.controller.processes import free_port, plain_environment

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
BYTES = bytes(range(256)) * 5000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=plain_environment(), **quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/moto-api/")
                break
            except httpx.TransportError:
                assert process.poll() is None
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(server: str, settings: Settings) -> Iterator[Any]:
    """A bucket of our own, and the settings a deployment would have with it."""
    secrets = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "never-shown"}
    found = boto3.resource("s3", endpoint_url=server, region_name="us-east-1", **secrets).Bucket("images")
    found.create()
    environment = Environment.from_mapping(
        {
            "MUSTER_S3_BUCKET": "images",
            "MUSTER_S3_ENDPOINT": server,
            "MUSTER_S3_REGION": "us-east-1",
            "MUSTER_S3_ACCESS_KEY": "AKIATEST",
            "MUSTER_S3_SECRET_KEY": "never-shown",
            "MUSTER_S3_PREFIX": "house",
        }
    )
    storage = databases.file_storage(environment)
    # boto3 reads up to ten parts of 8 MiB ahead, as many as the network is slow: with two, what we hold shows.
    storage["OPTIONS"]["transfer_config"] = ahead = TransferConfig()
    ahead.max_in_memory_upload_chunks = 2
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    yield found
    found.objects.all().delete()
    found.delete()


def keys(bucket: Any) -> list[str]:
    return [found.key for found in bucket.objects.all()]


def test_an_image_is_uploaded_in_parts_downloaded_by_its_redirect_and_removed(
    bucket: Any, org: Organization
) -> None:
    key, text = factories.api_key(factories.user(role=Role.OPERATOR, organization=org), org)
    space = Space(org, key)
    upload = uploads.upload_begin(space, path="v1/rootfs.sqsh", size=len(BYTES))
    for start in range(0, len(BYTES), 500_000):
        uploads.upload_append(upload, io.BytesIO(BYTES[start : start + 500_000]), offset=start)
    assert len(keys(bucket)) == 3 and all(key.startswith("house/uploads/") for key in keys(bucket))
    image = finishing.upload_finish(upload)
    assert keys(bucket) == [f"house/{image.file.name}"]
    assert image.file.md5 == hashlib.md5(BYTES).hexdigest()

    for method in ("GET", "HEAD"):
        redirect: Any = Client().generic(method, "/images/own/v1/rootfs.sqsh", headers={"X-Api-Key": text})
        assert redirect.status_code == 302 and redirect["Content-Length"] == "0"
        where = redirect["Location"]
        assert "X-Amz-Expires=30" in where and "X-Amz-Signature=" in where
        assert "never-shown" not in where and text not in where
        # The client sends its key along; the bucket has no use for it.
        there = httpx.request(method, where, headers={"X-Api-Key": text})
        assert there.status_code == 200
        assert there.headers["Content-Length"] == str(len(BYTES))
        assert there.content == (BYTES if method == "GET" else b"")
    part = httpx.get(
        Client().get("/images/own/v1/rootfs.sqsh", headers={"X-Api-Key": text})["Location"],
        headers={"Range": "bytes=1000-1999"},
    )
    assert (part.status_code, part.content) == (206, BYTES[1000:2000])

    services.image_delete(image)
    assert keys(bucket) == []


def test_what_is_refused_abandoned_or_unnamed_leaves_nothing_in_the_bucket(bucket: Any, space: Space) -> None:
    upload = uploads.upload_begin(space, path="a", size=10, md5="0" * 32)
    uploads.upload_append(upload, io.BytesIO(b"0123456789"), offset=0)
    with pytest.raises(services.ValidationError):
        finishing.upload_finish(upload)
    assert keys(bucket) == []
    upload = uploads.upload_begin(space, path="b", size=10)
    uploads.upload_append(upload, io.BytesIO(b"01234"), offset=0)
    ImageUpload.objects.filter(pk=upload.pk).update(modified=now().replace(year=2020))
    assert uploads.uploads_collect() == 1 and keys(bucket) == []
    services.image_store(space, "c", io.BytesIO(b"c"))
    Image.objects.update(created=now().replace(year=2020))
    assert len(collection.images_collect(days=1).images) == 1 and keys(bucket) == []


# Longer than a beat of the lease, which another connection writes.
@pytest.mark.django_db(transaction=True)
def test_a_large_image_in_a_bucket_is_never_in_memory(bucket: Any, space: Space) -> None:
    size = 120 << 20
    upload = uploads.upload_begin(space, path="large", size=size)
    for start in range(0, size, 20 << 20):
        uploads.upload_append(upload, io.BytesIO(bytes(20 << 20)), offset=start)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        image = finishing.upload_finish(upload)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert image.file.size == size == bucket.Object(f"house/{image.file.name}").content_length
    # boto3 holds two parts ahead, what it reads and what it sends, 8 MiB each and some of them twice.
    assert peak < size / 2
    assert not files.is_on_disk()
