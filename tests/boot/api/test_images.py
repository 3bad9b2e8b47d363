"""Images over REST: in one piece, in parts, and as a catalogue of builds."""

import hashlib
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from boot.images import paths
from boot.models_images import Image
from tenancy.models import ApiKey, AuditEvent
from tests.config_merge.api.conftest import Api

pytestmark = pytest.mark.django_db
BYTES = bytes(range(256)) * 10
BUILD = "2026_01_02_030405"


def stored(api: Api, key: ApiKey | None, path: str, content: bytes = BYTES, **fields: Any) -> Any:
    form = {"path": path, "file": SimpleUploadedFile("x", content), **fields}
    return api.post("images/", form | ({"key": str(key.pk)} if key else {}), format="multipart")


def part(api: Api, upload: str, content: bytes, offset: Any) -> Any:
    return api.client.patch(
        f"/api/v1/boot/uploads/{upload}/?offset={offset}", content, content_type="application/octet-stream"
    )


def built(api: Api, key: ApiKey | None, recipe: str, number: str = BUILD, *names: str) -> None:
    for name in names or (paths.INITFS, paths.ROOTFS, paths.INFO):
        path = f"autobuild/{recipe}/{number}/{name}"
        answer = stored(api, key, path, path.encode())
        assert answer.status_code == 201, answer.content


def listed(api: Api, **query: Any) -> list[tuple[str, str]]:
    return [(row["recipe"], row["build_id"]) for row in api.get("builds/", **query).json()["results"]]


def test_in_one_piece(operator: Api, viewer: Api, key: ApiKey) -> None:
    answer = stored(operator, key, "v1/rootfs.sqsh", md5=hashlib.md5(BYTES).hexdigest())
    row = answer.json()
    assert answer.status_code == 201
    assert (row["space"], row["path"], row["size"]) == (key.key_id, "v1/rootfs.sqsh", len(BYTES))
    assert row["sha256"] == hashlib.sha256(BYTES).hexdigest()
    there = viewer.get(f"images/{row['id']}/download/")
    assert there.status_code == 302
    fetched: Any = Client().get(there["Location"].removeprefix("http://testserver"))
    assert b"".join(fetched.streaming_content) == BYTES
    event = AuditEvent.objects.get(action="image.created")
    assert event.changes["md5"][1] == row["md5"]
    assert operator.delete(f"images/{row['id']}/").status_code == 204
    assert viewer.get(f"images/{row['id']}/").status_code == 404


def test_in_parts(operator: Api, key: ApiKey) -> None:
    begun = operator.post("uploads/", {"key": str(key.pk), "path": "v1/rootfs.sqsh", "size": len(BYTES)})
    assert begun.status_code == 201
    upload = begun.json()["id"]
    assert part(operator, upload, BYTES[:1000], 0).json()["received"] == 1000
    answer = part(operator, upload, BYTES[:1000], 0)
    assert answer.status_code == 409
    assert answer.json() == {"detail": "The upload stands at 1000, not at 0.", "received": 1000}
    for offset in ("", "x", "-1", "1e3", "²", "9" * 30):
        assert part(operator, upload, b"", offset).status_code == 400, offset
    incomplete = operator.post(f"uploads/{upload}/finish/")
    assert incomplete.status_code == 409 and "have not come" in incomplete.json()["detail"]
    assert part(operator, upload, BYTES[1000:], 1000).json()["received"] == len(BYTES)
    image = operator.post(f"uploads/{upload}/finish/").json()
    assert image["md5"] == hashlib.md5(BYTES).hexdigest()
    assert operator.post(f"uploads/{upload}/finish/").json() == image
    row = operator.get(f"uploads/{upload}/").json()
    assert (row["state"], row["image"]) == ("finished", image["id"])
    assert (
        operator.client.patch(f"/api/v1/boot/uploads/{upload}/?offset=0", {}, format="json").status_code
        == 415
    )


def test_only_superusers_store_for_everybody_and_everybody_sees_it(
    operator: Api, viewer: Api, root: Api
) -> None:
    refused = stored(operator, None, "x")
    assert refused.status_code == 400 and list(refused.json()) == ["key"]
    row = stored(root, None, "x").json()
    assert (row["space"], row["organization"], row["key"]) == ("global", None, None)
    assert viewer.get(f"images/{row['id']}/").status_code == 200
    assert operator.delete(f"images/{row['id']}/").status_code == 403
    assert viewer.get("images/", is_global="true").json()["count"] == 1


def test_what_is_refused_says_why(operator: Api, viewer: Api, key: ApiKey) -> None:
    assert stored(viewer, key, "a").status_code == 403
    for fields, name in (
        ({"path": "../a"}, "path"),
        ({"md5": "0" * 32}, "md5"),
        ({"sha256": "nonsense"}, "sha256"),
    ):
        answer = stored(operator, key, **{"path": "a", **fields})
        assert answer.status_code == 400 and list(answer.json()) == [name], answer.content
    stored(operator, key, "a")
    again = stored(operator, key, "a", b"other bytes")
    assert again.status_code == 400 and list(again.json()) == ["path"]
    assert Image.objects.count() == 1


