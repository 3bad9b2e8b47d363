"""Webhooks: who is told, what arrives, what happens when it does not, and what they cannot reach."""

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from pytest_django import Settings

from config_merge.models import Config
from config_merge.services import configs, reports
from controller.env import Environment
from core.clock import now
from core.errors import Conflict
from tenancy import webhook_delivery, webhook_http, webhook_services, webhooks
from tenancy.models import AuditEvent, Notification, Organization, Role, Webhook, WebhookDelivery
from tenancy.webhook_delivery import State, run
from tenancy.webhook_http import Unreachable, is_allowed, post
from tests import factories
from tests.tenancy.conftest import USERS, client_of
from tests.tenancy.endpoint import Behaviour, Endpoint, answering, dripping, endpoint, saying, silent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_WEBHOOK_PRIVATE": "yes"})


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as served:
        yield served


def hook(of: Organization, url: str = "http://127.0.0.1:9/x", **fields: Any) -> tuple[Webhook, str]:
    fields = {"events": ["webhook.test"], **fields}
    return webhook_services.webhook_create(organization=of, url=url, **fields)


def again(row: WebhookDelivery) -> None:
    """Let a message that waits for its next attempt be due now, and its webhook not rest."""
    WebhookDelivery.objects.filter(pk=row.pk).update(due=now())
    Webhook.objects.update(rests_until=None)


# --- what arrives ---------------------------------------------------------------------------------------------


def test_a_message_arrives_signed_once(org: Organization, there: Endpoint) -> None:
    webhook, secret = hook(org, there.url)
    row = webhook_services.webhook_test(webhook)
    assert run() == 1
    (seen,) = there.requests
    assert seen.line == "POST /hook?x=1 HTTP/1.1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-muster-event"] == "webhook.test"
    assert seen.headers["x-muster-delivery"] == str(row.pk)
    stamp, _, digits = seen.headers["x-muster-signature"].partition(",v1=")
    moment = stamp.removeprefix("t=")
    wanted = hmac.new(secret.encode(), f"{moment}.".encode() + seen.body, hashlib.sha256).hexdigest()
    assert digits == wanted
    assert abs(int(moment) - time.time()) < 30
    body = json.loads(seen.body)
    assert list(body) == ["id", "event", "organization", "created", "data"]
    assert (body["event"], body["organization"]) == ("webhook.test", str(org.pk))
    row.refresh_from_db()
    assert (row.state, row.attempts, row.response_status, row.response_excerpt) == ("delivered", 1, 200, "ok")
    assert run() == 0
    webhook.refresh_from_db()
    assert webhook.last_delivered is not None
    assert webhook.leased_until is None


def test_a_new_secret_signs_from_now_on_and_none_is_stored_in_plain(
    org: Organization, there: Endpoint
) -> None:
    webhook, first = hook(org, there.url)
    second = webhook_services.webhook_secret_rotate(webhook)
    assert first != second
    webhook_services.webhook_test(webhook)
    run()
    assert there.requests[0].headers["x-muster-signature"] == webhook_delivery.signature(
        second,
        there.requests[0].body,
        at=int(there.requests[0].headers["x-muster-signature"].split(",")[0][2:]),
    )
    with connection.cursor() as cursor:
        for table in ("tenancy_webhook", "tenancy_webhookdelivery", "tenancy_auditevent"):
            cursor.execute(f"SELECT * FROM {table}")
            stored = repr(cursor.fetchall())
            assert first not in stored
            assert second not in stored


# --- who is told ----------------------------------------------------------------------------------------------


def told(event: str = "") -> list[dict[str, Any]]:
    rows = WebhookDelivery.objects.order_by("created", "pk").values_list("body", flat=True)
    return [body for body in map(json.loads, rows) if event in ("", body["event"])]


def test_an_organization_is_told_of_its_own_events_and_those_it_chose(
    org: Organization, other: Organization
) -> None:
    hook(org, events=["job.finished", "revision.created"])
    hook(other, events=["job.finished"])
    hook(org, events=["job.finished"], is_active=False)
    webhooks.emit(organization_id=org.pk, event="job.finished", data={"job": "1"})
    webhooks.emit(organization_id=org.pk, event="device.registered", data={})
    assert [(body["organization"], body["data"]) for body in told()] == [(str(org.pk), {"job": "1"})]


def test_an_event_that_is_undone_is_told_to_nobody(org: Organization) -> None:
    hook(org, events=["job.finished"])
    with transaction.atomic():
        assert webhooks.emit(organization_id=org.pk, event="job.finished", data={}) == 1
        transaction.set_rollback(True)
    assert told() == []


