"""Everything of one key goes to another: as rows, wholly or not at all."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import Settings

from boot import services
from boot.documents import encoded
from boot.images import collection
from boot.images import services as images
from boot.images.queries import Space
from boot.models import BootConfig, BootVersion
from boot.models_images import Image, ImageFile
from boot.transfer import Conflicts, Transfer, transfer
from core.clock import now
from tenancy.api_keys import api_key_revoke
from tenancy.models import ApiKey, AuditEvent, Organization, Role
from tests import factories
from tests.boot.images.conftest import stored
from tracking.models import TrackedDevice
from tracking.queries import timeline_of
from tracking.services import track

pytestmark = pytest.mark.django_db
MAC = "b8:27:eb:00:00:01"


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def org(db: Any) -> Organization:
    return factories.organization("org-a", name="Alpha")


def new_key(org: Organization, name: str) -> tuple[ApiKey, str]:
    return factories.api_key(factories.user(role=Role.MANAGER, organization=org), org, name=name)


@pytest.fixture
def old(org: Organization) -> ApiKey:
    """A key with two configurations, one deleted one, two images and a track."""
    key, _ = new_key(org, "old")
    configured(key, "default", rootfs=f"http://x/images/{key.key_id}/v1")
    configured(key, MAC, config={"n": 1})
    configured(key, MAC, config={"n": 2})
    configured(key, "gone", config={"n": 3})
    services.boot_config_delete(api_key_id=key.pk, device="gone")
    image(key, "v1")
    image(key, "autobuild/stock/2026_01_01_000000/rootfs.sqsh")
    said(key, MAC)
    return key


@pytest.fixture
def new(org: Organization) -> tuple[ApiKey, str]:
    return new_key(org, "new")


def configured(key: ApiKey, device: str, *, rootfs: str = "", **document: Any) -> None:
    whole = {"rootfs": {"url": rootfs, "md5sum": ""}, **document}
    services.boot_config_set(api_key_id=key.pk, device=device, document=whole)


def image(key: ApiKey, path: str, content: bytes = b"") -> Image:
    return images.image_store(Space(key.organization, key), path, io.BytesIO(content or path.encode()))


def said(key: ApiKey, device: str, info: str = "hello") -> None:
    track(api_key_id=key.pk, organization_id=key.organization_id, device=device, info=info, at=now())


def served(text: str, path: str = f"/boot/{MAC}/config") -> Any:
    return Client().get(path, headers={"X-Api-Key": text})


def everything(key: ApiKey) -> dict[str, set[Any]]:
    return {
        "configs": {(row.device, row.body) for row in BootConfig.objects.filter(api_key=key)},
        "versions": {(row.device, row.number, row.body) for row in BootVersion.objects.filter(api_key=key)},
        "images": {(row.path, row.file_id) for row in Image.objects.filter(key=key)},
        "tracks": {row.device for row in TrackedDevice.objects.filter(api_key=key)},
    }


def outcomes(done: Transfer) -> dict[tuple[str, str], str]:
    return {(line.kind, line.name): str(line.outcome) for line in done.lines}


def test_a_copy_leaves_the_old_key_as_it_was_and_the_new_one_boots(
    old: ApiKey, new: tuple[ApiKey, str], media: Path
) -> None:
    before, files = everything(old), stored(media)
    done = transfer(old, new[0])
    assert set(outcomes(done).values()) == {"copied"} and len(done.lines) == 5
    assert everything(old) == before and stored(media) == files
    assert ImageFile.objects.count() == 2
    assert served(new[1]).json()["config"] == {"n": 2}
    # The old key's own space, by its id, would be refused.
    assert served(new[1], "/boot/x/config").json()["rootfs"]["url"] == "http://x/images/own/v1"
    assert served(new[1], "/images/own/v1").status_code == 302
    assert [number for _, number, _ in everything(new[0])["versions"]] == [1, 1]
    copied = TrackedDevice.objects.get(api_key=new[0], device=MAC)
    assert "hello" in [text for _, text in timeline_of(copied)]


def test_a_move_takes_versions_along_and_leaves_nothing(
    old: ApiKey, new: tuple[ApiKey, str], media: Path
) -> None:
    before, files = everything(old), stored(media)
    assert set(outcomes(transfer(old, new[0], move=True)).values()) == {"moved"}
    assert everything(old) == {"configs": set(), "versions": set(), "images": set(), "tracks": set()}
    after = everything(new[0])
    assert after["images"] == before["images"] and after["tracks"] == before["tracks"]
    # The version that no longer names the old key's space came after those that were moved.
    assert after["versions"] >= before["versions"] and len(after["versions"]) == len(before["versions"]) + 1
    assert stored(media) == files
    assert services.boot_config_restore(api_key_id=new[0].pk, device="gone").document["config"] == {"n": 3}
    assert served(new[1], "/boot/x/config").json()["rootfs"]["url"] == "http://x/images/own/v1"


def test_a_dry_run_tells_the_same_and_changes_nothing(old: ApiKey, new: tuple[ApiKey, str]) -> None:
    before = (everything(old), everything(new[0]), AuditEvent.objects.count())
    for move in (False, True):
        would = transfer(old, new[0], move=move, dry_run=True)
        assert (everything(old), everything(new[0]), AuditEvent.objects.count()) == before
    assert outcomes(would) == outcomes(transfer(old, new[0], move=True))


@pytest.mark.parametrize("move", [False, True])
def test_what_the_other_key_has_is_in_the_way_unless_told_otherwise(
    old: ApiKey, new: tuple[ApiKey, str], move: bool
) -> None:
    configured(new[0], MAC, config={"n": "theirs"})
    before = (everything(old), everything(new[0]))
    with pytest.raises(ValidationError, match="1 of these places"):
        transfer(old, new[0], move=move)
    assert (everything(old), everything(new[0])) == before
    assert not transfer(old, new[0], move=move, dry_run=True).is_possible

    done = transfer(old, new[0], move=move, conflicts=Conflicts.SKIP)
    assert outcomes(done)["config", MAC] == "stays"
    assert served(new[1]).json()["config"] == {"n": "theirs"}
    assert BootConfig.objects.filter(api_key=old, device=MAC).exists()

    done = transfer(old, new[0], move=move, conflicts=Conflicts.REPLACE)
    assert outcomes(done)["config", MAC] == "replaced"
    assert served(new[1]).json()["config"] == {"n": 2}
    versions = BootVersion.objects.filter(api_key=new[0], device=MAC).order_by("number")
    assert [row.document["config"] for row in versions if row.document] == [{"n": "theirs"}, {"n": 2}]
    assert BootConfig.objects.filter(api_key=old, device=MAC).exists() is not move


def test_what_a_path_names_never_changes(old: ApiKey, new: tuple[ApiKey, str]) -> None:
    theirs = image(new[0], "v1", b"other bytes")
    for conflicts in (Conflicts.REFUSE, Conflicts.REPLACE):
        with pytest.raises(ValidationError):
            transfer(old, new[0], conflicts=conflicts)
    transfer(old, new[0], conflicts=Conflicts.SKIP)
    theirs.refresh_from_db()
    assert theirs.file.size == len(b"other bytes")


def test_equal_things_are_there_already(old: ApiKey, new: tuple[ApiKey, str], media: Path) -> None:
    configured(new[0], MAC, config={"n": 2})
    image(new[0], "v1")
    done = transfer(old, new[0], move=True)
    assert outcomes(done)["config", MAC] == outcomes(done)["image", "v1"] == "equal"
    assert everything(old)["images"] == set() and everything(old)["configs"] == set()
    assert len(stored(media)) == 2 and served(new[1], "/images/own/v1").status_code == 302
    assert [row.number for row in BootVersion.objects.filter(api_key=new[0], device=MAC)] == [1]


def test_an_image_that_a_staying_configuration_names_is_kept_there_too(
    old: ApiKey, new: tuple[ApiKey, str]
) -> None:
    configured(new[0], "default", config={"other": True})
    done = transfer(old, new[0], move=True, conflicts=Conflicts.SKIP)
    assert outcomes(done)["image", "v1"] == "copied"
    assert {path for path, _ in everything(old)["images"]} == {"v1"}
    assert len(everything(new[0])["images"]) == 2


def test_a_script_with_the_old_keys_id_is_pointed_out(old: ApiKey, new: tuple[ApiKey, str]) -> None:
    configured(old, MAC, bootcode=encoded(f"curl http://x/images/{old.key_id}/v1\n".encode()))
    notes = {line.name: line.note for line in transfer(old, new[0], dry_run=True).lines if line.note}
    assert list(notes) == [MAC] and "old key" in notes[MAC]


def test_a_track_of_a_device_that_the_other_key_knows_stays(old: ApiKey, new: tuple[ApiKey, str]) -> None:
    said(new[0], MAC, "new words")
    done = transfer(old, new[0], move=True)
    assert outcomes(done)["track", MAC] == "stays"
    row = TrackedDevice.objects.get(api_key=new[0], device=MAC)
    assert [text for _, text in timeline_of(row)] == ["new words"]


def test_only_a_living_key_of_the_same_organization_takes_over(
    old: ApiKey, new: tuple[ApiKey, str], org: Organization
) -> None:
    other = factories.organization("org-b")
    foreign, _ = new_key(other, "foreign")
    for target in (old, foreign):
        with pytest.raises(ValidationError):
            transfer(old, target)
    root = factories.superuser()
    api_key_revoke(old, by=root)
    assert transfer(old, new[0], dry_run=True).is_possible, "a revoked key is what is replaced"
    api_key_revoke(new[0], by=root)
    with pytest.raises(ValidationError, match="revoked"):
        transfer(old, new[0])


def test_it_is_written_down(old: ApiKey, new: tuple[ApiKey, str]) -> None:
    transfer(old, new[0], move=True)
    event = AuditEvent.objects.get(action="api_key.contents_moved")
    assert event.target_id == str(new[0].pk)
    assert event.changes["from"][1] == old.key_id and event.changes["configs/moved"][1] == 2
    assert AuditEvent.objects.filter(action="boot_config.moved").count() == 2
    assert AuditEvent.objects.filter(action="image.moved").count() == 2


def test_an_image_that_went_to_another_key_meanwhile_is_not_collected(
    old: ApiKey, new: tuple[ApiKey, str]
) -> None:
    image(old, "unnamed")
    configured(new[0], MAC, rootfs="http://x/images/own/unnamed")
    Image.objects.update(created="2020-01-01T00:00:00Z")

    def move() -> None:
        transfer(old, new[0], move=True, conflicts=Conflicts.SKIP)

    collection.images_collect(days=1, between=move)
    assert Image.objects.filter(key=new[0], path="unnamed").exists()