def test_an_image_that_is_named_stays(operator: Api, key: ApiKey) -> None:
    row = stored(operator, key, "a").json()
    body = {"key": str(key.pk), "device": "default", "rootfs": {"url": "http://x/images/own/a"}}
    assert operator.post("configs/", body).status_code == 201
    answer = operator.delete(f"images/{row['id']}/")
    assert answer.status_code == 409 and "default names this image" in answer.json()["detail"]


def test_a_build_is_listed_when_all_of_it_is_there(operator: Api, key: ApiKey) -> None:
    built(operator, key, "stock", BUILD, paths.INITFS, paths.ROOTFS)
    assert listed(operator) == []
    built(operator, key, "stock", BUILD, paths.INFO)
    assert listed(operator) == [("stock", BUILD)]
    built(operator, key, "pihole", BUILD, paths.INITFS)
    assert listed(operator) == [], "a build is whole or not at all"
    built(operator, key, "pihole", BUILD, paths.ROOTFS, paths.INFO)
    newer = "2026_02_01_000000"
    built(operator, key, "stock", newer)
    assert listed(operator) == [("stock", newer), ("pihole", BUILD), ("stock", BUILD)]
    assert listed(operator, recipe="stock") == [("stock", newer), ("stock", BUILD)]
    assert listed(operator, build_id=BUILD) == [("pihole", BUILD), ("stock", BUILD)]
    built(operator, key, "pihole", newer)
    built(operator, key, "pihole", newer, paths.FAILED)
    assert listed(operator) == [("pihole", BUILD), ("stock", BUILD)]
    assert operator.get("images/", recipe="stock", build_id=BUILD).json()["count"] == 3


def test_a_list_of_recipes_says_what_a_build_needs(operator: Api, key: ApiKey, root: Api) -> None:
    built(operator, key, "stock")
    built(root, None, "stock")
    assert stored(operator, key, paths.RECIPES, b"# ours\nstock\npihole\n").status_code == 201
    rows = operator.get("builds/").json()["results"]
    assert [row["space"] for row in rows] == ["global"]
    built(operator, key, "pihole")
    assert len(listed(operator)) == 3


def test_info_is_written_for_a_build_that_has_its_images(
    operator: Api, key: ApiKey, made: tuple[ApiKey, str]
) -> None:
    body = {"key": str(key.pk), "recipe": "stock", "build_id": BUILD}
    built(operator, key, "stock", BUILD, paths.INITFS)
    lacking = operator.post("builds/info/", body)
    assert lacking.status_code == 400 and "rootfs.sqsh" in lacking.json()["build_id"][0]
    built(operator, key, "stock", BUILD, paths.ROOTFS)
    row = operator.post("builds/info/", body).json()
    there = operator.get(f"images/{row['id']}/download/")["Location"].removeprefix("http://testserver")
    fetched: Any = Client().get(there)
    text = b"".join(fetched.streaming_content).decode()
    folder = f"autobuild/stock/{BUILD}/"
    md5 = {name: hashlib.md5((folder + name).encode()).hexdigest() for name in (paths.INITFS, paths.ROOTFS)}
    base = f"http://testserver/images/own/{folder}"
    assert text == (
        f"# stock {BUILD}\nINFO={base}info.sh\nINITFS={base}initramfs.tgz\nINITFSMD5={md5[paths.INITFS]}\n"
        f"ROOTFS={base}rootfs.sqsh\nROOTFSMD5={md5[paths.ROOTFS]}\n"
    )
    assert fetched["Content-Type"].startswith("text/plain")
    assert listed(operator) == [("stock", BUILD)]
    body["build_id"] = "nonsense/../.."[:17]
    assert operator.post("builds/info/", body).status_code == 400


def test_the_catalogue_costs_the_same_for_one_build_and_for_ten(operator: Api, key: ApiKey) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as caught:
            operator.get("builds/")
        return len(caught)

    built(operator, key, "stock")
    asked()
    few = asked()
    for number in range(9):
        built(operator, key, "stock", f"2026_01_{number + 11}_000000")
    assert len(listed(operator)) == 10 and asked() == few <= 4


def test_who_names_an_image_is_listed_in_pages(operator: Api, viewer: Api, key: ApiKey) -> None:
    image = stored(operator, key, "v1/rootfs.sqsh").json()["id"]
    assert viewer.get(f"images/{image}/uses/").json()["results"] == []
    document = {"rootfs": {"url": "http://x/images/own/v1/rootfs.sqsh"}}
    made = {
        device: operator.post("configs/", {"key": str(key.pk), "device": device, **document}).json()["id"]
        for device in ("pi-2", "pi-1")
    }
    assert operator.delete(f"configs/{made['pi-2']}/").status_code == 204
    answer = viewer.get(f"images/{image}/uses/", page_size=1).json()
    assert answer["count"] == 2
    shown = {"id": str(key.pk), "key_id": key.key_id, "name": key.name}
    assert answer["results"] == [
        {"key": shown, "device": "pi-1", "version": 1, "in_force": True, "config": made["pi-1"]}
    ]
    second = viewer.get(f"images/{image}/uses/", page_size=1, page=2).json()
    assert second["results"] == [
        {"key": shown, "device": "pi-2", "version": 1, "in_force": False, "config": None}
    ]
    refused = operator.delete(f"images/{image}/")
    assert refused.status_code == 409 and "pi-1 names this image" in refused.json()["detail"]
