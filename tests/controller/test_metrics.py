"""`/metrics`: who may read it, that it parses, and that it counts exactly what happened."""

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from config_merge.models import Config
from config_merge.services import recompute, reports
from controller import metrics as page
from controller.asgi import application
from controller.env import Environment
from controller.env_values import InvalidEnvironment
from core import heartbeat, metrics
from tenancy import webhook_services
from tests import factories
from tests.controller.test_asgi import websocket_answer

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a-token-of-some-length"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Parse a page as Prometheus would; every sample once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def scrape() -> Samples:
    """Read the page through Django, gauges anew."""
    metrics.forget_readings()
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"] == page.CONTENT_TYPE
    return samples(answer.content.decode())


def difference(before: Samples, after: Samples, name: str) -> dict[tuple[str, ...], float]:
    """Return by how much the samples of `name` grew, without the scrapes themselves."""
    grown = {}
    for (sample, labels), now in after.items():
        more = now - before.get((sample, labels), 0)
        if sample == name and more and ("dialect", "metrics") not in labels:
            grown[tuple(text for _, text in sorted(labels))] = more
    return grown


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def asked(peer: str, **headers: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=application, client=(peer, 1234))  # type: ignore[arg-type]
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/metrics", headers=given)


# --- who may read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_reads_without_a_token(peer: str) -> None:
    answer = await asked(peer)
    assert answer.status_code == 200
    assert value(samples(answer.text), "muster_queue_depth") >= 0


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1", "", "nonsense"])
async def test_nobody_else_does(peer: str) -> None:
    answer = await asked(peer)
    assert (answer.status_code, answer.text) == (403, "Metrics are open to this machine only.\n")


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("X_Forwarded_For", "127.0.0.1"),
        ("X_Forwarded_For", "9.9.9.9"),
        ("X_Forwarded_For", ""),
        ("X_Forwarded_Proto", "https"),
        ("X_Real_IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
    ],
)
async def test_what_a_proxy_of_this_machine_passes_on_is_not_this_machine(
    settings: Settings, trusted: str, name: str, text: str
) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_TRUSTED_PROXIES": trusted})
    assert (await asked("127.0.0.1", **{name: text})).status_code == 403
    headers = {name.replace("_", "-"): text}
    assert Client().get("/metrics", headers=headers).status_code == 403


async def test_a_page_whose_name_leads_here_reads_nothing() -> None:
    assert (await asked("127.0.0.1", Host="evil.example")).status_code == 403
    assert (await asked("127.0.0.1", Host="127.0.0.1:8000")).status_code == 200


async def test_a_token_opens_it_from_anywhere(settings: Settings) -> None:
    settings.MUSTER = Environment.from_mapping({"MUSTER_METRICS_TOKEN": TOKEN})
    for peer in ("10.0.0.1", "127.0.0.1"):
        answer = await asked(
            peer, Authorization=f"Bearer {TOKEN}", X_Forwarded_For="9.9.9.9", Host="any.example"
        )
        assert answer.status_code == 200
    for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        answer = await asked("10.0.0.1", Authorization=wrong.encode("latin1"))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert Client().get("/metrics", REMOTE_ADDR="10.0.0.1").status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert Client().get("/metrics", REMOTE_ADDR="10.0.0.1", headers=headers).status_code == 200


