"""An operator edits a boot script and sees what a device gets, uploads a build, and adopts a device."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from boot.documents import encoded
from boot.images import finishing, uploads
from boot.images import services as images
from boot.images.queries import Space
from boot.models import BootConfig, Quota
from boot.models_images import Image
from boot.services import boot_config_set
from devices.models import Device
from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# Where pictures go when somebody wants to look at the pages.
SHOTS = os.environ.get("BOOT_SHOTS", "")
MAC = "b8:27:eb:00:00:01"
BUILD = "autobuild/stock/2026_01_31_120000"


def picture(visit: Visit, name: str) -> None:
    if not SHOTS:
        return
    for width in (420, 1440):
        for scheme in ("light", "dark"):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.page.emulate_media(color_scheme=scheme)
            visit.page.evaluate(
                "dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark"
            )
            visit.page.screenshot(path=str(Path(SHOTS) / f"{name}-{scheme}-{width}.png"), full_page=True)
    visit.page.evaluate("document.documentElement.classList.remove('dark')")
    visit.page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture
def org(settings: Settings, tmp_path: Path) -> Organization:
    settings.MEDIA_ROOT = tmp_path / "media"
    return factories.organization(name="Acme")


@pytest.fixture
def made(org: Organization) -> tuple[ApiKey, str]:
    user = factories.user("olga", role=Role.OPERATOR, organization=org, is_staff=True)
    return factories.api_key(user, org, name="pis")


def asks(text: str, device: str = MAC) -> Any:
    return Client().get(f"/boot/{device}/config", headers={"X-Api-Key": text})


def test_a_script_is_edited_and_a_device_gets_it(visit: Visit, made: tuple[ApiKey, str]) -> None:
    page = visit.sign_in("olga")
    visit.to("/admin/boot/bootconfig/")
    assert "Write one for the device" in page.inner_text("[data-testid=empty]")
    picture(visit, "configs-empty")
    visit.to(f"/admin/boot/bootconfig/effective/?key={made[0].pk}&device={MAC}")
    assert "Nothing" in page.inner_text("[data-testid=answer]")
    visit.to("/admin/boot/bootconfig/add/")
    picture(visit, "config-add")
    page.select_option("#id_api_key", str(made[0].pk))
    page.fill("#id_device", "default")
    page.fill("#id_bootcode", "#!/bin/sh\necho hello\n")
    page.fill("#id_rootfs_url", "nonsense")
    page.click("[name=_save]")
    page.wait_for_selector("text=Enter an absolute URL")
    picture(visit, "config-refused")
    page.fill("#id_rootfs_url", "http://files.example.org/rootfs.sqsh")
    page.click("[name=_continue]")
    page.wait_for_selector("[data-boot-size-text]")
    served = asks(made[1])
    assert served.json()["bootcode"] == "IyEvYmluL3NoCmVjaG8gaGVsbG8K"
    left = 4096 - len(served.content)
    page.wait_for_function(
        f"document.querySelector('[data-boot-size-text]').textContent.startsWith('{left} of')"
    )

    # What is typed is counted as the server will count it.
    page.fill("#id_bootcode", "#!/bin/sh\necho gr\u00fc\u00df dich\nsleep 1\n")
    page.fill("#id_usercode", "x" * 100)
    unchanged = f"document.querySelector('[data-boot-size-text]').textContent.startsWith('{left} of')"
    page.wait_for_function(f"!{unchanged}")
    told = page.inner_text("[data-boot-size-text]")
    picture(visit, "config")
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    assert told == f"{4096 - len(BootConfig.objects.get().body)} of 4096 bytes left"
    page.fill("#id_usercode", "x" * 4000)
    page.wait_for_selector("text=bytes too many")
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.set_viewport_size({"width": 1280, "height": 900})
    picture(visit, "config-too-large")

    visit.to(f"/admin/boot/bootconfig/effective/?key={made[0].pk}&device={MAC}")
    answer = page.inner_text("[data-testid=answer]")
    assert "default" in answer and "grüß dich" in page.content()
    picture(visit, "effective")
    visit.to("/admin/boot/bootconfig/")
    page.click("th a:has-text('default')")
    page.click("text=Versions")
    page.wait_for_selector("[data-testid=diff]")
    assert "+sleep 1" in page.inner_text("[data-testid=diff]")
    picture(visit, "versions")
    page.click("text=Bring back")
    page.wait_for_selector("text=Version 1 is what the device gets again.")
    assert asks(made[1]).json()["bootcode"] == "IyEvYmluL3NoCmVjaG8gaGVsbG8K"

    visit.to("/admin/boot/bootconfig/add/")
    page.select_option("#id_api_key", str(made[0].pk))
    page.fill("#id_device", MAC)
    page.fill("#id_bootcode", "#!/bin/sh\necho only me\n")
    page.click("[name=_continue]")
    page.click("text=Own and default")
    page.wait_for_selector("table.mu-split")
    assert "echo only me" in page.content() and "echo hello" in page.content()
    picture(visit, "default")
    visit.to("/admin/boot/bootconfig/")
    picture(visit, "configs")
    visit.to("/admin/boot/quota/gauges/")
    assert "58 left" in page.inner_text("[data-testid=gauges]")
    picture(visit, "gauges")
    assert visit.complaints == [], visit.complaints
    assert visit.foreign == []


def test_what_was_deleted_is_found_and_comes_back_and_goes_to_a_new_key(
    visit: Visit, made: tuple[ApiKey, str], org: Organization
) -> None:
    key, _ = made
    given = {"api_key_id": key.pk, "device": MAC}
    for text in ("echo one\n", "echo two\n"):
        boot_config_set(**given, document={"bootcode": encoded(text.encode())})
    new, new_text = factories.api_key(key.user, org, name="new key")
    page = visit.sign_in("olga")
    row = BootConfig.objects.get()
    visit.to(f"/admin/boot/bootconfig/{row.pk}/delete/")
    assert "can be brought back" in page.content()
    picture(visit, "config-delete")
    page.click("[type=submit]:has-text('sure')")
    page.wait_for_selector("text=was deleted successfully")
    page.click("nav.mu-tabs >> text=Deleted")
    picture(visit, "deleted")
    page.click(f"th a:has-text('{MAC}')")
    page.wait_for_selector("text=Bring version 2 back")
    picture(visit, "deleted-one")
    page.click("summary:has-text('Version 1')")
    page.click("text=Bring version 1 back")
    page.wait_for_selector(f"text=The configuration of {MAC} is back.")
    assert page.input_value("#id_bootcode") == "echo one\n"

    visit.to("/admin/boot/bootconfig/")
    page.click("nav.mu-tabs >> text=To another key")
    picture(visit, "transfer")
    page.select_option("#from-key", str(key.pk))
    page.select_option("#to-key", str(new.pk))
    page.check("input[name=how][value=move]")
    page.click("text=Show what that would do")
    assert "1 will be moved" in page.inner_text("[data-testid=plan]")
    assert BootConfig.objects.get().api_key == key
    picture(visit, "transfer-plan")
    page.click("[data-testid=plan] button")
    page.wait_for_selector("text=1 configuration, 0 images, 0 tracks moved")
    assert asks(new_text).json()["bootcode"] == encoded(b"echo one\n")
    assert asks(made[1]).status_code == 404
    assert visit.complaints == []
    assert visit.foreign == []


def test_a_manager_sees_the_limits_and_asks_for_less(visit: Visit, org: Organization) -> None:
    factories.user("mona", role=Role.MANAGER, organization=org, is_staff=True)
    page = visit.sign_in("mona")
    visit.to("/admin/boot/quota/limits/")
    assert "64 GiB left" in page.inner_text("[data-testid=room]")
    picture(visit, "limits")
    page.fill("[name=boot_get]", "61")
    page.click("text=Save limits")
    page.wait_for_selector("text=At most 60 are allowed here")
    assert page.input_value("[name=boot_get]") == "61"
    page.fill("[name=boot_get]", "7")
    page.click("text=Save limits")
    page.wait_for_selector("text=The limits of Acme were set.")
    assert page.input_value("[name=boot_get]") == "7"
    assert Quota.objects.get().amount == 7
    assert visit.complaints == []


def test_a_large_upload_is_followed_until_a_worker_has_finished_it(
    visit: Visit, made: tuple[ApiKey, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE", 1000)
    content = os.urandom(5000)
    (tmp_path / "large").write_bytes(content)
    page = visit.sign_in("olga")
    visit.to("/admin/boot/image/add/")
    page.set_input_files("#upload-file", str(tmp_path / "large"))
    page.click("button:has-text('Upload')")
    page.wait_for_selector("text=Waits to be checked")
    other = visit.context.new_page()
    other.goto(f"{visit.url}/admin/boot/imageupload/")
    assert "waits to be checked" in other.inner_text("[data-upload]")
    assert finishing.uploads_finish() is False
    page.wait_for_url("**/change/")
    assert hashlib.sha256(content).hexdigest() in page.content()
    other.wait_for_selector("text=finished")
    assert visit.complaints == []


def test_a_build_is_uploaded_and_is_in_the_catalogue(
    visit: Visit, made: tuple[ApiKey, str], tmp_path: Path
) -> None:
    page = visit.sign_in("olga")
    visit.to("/admin/boot/image/")
    picture(visit, "images-empty")
    visit.to("/admin/boot/image/builds/")
    assert "No complete build yet" in page.content()
    picture(visit, "builds-empty")
    contents = {"initramfs.tgz": os.urandom(3000), "rootfs.sqsh": os.urandom(9 << 20)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        visit.to("/admin/boot/image/add/")
        page.set_input_files("#upload-file", str(tmp_path / name))
        assert page.input_value("#upload-path") == name
        page.fill("#upload-path", f"{BUILD}/{name}")
        page.fill("#upload-md5", "0" * 32)
        if name == "initramfs.tgz":
            picture(visit, "upload")
            page.click("button:has-text('Upload')")
            page.wait_for_selector("[data-upload-problem]:not([hidden])")
            assert "The bytes that came have the MD5" in page.inner_text("[data-upload-problem]")
            picture(visit, "upload-refused")
            visit.complaints.clear()
        page.fill("#upload-md5", hashlib.md5(content).hexdigest())
        page.click("button:has-text('Upload')")
        page.wait_for_url("**/change/")
        assert hashlib.sha256(content).hexdigest() in page.content()
    picture(visit, "image")
    visit.to("/admin/boot/image/builds/")
    picture(visit, "builds-pending")
    page.click("text=Write info.sh")
    page.wait_for_selector("[data-testid=builds]")
    row = page.inner_text("[data-testid=builds]")
    assert "2026_01_31_120000" in row and "stock" in row and "rootfs.sqsh" in row
    picture(visit, "builds")
    visit.to("/admin/boot/bootconfig/add/")
    page.select_option("#id_api_key", str(made[0].pk))
    page.select_option("#boot-build", label="stock, 2026_01_31_120000")
    assert page.input_value("#id_rootfs_url") == f"{visit.url}/images/own/{BUILD}/rootfs.sqsh"
    assert page.input_value("#id_initfs_md5sum") == hashlib.md5(contents["initramfs.tgz"]).hexdigest()
    picture(visit, "config-build")
    visit.to("/admin/boot/image/")
    picture(visit, "images")
    assert Image.objects.count() == 3
    assert visit.complaints == []
    assert visit.foreign == []


def test_a_device_that_was_heard_of_is_adopted_with_one_click(visit: Visit, made: tuple[ApiKey, str]) -> None:
    page = visit.sign_in("olga")
    visit.to("/admin/tracking/trackeddevice/")
    picture(visit, "tracks-empty")
    asks(made[1])
    for number in range(12):
        Client().post(
            f"/track/{MAC}",
            {"info": f"temperature {40 + number} degrees, nothing to complain of " * (1 + number % 3)},
            content_type="application/json",
            headers={"X-Api-Key": made[1]},
        )
    asks(made[1])
    visit.to("/admin/tracking/trackeddevice/")
    picture(visit, "tracks")
    page.click(f"th a:has-text('{MAC}')")
    page.wait_for_selector("[data-testid=timeline]")
    entries = page.locator("[data-testid=timeline] li").all_inner_texts()
    assert len(entries) == 10 and "Fetched its configuration" in entries[0] and "temperature 51" in entries[1]
    picture(visit, "track")
    page.click("button:has-text('Adopt')")
    page.wait_for_selector(f"text={MAC} is the device")
    assert Device.objects.get().mac_address == MAC.upper()
    visit.to("/admin/tracking/trackeddevice/")
    assert MAC.upper() in page.content()
    assert visit.complaints == []
    assert visit.foreign == []


def test_on_a_phone_what_can_be_pressed_is_on_the_screen(visit: Visit, made: tuple[ApiKey, str]) -> None:
    """Nothing that acts hides behind sideways scrolling, whatever devices call themselves."""
    key = made[0]
    factories.user("sue", is_staff=True, is_superuser=True)
    for number in range(3):
        row = boot_config_set(api_key_id=key.pk, device="x" * 200, document={"config": number})
    space = Space(key.organization, key)
    for name in ("initramfs.tgz", "rootfs.sqsh"):
        images.image_store(space, f"{BUILD}/{name}", io.BytesIO(name.encode()))
    page = visit.sign_in("sue")
    for width in (420, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for path, selector in (
            ("bootconfig/", "th a:has-text('xxx')"),
            (f"bootconfig/{row.pk}/versions/", "text=Bring back"),
            ("image/builds/", "text=Write info.sh"),
            (f"quota/limits/?organization={key.organization_id}", "[name=boot_get]"),
        ):
            visit.to(f"/admin/boot/{path}")
            found = page.locator(selector).first.bounding_box()
            assert found is not None and found["x"] + found["width"] <= width, (path, width, found)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    assert visit.complaints == []
