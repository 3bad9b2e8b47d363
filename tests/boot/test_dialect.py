"""The boot dialect as its page and clients have it (seeds/001; spec part A), through both doors."""

import base64
import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import override_settings

from boot import boots, quotas, services
from boot.images import signing
from boot.models import BootConfig, BootVersion, Operation, Quota
from config_merge.agent import presence
from core.clock import now
from devices.models import Device
from tenancy import api_keys
from tenancy.models import Organization, Role
from tenancy.services import membership_remove, organization_update
from tests import factories
from tests.boot.conftest import Caller, D, Door, django_door, made
from tracking import queries
from tracking import services as tracking
from tracking.models import TrackedDevice

EMPTY = (
    b'{"bootcode": "", "config": {}, "initfs": {"md5sum": "", "url": ""}, '
    b'"rootfs": {"md5sum": "", "url": ""}, "usercode": ""}'
)
MD5 = "93a4eccacabdcce8eb5b8b68de6742cc"
FULL = {
    "initfs": {"url": "https://images.example.org/initramfs.tgz", "md5sum": MD5},
    "rootfs": {"url": "http://10.0.0.1:4567/rootfs.sqsh", "md5sum": "c1d44c65d29af575b2f6685b6a91d2da"},
    "bootcode": base64.b64encode(b"#!/bin/sh\necho hello\n").decode(),
    "usercode": "",
    "config": {"autoupdate": True, "ssh": {"pi": {"authorized_keys": ["ssh-ed25519 é"]}}},
}
ENTRY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} ")


def test_ping_needs_no_key_and_counts_nothing(door: Door) -> None:
    for method, body in (("GET", b'{"status": "ok"}'), ("HEAD", b"")):
        answered = door(method, "/ping")
        assert (answered.status, answered.body) == (200, body)
        assert answered.headers["content-type"] == "application/json"
        assert answered.headers["content-length"] == "16"
    assert door("POST", "/ping").status == 405


def test_a_key_without_anything_stored_gets_404_and_is_discovered(caller: Caller) -> None:
    answered = caller.get()
    assert (answered.status, answered.json) == (404, {"message": "Not Found"})
    assert caller("GET", "/track").json == [D]


def test_a_device_has_its_own_configuration_or_the_default(caller: Caller) -> None:
    answered = caller.post({}, "default")
    assert (answered.status, answered.body) == (200, b'{"status": "ok"}')
    assert caller.get().body == EMPTY
    assert caller.post(FULL).status == 200
    assert caller.get().json == FULL
    assert caller.get("default").body == caller.get("third").body == EMPTY
    assert caller("DELETE", f"/boot/{D}/config").body == b'{"status": "ok"}'
    assert caller.get().body == EMPTY
    assert caller("DELETE", "/boot/never/config").body == b'{"status": "ok"}'
    assert list(BootConfig.objects.values_list("device", flat=True)) == ["default"]


def test_own_and_default_are_the_same_bytes_however_they_were_sent(caller: Caller) -> None:
    caller.post(FULL, "default")
    shuffled = json.dumps(dict(reversed(FULL.items())), indent=3, ensure_ascii=False).encode()
    caller("POST", f"/boot/{D}/config", body=shuffled)
    assert caller.get().body == caller.get("default").body == caller.get("other").body