def test_an_event_nobody_wants_costs_no_query_and_others_one_insert(
    org: Organization, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "REMEMBERED_SECONDS", 60.0)
    many = [webhooks.Event(org.pk, "job.finished", {"job": str(n)}) for n in range(50)]
    with transaction.atomic(), django_assert_num_queries(0):
        webhooks.emit_many(many)
    hook(org, events=["job.finished"])
    webhooks.subscriptions.wanted()
    with transaction.atomic(), django_assert_num_queries(1):
        assert webhooks.emit_many(many) == 50


def test_what_another_process_changed_is_known_after_a_second(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert webhooks.REMEMBERED_SECONDS == 1
    monkeypatch.setattr(webhooks, "REMEMBERED_SECONDS", 60.0)
    webhook, _ = hook(org, events=["job.finished"])
    assert webhooks.organizations_wanting("job.finished") == {org.pk}
    Webhook.objects.filter(pk=webhook.pk).update(is_active=False)
    assert webhooks.organizations_wanting("job.finished") == {org.pk}
    later = time.monotonic() + 60.0
    monkeypatch.setattr(webhooks.time, "monotonic", lambda: later)
    assert webhooks.organizations_wanting("job.finished") == set()


def test_a_webhook_deleted_meanwhile_does_not_undo_the_event(org: Organization) -> None:
    webhook, _ = hook(org, events=["job.finished"])
    webhooks.subscriptions.wanted()
    Webhook.objects.filter(pk=webhook.pk)._raw_delete("default")  # type: ignore[attr-defined]
    assert webhooks.emit(organization_id=org.pk, event="job.finished", data={}) == 1
    assert run() == 0


def test_statuses_and_revisions_are_told_with_before_and_after(
    org: Organization, other: Organization
) -> None:
    hook(org, events=["device.status_changed", "revision.created"])
    device, foreign = factories.configured(org), factories.configured(other)
    shown = {"id": str(device.pk), "name": device.name, "mac_address": device.mac_address}
    config = factories.config_of(device)
    (made,) = told()
    assert made["event"] == "revision.created"
    assert made["data"] == {
        "device": shown, "revision": 1, "checksum": config.checksum, "cause": "created",
    }  # fmt: skip
    mine = reports.Report(config.pk, device.pk, "applied")
    theirs = reports.Report(factories.config_of(foreign).pk, foreign.pk, "applied")
    reports.take_many([mine, theirs])
    reports.take_many([mine, theirs])
    reports.take(reports.Report(config.pk, device.pk, "error", reason="no"))
    configs.config_update(factories.config_of(device), config=factories.interface("eth7"))
    configs.device_deactivate(device)
    reports.take(mine)
    configs.device_activate(device)
    moves = [
        (body["data"]["previous_status"], body["data"]["status"]) for body in told("device.status_changed")
    ]
    assert moves == [
        ("modified", "applied"),
        ("applied", "error"),
        ("error", "modified"),
        ("modified", "deactivating"),
        ("deactivating", "deactivated"),
        ("deactivated", "modified"),
    ]
    assert all(body["data"]["device"] == shown for body in told())
    assert Config.objects.get(pk=config.pk).status == "modified"


def test_nothing_secret_is_told(org: Organization) -> None:
    hook(org, events=["device.registered", "device.status_changed", "revision.created"])
    device = factories.device(org, key="the-device-key-0001", config={"config": factories.interface()})
    reports.take(reports.Report(factories.config_of(device).pk, device.pk, "applied"))
    assert len(told()) == 2
    assert "the-device-key-0001" not in json.dumps(told())


# --- when it does not arrive ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        pytest.param(answering(500), "The answer was 500.", id="error"),
        pytest.param(
            answering(302, Location="http://127.0.0.1:1/elsewhere"),
            "The answer was 302 (redirects are not followed).",
            id="redirect",
        ),
        pytest.param(saying(b"\x16\x03\x01 what?\r\n\r\n"), "The answer is not HTTP.", id="garbage"),
        pytest.param(saying(b""), "The answer is not HTTP.", id="nothing"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500), "The answer is not HTTP.", id="headers"
        ),
    ],
)
def test_a_failure_is_tried_again_later_with_the_same_id(
    org: Organization, behave: Behaviour, problem: str
) -> None:
    with endpoint(behave) as there:
        webhook, _ = hook(org, there.url)
        row = webhook_services.webhook_test(webhook)
        assert run() == 1
        row.refresh_from_db()
        assert (row.state, row.attempts, row.error) == ("pending", 1, problem)
        assert timedelta(seconds=5) < row.due - now() < timedelta(seconds=13)
        assert run() == 0, "it is not due yet"
        again(row)
        there.behave = answering(204)
        assert run() == 1
        row.refresh_from_db()
        assert (row.state, row.attempts, row.response_status, row.error) == ("delivered", 2, 204, "")
        assert {seen.headers["x-muster-delivery"] for seen in there.requests} == {str(row.pk)}
        assert there.requests[0].body == there.requests[1].body
        webhook.refresh_from_db()
        assert webhook.failing_since is None