@pytest.mark.parametrize("token", ["short", "with a blank in the middle", "x" * 300, "é" * 20])
def test_a_token_is_long_and_plain(token: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        Environment.from_mapping({"MUSTER_METRICS_TOKEN": token})
    assert token not in str(refusal.value)


async def test_it_is_read_only(http: httpx.AsyncClient) -> None:
    head = await http.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert (await http.post("/metrics")).status_code == 403  # no form of ours
    assert (await http.options("/metrics")).status_code == 405


# --- what it counts -------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_dialect_method_and_class_of_status(http: httpx.AsyncClient) -> None:
    before = samples((await http.get("/metrics")).text)
    await http.get("/api/v1/controller/device/")
    await http.get("/api/v1/controller/device/")
    await http.post("/api/v1/controller/device/", json={})
    await http.get("/api/v1/docs/")
    await http.get("/admin/login/")
    await http.get("/nowhere")
    await http.get("/healthz")
    await http.request("NONSENSE", "/nowhere")
    await http.get("/controller/checksum/00000000000000000000000000000000/")
    await http.request("BREW", "/controller/no-such-thing/")
    assert (await websocket_answer("/ws/nowhere/", origin=b"http://localhost"))["type"] == "websocket.close"
    after = samples((await http.get("/metrics")).text)
    assert difference(before, after, "muster_http_requests_total") == {
        ("rest", "GET", "4xx"): 2,
        ("rest", "POST", "4xx"): 1,
        ("docs", "GET", "2xx"): 1,
        ("admin", "GET", "2xx"): 1,
        ("other", "GET", "4xx"): 1,
        ("other", "OTHER", "4xx"): 1,
        ("health", "GET", "2xx"): 1,
        ("agent", "GET", "4xx"): 1,
        ("agent", "OTHER", "4xx"): 1,
        ("websocket", "CONNECT", "4xx"): 1,
    }
    assert difference(before, after, "muster_agent_requests_total") == {
        ("checksum", "refused"): 1,
        ("unknown", "refused"): 1,
    }
    counts = difference(before, after, "muster_http_request_duration_seconds_count")
    assert counts == {("rest",): 3, ("docs",): 1, ("admin",): 1, ("other",): 2, ("health",): 1, ("agent",): 2}
    for dialect in ("rest", "agent"):
        labels = {"dialect": dialect}
        name = "muster_http_request_duration_seconds"
        whole = value(after, f"{name}_count", **labels)
        assert value(after, f"{name}_bucket", **labels, le="+Inf") == whole
        assert value(after, f"{name}_sum", **labels) > 0
        buckets = [value(after, f"{name}_bucket", **labels, le=str(bound)) for bound in metrics.BOUNDS]
        assert buckets == sorted(buckets)


async def polls_of(send: Any, key: str, pk: str) -> None:
    checksum = await send("GET", f"/controller/checksum/{pk}/?key={key}", "")
    assert checksum.status_code == 200
    etag = checksum.headers["ETag"]
    assert (await send("GET", f"/controller/checksum/{pk}/?key={key}", etag)).status_code == 304
    assert (await send("GET", f"/controller/checksum/{pk}/?key=wrong", "")).status_code == 403
    assert (await send("GET", f"/controller/download-config/{pk}/?key={key}", "")).status_code == 200
    assert (await send("POST", f"/controller/report-status/{pk}/?key={key}", "")).status_code == 400


WANTED = {
    ("checksum", "ok"): 1,
    ("checksum", "not_modified"): 1,
    ("checksum", "refused"): 1,
    ("download-config", "ok"): 1,
    ("report-status", "refused"): 1,
}


def test_polls_are_counted_the_same_behind_django() -> None:
    device = factories.configured(key="some-device-key")
    client, before = Client(), scrape()
    answers = [
        client.get(f"/controller/checksum/{device.pk}/", {"key": device.key}),
        client.get(f"/controller/checksum/{device.pk}/", {"key": "wrong"}),
        client.get(f"/controller/download-config/{device.pk}/", {"key": device.key}),
        client.post(f"/controller/report-status/{device.pk}/", {"key": device.key}),
    ]
    etag = answers[0]["ETag"]
    client.get(f"/controller/checksum/{device.pk}/", {"key": device.key}, headers={"If-None-Match": etag})
    after = scrape()
    assert difference(before, after, "muster_agent_requests_total") == WANTED
    assert sum(difference(before, after, "muster_http_requests_total").values()) == 5


async def test_polls_are_counted_in_the_thin_application(http: httpx.AsyncClient) -> None:
    device = await sync_to_async(factories.configured)(key="some-device-key")

    async def send(method: str, path: str, etag: str) -> httpx.Response:
        return await http.request(method, path, headers={"If-None-Match": etag} if etag else {})

    before = samples((await http.get("/metrics")).text)
    await polls_of(send, "some-device-key", str(device.pk))
    after = samples((await http.get("/metrics")).text)
    assert difference(before, after, "muster_agent_requests_total") == WANTED
    assert difference(before, after, "muster_http_requests_total") == {
        ("agent", "GET", "2xx"): 2,
        ("agent", "GET", "3xx"): 1,
        ("agent", "GET", "4xx"): 1,
        ("agent", "POST", "4xx"): 1,
    }


def test_gauges_say_what_is_there() -> None:
    org = factories.organization()
    first, second = factories.configured(org), factories.configured(org)
    for device in (first, second):
        reports.take(reports.Report(factories.config_of(device).pk, device.pk, "applied"))
    Config.objects.filter(device=second).update(generation=99)
    webhook_services.webhook_test(factories.webhook(org))
    heartbeat.beat("scheduler")
    found = scrape()
    assert value(found, "muster_devices") == 2
    assert value(found, "muster_configurations", status="applied") == 2
    assert value(found, "muster_configurations", status="error") == 0
    assert value(found, "muster_stale_configurations") == 1
    assert value(found, "muster_revisions_last_hour") == 2
    assert value(found, "muster_webhook_deliveries", state="pending") == 1
    assert 0 <= value(found, "muster_scheduler_age_seconds") < 30
    assert ("muster_queue_depth", frozenset()) in found
    assert any(name == "process_resident_memory_bytes" for name, _ in found)
    assert any(name == "muster_build_info" for name, _ in found)


def test_gauges_are_read_at_most_every_five_seconds(django_assert_num_queries: Any) -> None:
    client = Client()
    scrape()
    with django_assert_num_queries(0):
        assert client.get("/metrics").status_code == 200


def test_work_is_counted() -> None:
    before = scrape()
    device = factories.configured()
    Config.objects.filter(device=device).update(generation=99)
    assert recompute.drain() == 1
    after = scrape()
    assert difference(before, after, "muster_revisions_created_total") == {(): 1}
    assert difference(before, after, "muster_configurations_computed_total") == {("computed",): 2}
    assert difference(before, after, "muster_recompute_seconds_count") == {(): 2}


def test_refused_sign_ins_are_counted_by_door() -> None:
    cache.clear()
    factories.superuser("root")
    before, client = scrape(), Client()
    client.post("/api/v1/users/token/", {"username": "root", "password": "wrong"})
    client.post("/admin/login/", {"username": "root", "password": "wrong"})
    client.post("/admin/login/", {"username": "nobody", "password": "wrong"})
    after = scrape()
    assert difference(before, after, "muster_sign_in_failures_total") == {("rest",): 1, ("admin",): 2}


def test_a_gauge_that_cannot_be_read_is_left_out_and_counted() -> None:
    def broken() -> metrics.Values:
        raise OSError("secret words")

    metrics.gauge("muster_broken", "Never.", broken)
    try:
        before = scrape()
        answer = Client().get("/metrics").content.decode()
        assert "secret words" not in answer
        assert "muster_broken " not in answer
        after = scrape()
        assert difference(before, after, "muster_gauge_errors_total") == {("muster_broken",): 1}
    finally:
        del metrics._gauges["muster_broken"]


def test_what_a_thread_counted_outlives_it() -> None:
    def work() -> None:
        for _ in range(1000):
            metrics.add("tests_counted", "x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.counted()
    assert metrics.counted().counts["tests_counted", "x"] == 8000
    assert metrics.counted().counts["tests_counted", "x"] == 8000


def test_counting_a_poll_costs_next_to_nothing() -> None:
    rounds, best = 20_000, 1.0  # of processor time: other processes do not count
    for _ in range(5):
        started = time.process_time()
        for _ in range(rounds):
            metrics.request("tests", "GET", 200, 0.0007, "checksum")
        best = min(best, (time.process_time() - started) / rounds)
    assert best < 2e-6, f"{best * 1e9:.0f} ns"
