"""The people's pages of network boot: who may do what there, and what they say when it cannot be."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from pytest_django import Settings

from boot import services
from boot.images import services as images
from boot.images import uploads
from boot.images.queries import Space
from boot.models import BootConfig, BootVersion, DeletedBootConfig, Quota
from boot.models_images import Image, ImageLimits, ImageUpload
from core.clock import now
from tenancy.models import ApiKey, Membership, Organization, Role
from tests import factories

pytestmark = pytest.mark.django_db
MAC = "b8:27:eb:00:00:01"
ADMIN = "/admin/boot"


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def org(db: Any) -> Organization:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def key(org: Organization) -> ApiKey:
    return new_key(org, "pis")


def new_key(org: Organization, name: str) -> ApiKey:
    return factories.api_key(factories.user(role=Role.MANAGER, organization=org), org, name=name)[0]


def member(org: Organization, role: str) -> Client:
    client = Client()
    client.force_login(factories.user(role=role, organization=org, is_staff=True))
    return client


def said(answer: Any) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def configured(key: ApiKey, device: str = MAC, **document: Any) -> BootConfig:
    return services.boot_config_set(api_key_id=key.pk, device=device, document=document)


def test_every_page_opens_for_everybody_who_may_see_it(org: Organization, key: ApiKey) -> None:
    configured(key, config={"password": "hunter2-hunter2"})
    configured(key, "gone")
    services.boot_config_delete(api_key_id=key.pk, device="gone")
    images.image_store(Space(org, key), "a", io.BytesIO(b"a"))
    pages = ("bootconfig/", "deletedbootconfig/", "image/", "image/builds/", "quota/gauges/", "quota/limits/")
    one = f"bootconfig/{BootConfig.objects.get().pk}/change/"
    deleted = f"deletedbootconfig/{DeletedBootConfig.objects.get(body='').pk}/change/"
    for role in (Role.VIEWER, Role.OPERATOR, Role.MANAGER, Role.OWNER):
        client = member(org, role)
        for page in (*pages, one, deleted, f"image/{Image.objects.get().pk}/change/"):
            answer = client.get(f"{ADMIN}/{page}")
            assert answer.status_code == 200, (role, page)
            assert role != Role.VIEWER or "hunter2" not in answer.content.decode()
        may = role != Role.VIEWER
        for page in ("bootconfig/add/", "bootconfig/transfer/", "image/add/", "imageupload/"):
            assert client.get(f"{ADMIN}/{page}").status_code == (200 if may else 403), (role, page)


def test_a_list_leaves_out_the_organization_for_who_has_only_one(org: Organization, key: ApiKey) -> None:
    configured(key)
    client = member(org, Role.OPERATOR)
    assert "column-organization" not in client.get(f"{ADMIN}/bootconfig/").content.decode()
    root = Client()
    root.force_login(factories.superuser())
    assert "column-organization" in root.get(f"{ADMIN}/bootconfig/").content.decode()


def test_the_lists_cost_the_same_for_one_row_and_for_many(
    org: Organization, django_assert_max_num_queries: Any
) -> None:
    client = member(org, Role.OPERATOR)

    def fill(count: int) -> None:
        for _ in range(count):
            key = new_key(org, factories.mac())
            configured(key)
            configured(key, "gone")
            services.boot_config_delete(api_key_id=key.pk, device="gone")
            uploads.upload_begin(Space(org, key), path="a", size=3)

    fill(1)
    for page in ("bootconfig", "deletedbootconfig", "imageupload"):
        client.get(f"{ADMIN}/{page}/")
    fill(9)
    for page in ("bootconfig", "deletedbootconfig", "imageupload"):
        with django_assert_max_num_queries(12):
            assert client.get(f"{ADMIN}/{page}/").status_code == 200


# --- deleted configurations -----------------------------------------------------------------------------------


def test_a_deleted_configuration_is_brought_back_by_who_may(org: Organization, key: ApiKey) -> None:
    configured(key, config=1)
    configured(key, config=2)
    services.boot_config_delete(api_key_id=key.pk, device=MAC)
    path = f"{ADMIN}/deletedbootconfig/{DeletedBootConfig.objects.get(body='').pk}/restore/"
    assert member(org, Role.VIEWER).post(path, {"version": "1"}).status_code == 403
    client = member(org, Role.OPERATOR)
    assert client.get(path).status_code == 405
    assert "no such version" in said(client.post(path, {"version": "3"}))
    answer = client.post(path, {"version": "1"})
    assert answer["Location"] == f"{ADMIN}/bootconfig/{BootConfig.objects.get().pk}/change/"
    assert BootConfig.objects.get().document["config"] == 1
    again = client.post(path, {"version": "1"})
    assert again.status_code == 302 and BootVersion.objects.count() == 4, "it is deleted no more"


def test_a_deleted_configuration_hides_its_secrets(org: Organization, key: ApiKey) -> None:
    configured(key, config={"password": "hunter2-hunter2"})
    services.boot_config_delete(api_key_id=key.pk, device=MAC)
    path = f"{ADMIN}/deletedbootconfig/{DeletedBootConfig.objects.get(body='').pk}/change/"
    client = member(org, Role.OPERATOR)
    Membership.objects.update(can_reveal=False)
    assert "hunter2" not in client.get(path).content.decode()
    Membership.objects.update(can_reveal=True)
    assert "hunter2" in client.get(path).content.decode()


# --- to another key -------------------------------------------------------------------------------------------


def test_what_would_go_to_another_key_is_shown_before_it_goes(org: Organization, key: ApiKey) -> None:
    new, client = new_key(org, "new"), member(org, Role.OPERATOR)
    configured(key, config=1)
    configured(new, config=2)
    path, sent = f"{ADMIN}/bootconfig/transfer/", {"from": str(key.pk), "to": str(new.pk), "how": "copy"}
    page = client.get(path, sent).content.decode()
    assert "in the way" in page and "Choose above what becomes of them" in page
    refused = client.post(path, sent)
    assert refused.status_code == 200 and "1 of these places already" in refused.content.decode()
    assert "will replace another" in client.get(path, {**sent, "conflicts": "replace"}).content.decode()
    done = client.post(path, {**sent, "conflicts": "replace"})
    assert done["Location"] == f"{ADMIN}/bootconfig/?key={new.pk}"
    assert BootConfig.objects.get(api_key=new).document["config"] == 1
    assert "Choose the key" in client.post(path, {"from": "nonsense"}).content.decode()


def test_keys_of_others_are_no_choice(org: Organization, key: ApiKey) -> None:
    other = new_key(factories.organization("org-b"), "foreign")
    configured(other)
    path = f"{ADMIN}/bootconfig/transfer/"
    client = member(org, Role.OPERATOR)
    for sent in (
        {"from": str(other.pk), "to": str(key.pk)},
        {"from": str(key.pk), "to": str(other.pk)},
    ):
        for answer in (client.get(path, sent), client.post(path, sent)):
            assert "Choose the key" in answer.content.decode()
            assert "foreign" not in answer.content.decode()
    assert BootConfig.objects.get().api_key == other


# --- limits ---------------------------------------------------------------------------------------------------


def limits(org: Organization, **typed: str) -> dict[str, str]:
    return {"organization": str(org.pk), **typed}


def test_managers_lower_limits_and_nobody_below_them(org: Organization) -> None:
    path = f"{ADMIN}/quota/limits/"
    for role in (Role.VIEWER, Role.OPERATOR):
        assert member(org, role).post(path, limits(org, boot_get="1")).status_code == 403
    client = member(org, Role.MANAGER)
    for typed, words in (
        ("61", "At most 60 are allowed here"),
        ("-1", "Enter a whole number"),
        ("x", "Enter a whole number"),
        ("9" * 10, "Enter a whole number"),
    ):
        answer = client.post(path, limits(org, track_post="5", boot_get=typed))
        assert answer.status_code == 200 and words in said(answer)
        assert not Quota.objects.exists(), "all or nothing"
    assert client.post(path, limits(org, boot_get="5")).status_code == 302
    row = Quota.objects.get()
    assert (row.operation, row.amount, row.ceiling) == ("boot_get", 5, None)
    client.post(path, limits(org))
    assert not Quota.objects.exists()


def test_superusers_raise_limits_and_the_house_keeps_what_it_allows(org: Organization) -> None:
    root, path = Client(), f"{ADMIN}/quota/limits/"
    root.force_login(factories.superuser())
    root.post(path, limits(org, boot_get="500"))
    client = member(org, Role.OWNER)
    client.post(path, limits(org, boot_get="400"))
    row = Quota.objects.get()
    assert (row.amount, row.ceiling) == (400, 500)
    page = client.get(path).content.decode()
    assert 'value="400"' in page and ">500<" in page
    client.post(path, limits(org))
    row.refresh_from_db()
    assert (row.amount, row.ceiling) == (500, 500)


def test_limits_of_a_foreign_organization_are_none(org: Organization) -> None:
    other = factories.organization("org-b", name="Beta")
    client, path = member(org, Role.MANAGER), f"{ADMIN}/quota/limits/"
    for wanted in (str(other.pk), "nonsense", "00000000-0000-0000-0000-000000000000"):
        page = client.get(path, {"organization": wanted})
        assert page.status_code == 200 and "No such organization" in page.content.decode()
        assert client.post(path, {"organization": wanted, "boot_get": "1"}).status_code == 200
    assert not Quota.objects.exists()


def test_image_limits_are_set_in_mib_and_what_was_not_edited_stays_to_the_byte(org: Organization) -> None:
    root = Client()
    root.force_login(factories.superuser())
    sent = {"organization": str(org.pk), "largest_mib": "1.5", "total_mib": "1024"}
    assert root.post(f"{ADMIN}/imagelimits/add/", sent).status_code == 302
    row = ImageLimits.objects.get()
    assert (row.largest, row.total) == (1_572_864, 1 << 30)
    images.limits_update(org, largest=1_000_001)
    path = f"{ADMIN}/imagelimits/{org.pk}/change/"
    shown = root.get(path).content.decode()
    assert 'value="0.954"' in shown
    assert root.post(path, {"largest_mib": "0.954", "total_mib": "2048"}).status_code == 302
    row.refresh_from_db()
    assert (row.largest, row.total) == (1_000_001, 2 << 30)
    assert root.post(path, {"largest_mib": "-1", "total_mib": "1"}).status_code == 200
    seen = member(org, Role.MANAGER).get(f"{ADMIN}/quota/limits/").content.decode()
    assert "2 GiB" in seen and "976.6 KiB" in seen


# --- uploads --------------------------------------------------------------------------------------------------


def test_uploads_are_finished_and_removed_from_their_page(org: Organization, key: ApiKey) -> None:
    upload = uploads.upload_begin(Space(org, key), path="a", size=3)
    client, path = member(org, Role.OPERATOR), f"{ADMIN}/imageupload/{upload.pk}/"
    assert "0 bytes of 3 bytes" in client.get(f"{path}change/").content.decode()
    assert "have not come yet" in said(client.post(f"{path}finish/"))
    uploads.upload_append(upload, io.BytesIO(b"abc"), offset=0)
    assert "complete" in client.get(f"{ADMIN}/imageupload/").content.decode()
    answer = client.post(f"{path}finish/")
    assert answer["Location"] == f"{ADMIN}/image/{Image.objects.get().pk}/change/"
    assert client.post(f"{path}delete/", {"post": "yes"}).status_code == 302
    assert not ImageUpload.objects.exists() and Image.objects.exists()


def test_an_upload_that_is_being_checked_is_not_removed(org: Organization, key: ApiKey) -> None:
    upload = uploads.upload_begin(Space(org, key), path="a", size=0)
    ImageUpload.objects.filter(pk=upload.pk).update(state="finishing", lease_until=now().replace(year=2100))
    client = member(org, Role.OPERATOR)
    answer = client.post(f"{ADMIN}/imageupload/{upload.pk}/delete/", {"post": "yes"})
    assert "being put together" in said(answer) and ImageUpload.objects.exists()
    assert "being checked" in client.get(f"{ADMIN}/imageupload/").content.decode()