@pytest.mark.parametrize("behave", [silent, dripping], ids=["silent", "dripping"])
def test_a_slow_answer_ends_at_the_deadline(
    org: Organization, behave: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_http, "ANSWER_SECONDS", 0.5)
    with endpoint(behave) as there:
        webhook, _ = hook(org, there.url)
        row = webhook_services.webhook_test(webhook)
        started = time.monotonic()
        run()
        assert time.monotonic() - started < 15
    row.refresh_from_db()
    assert row.error == "No answer within 0.5 s."


def test_no_more_of_a_long_answer_is_kept_than_a_kilobyte(org: Organization) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"\x00\xff" + b"x" * 300_000
    with endpoint(saying(answer)) as there:
        row = webhook_services.webhook_test(hook(org, there.url)[0])
        run()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert 900 < len(row.response_excerpt) <= 1024
    assert "\x00" not in row.response_excerpt


def test_after_seven_attempts_it_is_given_up(org: Organization) -> None:
    webhook, _ = hook(org)
    row = webhook_services.webhook_test(webhook)
    waits = []
    for _ in range(7):
        again(row)
        assert run() == 1
        row.refresh_from_db()
        waits.append((row.due - now()).total_seconds())
    assert (row.state, row.attempts, row.error) == ("failed", 7, "The host does not accept connections.")
    for wait, planned in zip(waits, webhook_delivery.RETRY_SECONDS, strict=False):
        assert 0.75 * planned < wait < 1.25 * planned
    again(row)
    assert run() == 0


def test_a_webhook_that_fails_for_days_is_switched_off_and_people_are_told(org: Organization) -> None:
    webhook, _ = hook(org)
    row = webhook_services.webhook_test(webhook)
    other_row = webhook_services.webhook_test(webhook)
    Webhook.objects.update(failing_since=now() - timedelta(days=4))
    run()
    webhook.refresh_from_db()
    assert webhook.is_active is False
    for one in (row, other_row):
        one.refresh_from_db()
        assert one.state == State.FAILED
    assert [n.kind for n in Notification.objects.all()] == ["webhook_disabled"]
    with pytest.raises(Conflict):
        webhook_services.webhook_test(webhook)
    with pytest.raises(Conflict):
        webhook_services.webhook_delivery_replay(row)
    webhook_services.webhook_update(webhook, is_active=True)
    assert webhook.failing_since is None


def test_a_slow_endpoint_does_not_hold_up_the_others(
    org: Organization, other: Organization, there: Endpoint
) -> None:
    with endpoint(silent) as slow:
        stuck = webhook_services.webhook_test(hook(org, slow.url)[0])
        quick = webhook_services.webhook_test(hook(other, there.url)[0])
        carriers = webhook_delivery.Carriers(limit=2)
        assert carriers.start() == 2
        deadline = time.monotonic() + webhook_http.ANSWER_SECONDS - 1
        while WebhookDelivery.objects.get(pk=quick.pk).state != State.DELIVERED:
            assert time.monotonic() < deadline, "the slow one holds it up"
            time.sleep(0.05)
        assert WebhookDelivery.objects.get(pk=stuck.pk).state == State.PENDING
        assert run() == 0, "nobody else carries for a webhook that is leased"
        slow.ended.set()
        assert carriers.wait(15)
    assert len(slow.requests) == 1


class Killed(BaseException):
    """The end of a process in the middle of its work."""


def test_a_carrier_killed_after_the_post_sends_the_same_delivery_again(
    org: Organization, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = hook(org, there.url)
    row = webhook_services.webhook_test(webhook)
    leased = webhook_delivery.lease_one()
    assert leased is not None
    with monkeypatch.context() as patch:

        def die(*_arguments: Any, **_options: Any) -> None:
            raise Killed

        patch.setattr(webhook_delivery, "_write", die)
        with pytest.raises(Killed):
            webhook_delivery._send(leased, row)
    assert run() == 0, "the dead carrier's lease still stands"
    Webhook.objects.update(leased_until=now() - timedelta(seconds=1))
    assert run() == 1
    assert [seen.headers["x-muster-delivery"] for seen in there.requests] == [str(row.pk)] * 2
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("delivered", 1)


def test_two_carriers_never_share_a_webhook(org: Organization) -> None:
    hook_of, _ = hook(org)
    webhook_services.webhook_test(hook_of)
    taken: list[Webhook | None] = []

    def take() -> None:
        try:
            taken.append(webhook_delivery.lease_one())
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in taken if one is not None]) == 1