def test_a_post_replaces_everything_and_knows_five_members(caller: Caller) -> None:
    caller.post(FULL | {"unknown": 1, "initfs": {**FULL["initfs"], "size": 3}})  # type: ignore[dict-item]
    assert caller.get().json == FULL
    caller.post({"config": [1, None, "x"], "initfs": None, "rootfs": {"md5sum": MD5}})
    assert caller.get().json == {
        "bootcode": "", "usercode": "", "config": [1, None, "x"],
        "initfs": {"md5sum": "", "url": ""}, "rootfs": {"md5sum": MD5, "url": ""},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b"", ""), (b"nonsense", ""), (b"[]", ""), (b'"x"', ""), (b"\xff", ""), (b'{"config": NaN}', ""),
        (b'{"config": 1e999}', ": config"), (b"[" * 4000, ""), (b'{"config":' + b"[" * 3000, ""),
        (b'{"bootcode": 1}', ": bootcode"), (b'{"bootcode": "a"}', ": bootcode"),
        (b'{"usercode": "aGk=\\u0000"}', ": usercode"), (b'{"usercode": "a-_="}', ": usercode"),
        (b'{"usercode": "YQ==YQ=="}', ": usercode"), (b'{"bootcode": "aG k="}', ": bootcode"),
        (b'{"initfs": "x"}', ": initfs"), (b'{"initfs": {"url": 1}}', ": initfs.url"),
        (b'{"rootfs": {"url": "ftp://x/y"}}', ": rootfs.url"), (b'{"rootfs": {"url": "/x"}}', ": rootfs.url"),
        (b'{"rootfs": {"url": "http://"}}', ": rootfs.url"), (b'{"rootfs": {"url": "http://a b"}}', ": rootfs.url"),
        (b'{"rootfs": {"md5sum": "../../x"}}', ": rootfs.md5sum"),
        (b'{"rootfs": {"md5sum": "93A4ECCACABDCCE8EB5B8B68DE6742CC"}}', ": rootfs.md5sum"),
        (b'{"rootfs": {"md5sum": "93a4eccacabdcce8eb5b8b68de6742cc\\n"}}', ": rootfs.md5sum"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_by_member_and_not_counted(
    caller: Caller, body: bytes, member: str
) -> None:
    answered = caller("POST", f"/boot/{D}/config", body=body)
    assert (answered.status, answered.json) == (400, {"message": f"Invalid request body{member}"})
    assert not BootConfig.objects.exists() and not TrackedDevice.objects.exists()
    assert _used(caller, Operation.BOOT_POST) == 0


def test_base64_may_be_wrapped(caller: Caller) -> None:
    assert caller.post({"bootcode": "aGVs\nbG8=\r\n"}).status == 200
    assert caller.get().json["bootcode"] == "aGVs\nbG8=\r\n"


def test_4096_bytes_are_accepted_and_one_more_is_not(caller: Caller) -> None:
    body = b'{"config": "%s"}'
    assert caller("POST", f"/boot/{D}/config", body=body % (b"x" * (4096 - len(body) + 2))).status == 200
    answered = caller("POST", f"/boot/{D}/config", body=body % (b"x" * (4097 - len(body) + 2)))
    assert (answered.status, answered.json) == (413, {"message": "Request Too Long"})
    answered = caller("POST", f"/track/{D}", body=b'{"info": "%s"}' % (b"x" * 5000))
    assert answered.status == 413
    for method, path in (("GET", f"/boot/{D}/config"), ("DELETE", f"/boot/{D}/config"), ("GET", "/track")):
        assert caller(method, path, body=b"x" * 4097).status == 413
    assert _used(caller, Operation.BOOT_GET) == _used(caller, Operation.TRACK_LIST) == 0
    assert _used(caller, Operation.BOOT_POST) == 1 and _used(caller, Operation.TRACK_POST) == 0


def _used(caller: Caller, operation: str) -> int:
    found = quotas.gauges(key_id=caller.row.key_id, organization_id=caller.row.organization_id, at=now())
    return next(gauge.used for gauge in found if gauge.operation == operation)


# --- keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/boot/x/config", "/track", "/track/x", "/images/global/x", f"/boot/{D}/config/"]
)
def test_no_key_is_400_and_an_unknown_one_403(door: Door, path: str) -> None:
    answered = door("GET", path)
    assert (answered.status, answered.json) == (400, {"message": "Bad Request"})
    for text in ("unknown", "x" * 5000, "aaaaaaaa." + "b" * 43, "~" * 256):
        answered = door("GET", path, headers={"X-Api-Key": text})
        assert (answered.status, answered.json) == (403, {"message": "Forbidden"})


def test_the_query_carries_a_key_for_reads_and_the_header_wins(door: Door, caller: Caller) -> None:
    caller.post({}, "default")
    assert door("GET", f"/boot/default/config?apiKey={caller.text}").status == 200
    assert door("GET", "/boot/default/config?apiKey=wrong").status == 403
    assert (
        door("GET", f"/boot/default/config?apiKey={caller.text}", headers={"X-Api-Key": "no"}).status == 403
    )
    assert door("POST", f"/boot/default/config?apiKey={caller.text}", body=b"{}").status == 400


