"""Boot pages of the admin without a browser: what stays byte for byte, who sees what, and what is refused."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from boot.images import services as images
from boot.images.queries import Space
from boot.models import BootConfig
from boot.models_images import Image
from boot.services import boot_config_delete, boot_config_set, quota_set
from core.clock import now
from devices.models import Device
from tenancy.models import ApiKey, AuditEvent, Membership, Organization
from tests import factories
from tests.admin.conftest import page
from tracking.models import TrackedDevice
from tracking.services import track

SECRET = "hunter2-hunter2"
BINARY = base64.b64encode(b"\x7fELF\xff\xfe").decode()
DOS = base64.b64encode(b"echo a\r\necho b\r\n").decode()


@pytest.fixture
def key(org: Organization) -> ApiKey:
    return factories.api_key(factories.user(role="operator", organization=org), org, name="pis")[0]


def stored(key: ApiKey, device: str = "default", **document: Any) -> BootConfig:
    return boot_config_set(api_key_id=key.pk, device=device, document=document)


def form_of(client: Client, row: BootConfig, **changes: Any) -> dict[str, Any]:
    """Return what a browser would post from the form that is shown."""
    form = client.get(page("boot_bootconfig_change", row.pk)).context["adminform"].form
    shown = {name: form.get_initial_for_field(field, name) or "" for name, field in form.fields.items()}
    # Browsers send the line ends of DOS.
    shown = {name: str(value).replace("\r\n", "\n").replace("\n", "\r\n") for name, value in shown.items()}
    return {**shown, **changes}


def test_what_is_not_edited_stays_byte_for_byte(operator: Client, key: ApiKey) -> None:
    broken = base64.b64encode(b"echo long\n" * 20).decode()
    row = stored(
        key, bootcode=broken[:76] + "\n" + broken[76:], usercode=BINARY, config={"b": [1, 2.0], "a": None}
    )
    before = row.document
    posted = form_of(operator, row, rootfs_md5sum="0" * 32)
    assert posted["usercode"] == ""
    answer = operator.post(page("boot_bootconfig_change", row.pk), posted)
    assert answer.status_code == 302, answer.context["errors"]
    row.refresh_from_db()
    assert row.document == {**before, "rootfs": {"url": "", "md5sum": "0" * 32}}
    dos = stored(key, "dos", bootcode=DOS)
    operator.post(page("boot_bootconfig_change", dos.pk), form_of(operator, dos, config="[]"))
    dos.refresh_from_db()
    assert (dos.document["bootcode"], dos.document["config"]) == (DOS, [])


def test_who_may_not_see_secrets_edits_around_their_marks(staff: Any, key: ApiKey) -> None:
    row = stored(key, bootcode=base64.b64encode(f"export WIFI_PASSWORD={SECRET}\n".encode()).decode(),
                 config={"password": SECRET, "ssid": "x"})  # fmt: skip
    operator = staff("operator")
    Membership.objects.filter(user=operator.user).update(can_reveal=False)
    for name in ("change", "versions", "default"):
        assert SECRET not in operator.get(page(f"boot_bootconfig_{name}", row.pk)).content.decode()
    asked = operator.get(page("boot_bootconfig_effective"), {"key": str(key.pk), "device": "x"})
    assert SECRET not in asked.content.decode() and "redacted:" in asked.content.decode()
    before = row.document
    posted = form_of(operator, row)
    assert (
        operator.post(
            page("boot_bootconfig_change", row.pk),
            {**posted, "config": posted["config"].replace('"x"', '"y"')},
        ).status_code
        == 302
    )
    row.refresh_from_db()
    assert row.document == {**before, "config": {"password": SECRET, "ssid": "y"}}
    answer = operator.post(
        page("boot_bootconfig_change", row.pk), {**posted, "bootcode": posted["bootcode"] + "echo more\n"}
    )
    assert "marks of secrets" in str(answer.context["adminform"].form.errors["bootcode"])
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()


def test_who_may_see_secrets_sees_them_and_that_is_written_down(staff: Any, key: ApiKey) -> None:
    row = stored(key, config={"password": SECRET})
    owner = staff("owner")
    Membership.objects.filter(user=owner.user).update(can_reveal=True)
    assert SECRET in owner.get(page("boot_bootconfig_change", row.pk)).content.decode()
    assert AuditEvent.objects.filter(action="secret.revealed", actor_id=owner.user.pk).exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"initfs_url": "ftp://x"}, "initfs_url"),
        ({"rootfs_md5sum": "../x"}, "rootfs_url"),
        ({"config": "{"}, "config"),
        ({"config": '{"a": 1, "b": NaN}'}, "config"),
        ({"bootcode": "x" * 4000}, "__all__"),
    ],
)
def test_what_devices_could_not_use_is_a_form_error(
    operator: Client, key: ApiKey, changes: dict[str, str], field: str
) -> None:
    row = stored(key, config={"a": 1})
    answer = operator.post(page("boot_bootconfig_change", row.pk), form_of(operator, row, **changes))
    assert list(answer.context["adminform"].form.errors) == [field]
    row.refresh_from_db()
    assert row.number == 1


def test_viewers_read_and_do_nothing(staff: Any, key: ApiKey) -> None:
    row = stored(key, config={"a": "readable"})
    stored(key, config={"a": "newer"})
    viewer = staff("viewer")
    shown = viewer.get(page("boot_bootconfig_change", row.pk)).content.decode()
    assert "newer" in shown and 'name="bootcode"' not in shown
    assert viewer.post(page("boot_bootconfig_restore", row.pk, 1)).status_code == 403
    assert viewer.get(page("boot_bootconfig_add")).status_code == 403
    assert viewer.get(page("boot_image_add")).status_code == 403
    track(api_key_id=key.pk, organization_id=key.organization_id, device=factories.mac(), info="x", at=now())
    assert (
        viewer.post(page("tracking_trackeddevice_adopt", TrackedDevice.objects.get().pk)).status_code == 403
    )
    assert not Device.objects.exists()


def test_a_foreign_key_is_no_choice(operator: Client, other: Organization) -> None:
    foreign, _ = factories.api_key(factories.user(role="owner", organization=other), other)
    posted = {"api_key": str(foreign.pk), "device": "x", "config": "{}"}
    answer = operator.post(page("boot_bootconfig_add"), posted)
    assert answer.context["adminform"].form.errors["api_key"]
    asked = operator.get(page("boot_bootconfig_effective"), {"key": str(foreign.pk), "device": "x"})
    assert asked.context["problem"] == "Choose an API key."


def test_an_image_that_is_named_stays_and_others_go(
    operator: Client, key: ApiKey, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    for name in ("a", "b"):
        images.image_store(Space(key.organization, key), name, io.BytesIO(name.encode()))
    stored(key, rootfs={"url": "http://x/images/own/a"})
    rows = {image.path: image for image in Image.objects.all()}
    for image in rows.values():
        operator.post(page("boot_image_delete", image.pk), {"post": "yes"})
    assert list(Image.objects.all()) == [rows["a"]]
    assert operator.get(page("boot_image_download", rows["a"].pk))["Location"].startswith(
        "http://testserver/image-files/"
    )


def test_an_image_shows_who_names_it(
    operator: Client, key: ApiKey, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path
    image = images.image_store(Space(key.organization, key), "a", io.BytesIO(b"a"))
    there = page("boot_image_change", image.pk)
    assert "No boot configuration names this image" in operator.get(there).content.decode()
    named = {"rootfs": {"url": "http://x/images/own/a"}}
    rows = {device: stored(key, device, **named) for device in ("pi-0", "pi-1", "pi-2")}
    stored(key, "pi-1", config={"a": 1})
    boot_config_delete(api_key_id=key.pk, device="pi-2")
    shown = operator.get(there)
    assert [(use.device, link) for use, link in shown.context["uses"]] == [
        ("pi-0", page("boot_bootconfig_change", rows["pi-0"].pk)),
        ("pi-1", page("boot_bootconfig_versions", rows["pi-1"].pk)),
        ("pi-2", page("boot_deletedbootconfig_changelist") + "?q=pi-2"),
    ]
    assert all(operator.get(link).status_code == 200 for _, link in shown.context["uses"])
    for word in ("in force", "earlier", "deleted"):
        assert f">{word}</span>" in shown.content.decode()
    # Of very many configurations one has to ask: each is read.
    monkeypatch.setattr("boot.admin.images.READ_UNASKED", 3)
    unread = operator.get(there).content.decode()
    assert "pi-0" not in unread and 'href="?uses=1"' in unread
    assert "pi-0" in operator.get(f"{there}?uses=1").content.decode()
    monkeypatch.setattr("boot.admin.images.READ_UNASKED", 5)
    assert "pi-0" in operator.get(there).content.decode()


def test_superusers_set_quotas_and_limits_and_members_see_them(
    root: Client, staff: Any, org: Organization
) -> None:
    sent = {"organization": str(org.pk), "operation": "boot_get", "amount": "77"}
    assert root.post(page("boot_quota_add"), sent).status_code == 302
    limits = {"organization": str(org.pk), "largest_mib": "1000", "total_mib": "2000"}
    assert root.post(page("boot_imagelimits_add"), limits).status_code == 302
    owner = staff("owner")
    assert "77" in owner.get(page("boot_quota_changelist")).content.decode()
    # Who manages the organization may ask for less, in these pages too, and not for more.
    more = {**sent, "operation": "boot_post", "amount": "11"}
    refused = owner.post(page("boot_quota_add"), more)
    assert refused.status_code == 200 and "At most 10 are allowed here" in refused.content.decode()
    assert owner.post(page("boot_quota_add"), {**more, "amount": "9"}).status_code == 302
    assert staff("operator").get(page("boot_quota_add")).status_code == 403
    assert owner.get(page("boot_imagelimits_add")).status_code == 403
    factories.api_key(owner.user, org, name="pis")
    assert "77 left" in owner.get(page("boot_quota_gauges")).content.decode()


def test_an_odd_device_id_can_be_seen_and_pressed(operator: Client, key: ApiKey) -> None:
    for device in (" ", "x" * 200):
        stored(key, device)
        track(api_key_id=key.pk, organization_id=key.organization_id, device=device, info="x", at=now())
    for name in ("boot_bootconfig_changelist", "tracking_trackeddevice_changelist"):
        shown = operator.get(page(name)).content.decode()
        assert '<span class="mu-boot-device">“ ”</span>' in shown
        assert f'<span class="mu-boot-device">{"x" * 200}</span>' in shown


def test_numbers_of_limits_are_grouped_alike(root: Client, org: Organization) -> None:
    quota_set(by=factories.superuser("sue"), organization=org, operation="boot_get", amount=1_000_000)
    shown = root.get(page("boot_quota_changelist")).content.decode()
    assert shown.count("1,000,000") == 2 and "60 an hour" in shown
    assert "1,000,000" in root.get(page("boot_quota_limits"), {"organization": str(org.pk)}).content.decode()
