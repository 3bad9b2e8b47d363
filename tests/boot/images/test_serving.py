"""Images through the dialect and behind its redirect: who gets what, for how long, and which part of it."""

import hashlib
import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from boot.images import services, signing
from boot.images.queries import Space
from boot.models_images import Image, ImageFile
from controller.env import Environment
from tenancy.models import ApiKey, Organization, Role
from tests import factories

pytestmark = pytest.mark.django_db
BYTES = bytes(range(256)) * 20


@pytest.fixture
def made(org: Organization) -> tuple[ApiKey, str]:
    return factories.api_key(factories.user(role=Role.OPERATOR, organization=org), org)


@pytest.fixture
def image(made: tuple[ApiKey, str], org: Organization) -> Image:
    return services.image_store(Space(org, made[0]), "v1/initramfs.tgz", io.BytesIO(BYTES))


def asked(path: str, key: str, method: str = "get", **headers: Any) -> Any:
    return getattr(Client(), method)(path, headers={"X-Api-Key": key, "Host": "testserver", **headers})


def location(answer: Any) -> str:
    assert answer.status_code == 302, answer.content
    parts = urlsplit(answer["Location"])
    assert (parts.scheme, parts.netloc) == ("http", "testserver")
    return f"{parts.path}?{parts.query}"


def got(where: str, method: str = "get", **headers: str) -> Any:
    """Ask for an address and read the whole answer, as `body`."""
    answer: Any = getattr(Client(), method)(where, headers=headers)
    answer.body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer


@pytest.mark.parametrize("word", ["own", "id", "text"])
def test_an_own_image_is_found_by_every_name_of_its_space(
    image: Image, made: tuple[ApiKey, str], word: str
) -> None:
    key, text = made
    named = {"own": "own", "id": key.key_id, "text": text}[word]
    for method in ("get", "head"):
        answer = asked(f"/images/{named}/v1/initramfs.tgz", text, method)
        assert (answer.status_code, answer["Content-Length"], answer.content) == (302, "0", b"")
        assert text not in answer["Location"] and key.key_id not in answer["Location"]
        there = got(location(answer), method)
        assert there.status_code == 200
        assert there["ETag"] == f'"{hashlib.md5(BYTES).hexdigest()}"'
        assert there["Content-Length"] == str(len(BYTES))
        assert there["Content-Type"] == "application/gzip"
        assert there.body == (BYTES if method == "get" else b"")


def test_a_global_image_is_for_every_key_and_a_foreign_space_for_nobody(
    image: Image, made: tuple[ApiKey, str], org: Organization
) -> None:
    services.image_store(Space(None, None), "initramfs.tgz", io.BytesIO(b"everybody's"))
    other = factories.organization("org-b")
    stranger, text = factories.api_key(factories.user(role=Role.OWNER, organization=other), other)
    sister, sister_text = factories.api_key(made[0].user, org)
    for one in (made[1], text, sister_text):
        assert got(location(asked("/images/global/initramfs.tgz", one))).body == b"everybody's"
    for one, own in ((text, stranger), (sister_text, sister)):
        for word in (made[0].key_id, made[1]):
            answer = asked(f"/images/{word}/v1/initramfs.tgz", one)
            assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
        assert asked("/images/own/v1/initramfs.tgz", one).status_code == 404
        assert asked(f"/images/{own.key_id}/v1/initramfs.tgz", one).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["nothing", "v1", "v1/initramfs.tgz.x", "../v1/initramfs.tgz", "v1/../v1/initramfs.tgz", "v1/%2e%2e/x"],
)
def test_what_is_no_image_is_not_found(image: Image, made: tuple[ApiKey, str], path: str) -> None:
    answer = asked(f"/images/own/{path}", made[1])
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