def test_revoked_expired_and_orphaned_keys_are_unknown(door: Door, org: Organization) -> None:
    revoked, expired, left, disabled = (made(door, org) for _ in range(4))
    api_keys.api_key_revoke(revoked.row, by=revoked.row.user)
    type(expired.row).objects.filter(pk=expired.row.pk).update(expires_at=now() - timedelta(seconds=1))
    membership_remove(left.row.user.memberships.get())
    disabled.row.user.is_active = False
    disabled.row.user.save()
    for one in (revoked, expired, left, disabled):
        assert one.get().status == one("GET", "/track").status == one.post({}).status == 403
    alive = made(door, org)
    assert alive.get().status == 404
    organization_update(org, is_active=False)
    assert alive.get().status == 403


def test_a_read_only_key_reads_and_tracks_but_writes_no_configuration(door: Door, org: Organization) -> None:
    reader = made(door, org, read_only=True)
    assert reader.post({}).status == reader("DELETE", f"/boot/{D}/config").status == 403
    assert reader.post({}).json == {"message": "Forbidden"}
    assert reader("POST", f"/track/{D}", {"info": "hi"}).status == 200
    assert reader.get().status == 404 and len(reader.track()) == 2
    assert _used(reader, Operation.BOOT_POST) == 0
    api_keys.api_key_update(reader.row, by=reader.row.user, read_only=False)
    assert reader.post({}).status == 200


def test_a_viewers_key_reads_only(door: Door, org: Organization) -> None:
    viewer = made(door, org, role=Role.VIEWER)
    assert viewer.post({}).status == 403
    assert viewer("POST", f"/track/{D}", {"info": "hi"}).status == 200


def test_an_imported_key_opens_this_dialect_and_no_other(door: Door, org: Organization) -> None:
    root, user = factories.superuser(), factories.user(role=Role.OPERATOR, organization=org)
    text = "2f1f8c34-8f2e-4a6f-a8a5-2f35c3bfa4f1"
    row = api_keys.api_key_import(by=root, user=user, organization=org, name="pis", text=text)
    caller = Caller(door, row, text)
    assert caller.post({}).status == caller.get().status == 200
    assert Caller(door, row, f"{row.key_id}.{text}").get().status == 403
    assert api_keys.api_key_of(text) is None


def test_two_keys_never_meet_even_in_one_organization(door: Door, org: Organization) -> None:
    one, other, foreign = made(door, org), made(door, org), made(door, factories.organization())
    one.post(FULL)
    one.post({}, "default")
    for each in (other, foreign):
        assert each.get().status == 404
        assert each.track()[0].endswith("BOOT GET") and len(each.track()) == 1
        each.post({"config": 1})
        each("DELETE", f"/boot/{D}/config")
    assert one.get().json == FULL


# --- routes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/boot", "/boot/", "/boot/x", "/boot//config", "/boot/a/b/config", "/boot/a%2Fb/config", "/images/x",
             "/boot/%FF/config", "/boot/a%00b/config", "/track//x", "/boot/" + "x" * 256 + "/config", "/ping/x",
             "/boot/x/config/more", "/track/%0a", "/boot/" + "%61" * 2000 + "/config"],
)  # fmt: skip
def test_what_is_no_route_is_404(caller: Caller, path: str) -> None:
    answered = caller("GET", path)
    assert (answered.status, answered.json) == (404, {"message": "Not Found"})
    assert answered.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/boot/x/config", "GET, HEAD, POST, DELETE"), ("DELETE", "/track/x", "GET, HEAD, POST"),
        ("POST", "/track", "GET, HEAD"), ("PUT", "/track/x", "GET, HEAD, POST"),
        ("POST", "/images/global/x", "GET, HEAD"),
        ("OPTIONS", "/boot/x/config", "GET, HEAD, POST, DELETE"), ("PATCH", "/ping", "GET, HEAD"),
    ],
)  # fmt: skip
def test_a_method_that_is_none_of_the_route_is_405(
    caller: Caller, method: str, path: str, allowed: str
) -> None:
    answered = caller(method, path)
    assert (answered.status, answered.headers["allow"]) == (405, allowed)
    assert answered.json == {"message": "Method Not Allowed"}