def test_the_log_is_kept_for_thirty_days(org: Organization) -> None:
    webhook, _ = hook(org)
    old, young = webhook_services.webhook_test(webhook), webhook_services.webhook_test(webhook)
    WebhookDelivery.objects.filter(pk=old.pk).update(created=now() - timedelta(days=31))
    WebhookDelivery.objects.filter(pk=young.pk).update(created=now() - timedelta(days=29))
    assert webhook_delivery.prune() == 1
    assert list(WebhookDelivery.objects.values_list("pk", flat=True)) == [young.pk]


# --- what they cannot reach -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "::1", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1",
        "2002:7f00:1::", "2002:0a00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2001:db8::1",
    ],
)  # fmt: skip
def test_nothing_internal_is_an_address_for_messages(address: str) -> None:
    assert not is_allowed(address, private=False)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_the_internet_is(address: str) -> None:
    assert is_allowed(address, private=False)


def test_a_name_is_connected_to_at_the_address_that_was_checked(
    there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        """The first answer is the endpoint, every later one leads nowhere."""
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://rebinding.example:{there.port}/"
    assert post(url, b"{}", headers={}, private=True).status == 200
    assert asked == ["rebinding.example"]
    assert there.requests[0].headers["host"] == f"rebinding.example:{there.port}"
    asked.clear()
    with pytest.raises(Unreachable, match="private, local or special"):
        post(url, b"{}", headers={}, private=False)
    assert len(there.requests) == 1


def test_a_private_endpoint_is_not_asked_unless_allowed(
    org: Organization, there: Endpoint, settings: Settings
) -> None:
    row = webhook_services.webhook_test(hook(org, there.url)[0])
    settings.MUSTER = Environment.from_mapping({"MUSTER_WEBHOOK_PRIVATE": "no"})
    run()
    row.refresh_from_db()
    assert row.error == "The host is a private, local or special address; messages do not go there."
    assert there.requests == []
    for url in (there.url, "http://localhost/x", "http://[::1]/", "http://169.254.169.254/"):
        with pytest.raises(ValidationError):
            hook(org, url)


def test_a_certificate_that_nobody_vouches_for_is_refused(there: Endpoint) -> None:
    there.behave = silent
    with pytest.raises(Unreachable, match=r"TLS|certificate|accept|connection"):
        post(there.url.replace("http://", "https://"), b"{}", headers={}, private=True)


def test_private_addresses_are_open_on_one_machine_only() -> None:
    grown = {
        "MUSTER_REDIS_URL": "redis://127.0.0.1/0",
        "MUSTER_SECRET_KEY": "k" * 40,
        "MUSTER_ENCRYPTION_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
    assert Environment.from_mapping({}).webhook_private_allowed
    assert not Environment.from_mapping({"MUSTER_WEBHOOK_PRIVATE": "no"}).webhook_private_allowed
    assert not Environment.from_mapping(grown).webhook_private_allowed
    assert Environment.from_mapping({**grown, "MUSTER_WEBHOOK_PRIVATE": "yes"}).webhook_private_allowed


# --- REST -----------------------------------------------------------------------------------------------------

HOOKS = f"{USERS}webhook/"


@pytest.fixture
def manager(org: Organization) -> Any:
    return client_of(factories.user(role=Role.MANAGER, organization=org))


def test_a_manager_makes_changes_tries_and_deletes_a_webhook(
    org: Organization, manager: Any, there: Endpoint
) -> None:
    sent = {
        "organization": str(org.pk),
        "url": there.url,
        "events": ["revision.created"],
        "description": "ci",
    }
    made = manager.post(HOOKS, sent, format="json")
    assert made.status_code == 201
    keys = [
        "id", "organization", "url", "description", "events", "is_active", "failing_since", "last_delivered",
        "created", "modified",
    ]  # fmt: skip
    assert list(made.json()) == [*keys, "secret"]
    assert made.json()["secret"].startswith("whsec_")
    path = f"{HOOKS}{made.json()['id']}/"
    assert list(manager.get(path).json()) == keys
    assert manager.patch(path, {"events": ["job.finished"]}, format="json").json()["events"] == [
        "job.finished"
    ]
    assert list(manager.post(f"{path}rotate-secret/").json()) == ["secret"]
    tried = manager.post(f"{path}test/")
    assert (tried.status_code, tried.json()["state"]) == (201, "pending")
    run()
    (logged,) = manager.get(f"{path}delivery/").json()["results"]
    assert (logged["id"], logged["state"]) == (tried.json()["id"], "delivered")
    replayed = manager.post(f"{path}delivery/{logged['id']}/replay/")
    assert replayed.status_code == 201
    assert (replayed.json()["replay_of"], replayed.json()["body"]) == (logged["id"], logged["body"])
    assert run() == 1
    assert manager.get(f"{path}delivery/?state=failed").json()["count"] == 0
    assert manager.get(f"{path}delivery/?state=lost").status_code == 400
    manager.patch(path, {"is_active": False}, format="json")
    assert manager.post(f"{path}test/").status_code == 400
    assert manager.post(f"{path}delivery/{logged['id']}/replay/").status_code == 400
    assert manager.delete(path).status_code == 204
    assert WebhookDelivery.objects.count() == 0
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {
        "webhook.created", "webhook.changed", "webhook.secret_rotated", "webhook.tested", "webhook.replayed",
        "webhook.deleted",
    } <= actions  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://example.org/"},
        {"url": "http://user:password@example.org/"},
        {"url": "http://example.org/#x"},
        {"url": "http://example.org:99999/"},
        {"url": "http://[::1/"},
        {"url": "http:///x"},
        {"url": "http://exämple.org/"},
        {"url": "http://example.org/a b"},
        {"url": "http://example.org/\r\nX: y"},
        {"url": "http://example.org/\x00"},
        {"url": "http://" + "a" * 600},
        {"url": "http://a..b/"},
        {"url": "http://169.254.169.254/"},
        {"url": 5},
        {"url": None},
        {"events": []},
        {"events": ["nonsense"]},
        {"events": ["job.finished", "job.finished"]},
        {"events": "job.finished"},
        {"events": [["job.finished"]]},
        {"events": {"a": 1}},
        {"description": "x" * 201},
        {"is_active": "perhaps"},
        {"organization": "nonsense"},
    ],
    ids=range(24),
)
def test_what_makes_no_webhook_is_a_400(org: Organization, manager: Any, fields: dict[str, Any]) -> None:
    sent = {"organization": str(org.pk), "url": "https://example.org/", "events": ["job.finished"], **fields}
    answer = manager.post(HOOKS, sent, format="json")
    assert answer.status_code == 400, answer.content
    assert list(answer.json()) == [next(iter(fields))]