def test_the_address_opens_for_half_a_minute_and_only_as_it_is(
    image: Image, made: tuple[ApiKey, str], monkeypatch: Any
) -> None:
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    path, _, query = where.partition("?")
    other = ImageFile.objects.create(name="images/other", state="ready", size=1)
    for changed in (
        path,
        f"{path}?{query[:-1]}{'0' if query[-1] != '0' else '1'}",
        f"{path}x?{query}",
        where.replace(image.file_id.hex, other.pk.hex),
        where.replace("expires=", "expires=9"),
        f"{path}?expires=²&signature=x",
        f"{path}?expires=1&signature=é",
    ):
        answer = Client().get(changed)
        assert (answer.status_code, answer.content) == (403, b'{"message": "Forbidden"}'), changed
    # Neither a wrong key nor the right one makes a difference.
    for key in ("wrong", made[1]):
        assert got(where, **{"X-Api-Key": key}).status_code == 200
        assert got(path, **{"X-Api-Key": key}).status_code == 403
    # From the address itself: a slow machine has taken seconds until here.
    began = int(parse_qs(query)["expires"][0]) - signing.LIFETIME
    monkeypatch.setattr(signing.time, "time", lambda: began + signing.LIFETIME - 2)
    assert got(where).status_code == 200
    monkeypatch.setattr(signing.time, "time", lambda: began + signing.LIFETIME + 1)
    for method in ("get", "head"):
        assert getattr(Client(), method)(where).status_code == 403


def test_other_methods_are_not_for_addresses_of_files(image: Image, made: tuple[ApiKey, str]) -> None:
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(Client(enforce_csrf_checks=True), method)(where)
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


SIZE = len(BYTES)


@pytest.mark.parametrize(
    ("asked_for", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=5000-", 206, 5000, SIZE),
        ("bytes=-10", 206, SIZE - 10, SIZE),
        ("bytes=-99999", 200, 0, SIZE),
        ("bytes=5100-99999", 206, 5100, SIZE),
        (f"bytes={SIZE}-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-3", 200, 0, SIZE),
        ("bytes=-", 200, 0, SIZE),
        ("bytes=0-1,5-6", 200, 0, SIZE),
        ("lines=1-2", 200, 0, SIZE),
        ("bytes=" + "9" * 30 + "-", 200, 0, SIZE),
    ],
)
def test_ranges(
    image: Image, made: tuple[ApiKey, str], asked_for: str, status: int, start: int, stop: int
) -> None:
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    answer = got(where, Range=asked_for)
    assert answer.status_code == status
    assert answer["Content-Length"] == str(stop - start)
    assert answer.body == BYTES[start:stop]
    if status == 206:
        assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    if status == 416:
        assert answer["Content-Range"] == f"bytes */{SIZE}"


def test_conditions_of_a_range(image: Image, made: tuple[ApiKey, str]) -> None:
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    etag = f'"{image.file.md5}"'
    for headers, status in (
        ({"Range": "bytes=0-1", "If-Range": etag}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"other"'}, 200),
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": '"other"'}, 200),
    ):
        assert got(where, **headers).status_code == status, headers


def test_nginx_sends_the_file_where_it_is_told_to(
    image: Image, made: tuple[ApiKey, str], settings: Settings
) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_SENDFILE_PREFIX": "/media-files/"})
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    answer = Client().get(where)
    assert answer["X-Accel-Redirect"] == f"/media-files/{image.file.name}"
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"", "application/gzip")
    assert Client().get(where.partition("?")[0]).status_code == 403


def test_the_eleventh_download_of_a_month_is_refused_and_following_costs_nothing(
    image: Image, made: tuple[ApiKey, str]
) -> None:
    for _ in range(10):
        where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
        assert got(where).status_code == 200
    answer = asked("/images/own/v1/initramfs.tgz", made[1])
    assert (answer.status_code, answer.json()) == (429, {"message": "Limit Exceeded"})


def test_a_file_that_is_lost_is_not_found(image: Image, made: tuple[ApiKey, str], media: Any) -> None:
    where = location(asked("/images/own/v1/initramfs.tgz", made[1]))
    (media / image.file.name).unlink()
    assert got(where).status_code == 404


def test_the_address_is_a_route_of_its_own(image: Image) -> None:
    path = reverse("image_file", kwargs={"identifier": image.file_id.hex, "name": "initramfs.tgz"})
    assert signing.signed_path(image.file_id, "initramfs.tgz").startswith(f"{path}?expires=")