@pytest.mark.parametrize("device", ["b8%3A27%3Aeb%3A00%3A00%3A01", "b8:27:eb%3a00:00:01", D])
@pytest.mark.parametrize("slash", ["", "/"])
def test_spellings_of_a_path_are_one_device(caller: Caller, device: str, slash: str) -> None:
    caller.post(FULL)
    assert caller("GET", f"/boot/{device}/config{slash}").json == FULL
    assert len(caller("GET", f"/track/{device}{slash}").json) == 2
    assert caller("GET", "/track" + slash).json == [D]


@pytest.mark.parametrize("device", ["ü%20ö", "%E2%98%83", "a.b", "..", "%2525", "a%3Fb", "x" * 255])
def test_any_text_names_a_device(caller: Caller, device: str) -> None:
    encoded = device.replace("ü", "%C3%BC").replace("ö", "%C3%B6").replace("..", "%2E%2E")
    assert caller.post({"config": device}, encoded).status == 200
    assert caller.get(encoded).json["config"] == device
    assert len(caller("GET", "/track").json) == 1


def test_head_counts_and_tracks_as_get_does(caller: Caller) -> None:
    caller.post({})
    answered = caller("HEAD", f"/boot/{D}/config")
    assert (answered.status, answered.body, answered.headers["content-length"]) == (200, b"", str(len(EMPTY)))
    assert _used(caller, Operation.BOOT_GET) == 1
    assert [entry[27:] for entry in caller.track()] == ["BOOT POST", "BOOT GET"]


# --- tracks ---------------------------------------------------------------------------------------------------


def test_a_track_keeps_ten_entries_in_the_form_of_the_page(caller: Caller) -> None:
    assert caller.track() == []
    for number in range(11):
        answered = caller("POST", f"/track/{D}", {"info": f"n{number}", "more": 1})
        assert answered.body == b'{"status": "ok"}'
    entries = caller.track()
    assert [entry[27:] for entry in entries] == [f"n{number}" for number in range(1, 11)]
    assert all(ENTRY.match(entry) for entry in entries)
    assert entries == sorted(set(entries))
    caller("POST", f"/track/{D}", {"info": "x\n\ty\x00\x85\ud800" + "z" * 500})
    assert len(caller.track()[-1]) == 256
    assert caller.track()[-1][26:].startswith(" x  y  \ufffdzz")
    assert TrackedDevice.objects.count() == 1


@pytest.mark.parametrize("sent", [{}, {"info": 1}, {"info": None}, [], "x"])
def test_what_is_no_entry_is_refused(caller: Caller, sent: Any) -> None:
    answered = caller("POST", f"/track/{D}", sent)
    assert answered.status == 400 and answered.json["message"].startswith("Invalid request body")
    assert not TrackedDevice.objects.exists()


def test_configuration_calls_are_tracked_and_reading_tracks_is_not(caller: Caller) -> None:
    caller.get()
    caller.post({})
    caller("DELETE", f"/boot/{D}/config")
    caller.track()
    assert [entry[27:] for entry in caller.track()] == ["BOOT GET", "BOOT POST", "BOOT DELETE"]


def test_a_device_is_listed_for_three_months(caller: Caller) -> None:
    caller.get("old")
    caller.get("b")
    caller.get("a")
    TrackedDevice.objects.filter(device="old").update(last_at=now() - timedelta(days=93))
    assert caller("GET", "/track").json == ["a", "b"]
    caller.get("old")
    assert caller("GET", "/track").json == ["a", "b", "old"]