def test_a_delivery_of_another_webhook_is_not_found(
    org: Organization, other: Organization, manager: Any
) -> None:
    mine, theirs = hook(org)[0], hook(other)[0]
    row = webhook_services.webhook_test(theirs)
    own = webhook_services.webhook_test(hook(org)[0])
    for delivery in (row, own):
        answer = manager.post(f"{HOOKS}{mine.pk}/delivery/{delivery.pk}/replay/")
        assert answer.status_code == 404
    assert manager.post(f"{HOOKS}{theirs.pk}/delivery/{row.pk}/replay/").status_code == 404
    operator = client_of(factories.user(role=Role.OPERATOR, organization=org))
    for call in (operator.get(HOOKS), operator.get(f"{HOOKS}{mine.pk}/delivery/"), operator.post(HOOKS, {})):
        assert call.status_code == 403


def test_someone_who_manages_elsewhere_sees_only_what_they_manage(
    org: Organization, other: Organization
) -> None:
    person = factories.user(role=Role.MANAGER, organization=org)
    factories.tenancy.membership_set(user=person, organization=other, role=Role.VIEWER)
    mine, theirs = hook(org)[0], hook(other)[0]
    client = client_of(person)
    assert [row["id"] for row in client.get(HOOKS).json()["results"]] == [str(mine.pk)]
    assert client.get(f"{HOOKS}{theirs.pk}/").status_code == 404


def test_lists_take_the_same_queries_whatever_their_length(
    org: Organization, manager: Any, django_assert_num_queries: Any
) -> None:
    webhook, _ = hook(org)
    for _ in range(10):
        hook(org)
        webhook_services.webhook_test(webhook)
    manager.get(HOOKS)
    with django_assert_num_queries(4):
        assert len(manager.get(HOOKS).json()["results"]) == 10
    with django_assert_num_queries(5):
        assert len(manager.get(f"{HOOKS}{webhook.pk}/delivery/").json()["results"]) == 10


def test_an_organization_has_at_most_twenty(org: Organization) -> None:
    for _ in range(20):
        hook(org)
    with pytest.raises(ValidationError, match="at most 20"):
        hook(org)