# --- quotas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", f"/boot/{D}/config", Operation.BOOT_GET), ("POST", f"/boot/{D}/config", Operation.BOOT_POST),
        ("DELETE", f"/boot/{D}/config", Operation.BOOT_DELETE), ("GET", "/images/global/x", Operation.IMAGE_GET),
        ("GET", "/track", Operation.TRACK_LIST), ("GET", f"/track/{D}", Operation.TRACK_GET),
        ("POST", f"/track/{D}", Operation.TRACK_POST),
    ],
)  # fmt: skip
def test_each_operation_has_its_own_limit(caller: Caller, method: str, path: str, operation: str) -> None:
    root = factories.superuser()
    services.quota_set(by=root, organization=caller.row.organization, operation=operation, amount=2)
    sent = {"info": "x"} if method == "POST" else None
    assert [caller(method, path, sent).status != 429 for _ in range(3)] == [True, True, False]
    answered = caller(method, path, sent)
    assert (answered.status, answered.json) == (429, {"message": "Limit Exceeded"})
    end = quotas.window_of(operation, now()).end
    assert abs(int(answered.headers["retry-after"]) - (end - now()).total_seconds()) < 3
    other = "GET" if method == "POST" else "POST"
    assert caller(other, f"/track/{'x' if other == 'GET' else D}", {"info": "y"}).status == 200
    assert made(caller.door, caller.row.organization)(method, path, sent).status != 429
    services.quota_set(by=root, organization=caller.row.organization, operation=operation, amount=3)
    assert [caller(method, path, sent).status != 429 for _ in range(2)] == [True, False]


def test_the_limits_are_those_of_the_page() -> None:
    assert {name: (str(item.amount), item.GRANULARITY.name) for name, item in quotas.LIMITS.items()} == {
        "boot_get": ("60", "hour"), "boot_post": ("10", "hour"), "boot_delete": ("10", "hour"),
        "image_get": ("10", "month"), "track_list": ("300", "hour"), "track_get": ("300", "hour"),
        "track_post": ("120", "hour"),
    }  # fmt: skip


def test_60_reads_and_10_writes_an_hour(caller: Caller) -> None:
    assert [caller.post({"config": n}).status for n in range(11)] == [200] * 10 + [429]
    assert [caller.get().status for _ in range(61)] == [200] * 60 + [429]
    assert len(caller.track()) == 10 and TrackedDevice.objects.get().seq == 70


def test_a_used_up_quota_comes_before_size_and_body_and_after_the_key(
    caller: Caller, org: Organization
) -> None:
    services.quota_set(by=factories.superuser(), organization=org, operation=Operation.BOOT_POST, amount=0)
    for body in (b"nonsense", b"x" * 5000, b"{}"):
        assert caller("POST", f"/boot/{D}/config", body=body).status == 429
    reader = made(caller.door, org, read_only=True)
    assert reader("POST", f"/boot/{D}/config", body=b"nonsense").status == 403
    assert Quota.objects.count() == 1


# --- images' door ---------------------------------------------------------------------------------------------


def test_a_foreign_space_of_images_is_forbidden_and_not_counted(door: Door, org: Organization) -> None:
    one, other = made(door, org), made(door, org)
    for space in (other.text, other.row.key_id, str(other.row.pk), "Global", "%6fwn2"):
        assert one("GET", f"/images/{space}/x").status == 403
    assert _used(one, Operation.IMAGE_GET) == 0
    for space in ("global", "own", one.text, one.row.key_id, str(one.row.pk), one.row.pk.hex):
        assert one("GET", f"/images/{space}/no/such/image").status == 404
    assert _used(one, Operation.IMAGE_GET) == 6


# --- the LAN, the inventory, the versions ---------------------------------------------------------------------


def test_reads_without_a_key_are_answered_on_a_lan_that_asked_for_it(
    door: Door, caller: Caller, settings: Any
) -> None:
    caller.post({}, "default")
    assert door("GET", f"/boot/{D}/config", ip="10.1.2.3").status == 400
    settings.MUSTER = dataclasses.replace(settings.MUSTER, boot_lan_key=caller.text)
    for ip in ("10.1.2.3", "127.0.0.1", "192.168.0.9", "fd00::1", "::1"):
        assert door("GET", f"/boot/{D}/config", ip=ip).status == 200
    assert door("GET", f"/boot/{D}/config", ip="8.8.8.8").status == 400
    assert door("GET", f"/boot/{D}/config", ip="10.1.2.3", headers={"X-Api-Key": "wrong"}).status == 403
    assert door("POST", f"/boot/{D}/config", ip="10.1.2.3", body=b"{}").status == 400
    assert door("POST", f"/track/{D}", ip="10.1.2.3", body=b'{"info": "x"}').status == 400
    headers = {"X-Forwarded-For": "8.8.8.8"}
    assert door("GET", f"/boot/{D}/config", ip="127.0.0.1", headers=headers).status == 400


def test_a_tracked_mac_is_the_device_of_the_inventory(caller: Caller, org: Organization) -> None:
    device = factories.device(org, mac_address=D.upper())
    foreign = factories.device(factories.organization(), mac_address=D.upper())
    caller.get()
    presence.flush()
    device.refresh_from_db()
    foreign.refresh_from_db()
    assert device.last_seen is not None and foreign.last_seen is None


def test_adopting_makes_the_device_once(caller: Caller, org: Organization) -> None:
    root = factories.superuser()
    caller.get()
    tracked = TrackedDevice.objects.get()
    device = services.tracked_adopt(tracked, by=root)
    assert (device.organization, device.mac_address, device.last_seen) == (org, D.upper(), tracked.last_at)
    assert services.tracked_adopt(tracked, by=root) == device
    caller.get("kitchen")
    kitchen = TrackedDevice.objects.get(device="kitchen")
    with pytest.raises(Exception, match="MAC address"):
        services.tracked_adopt(kitchen, by=root)
    made_one = services.tracked_adopt(kitchen, by=root, name="kitchen", mac_address="B8-27-EB-00-00-02")
    assert Device.objects.count() == 2 and made_one.name == "kitchen"
    assert services.device_of(kitchen) == made_one


def test_versions_are_kept_over_a_deletion_and_bounded(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "VERSIONS", 3)
    caller.post({"config": 1})
    caller.post({"config": 1})
    caller("DELETE", f"/boot/{D}/config")
    caller.post({"config": 2})
    caller.post({"config": 3})
    found = BootVersion.objects.order_by("number")
    assert [(row.number, row.document and row.document["config"]) for row in found] == [
        (2, None),
        (3, 2),
        (4, 3),
    ]


def test_a_stored_configuration_is_ciphertext(caller: Caller) -> None:
    caller.post({"config": {"wpa_supplicant": "c2VjcmV0"}})
    with connection.cursor() as cursor:
        cursor.execute("SELECT b.body, v.body FROM boot_bootconfig b, boot_bootversion v")
        assert "c2VjcmV0" not in str(cursor.fetchone())


def test_an_entry_made_earlier_than_the_newest_is_dated_after_it(transactional_db: None) -> None:
    org = factories.organization()
    row, _ = factories.api_key(factories.operator(org), org)
    late = datetime(2026, 1, 1, tzinfo=UTC)
    for at, info in ((late, "one"), (late, "two"), (late - timedelta(hours=1), "three")):
        tracking.track(api_key_id=row.pk, organization_id=org.pk, device="x", info=info, at=at)
    assert queries.entries(api_key_id=row.pk, device="x") == [
        "2026-01-01 00:00:00.000000 one", "2026-01-01 00:00:00.000001 two", "2026-01-01 00:00:00.000002 three",
    ]  # fmt: skip
    assert TrackedDevice.objects.get().last_at == late


def test_the_cache_of_bodies_follows_every_change(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    caller.post({"config": 1})
    assert caller.get().json["config"] == 1
    caller.post({"config": 2})
    assert caller.get().json["config"] == 2
    monkeypatch.setattr(boots, "decrypt", lambda _token: pytest.fail("it was decrypted already"))
    assert caller.get().json["config"] == 2


def test_the_wrong_host_does_not_matter_to_devices(door: Door, caller: Caller) -> None:
    path = signing.signed_path(uuid4(), "rootfs.sqsh")
    with override_settings(ALLOWED_HOSTS=["muster.example.org"]):
        assert door("GET", "/ping").status == 200
        assert caller.post({}).status == caller.get().status == 200
        assert caller("GET", "/images/global/x").status == 404
        # What a redirect leads to is Django's to serve, whoever has redirected.
        assert django_door("GET", path).json == {"message": "Not Found"}
        assert django_door("GET", path[:-1]).json == {"message": "Forbidden"}
        assert django_door("GET", "/api/v1/boot/keys/").status == 400
