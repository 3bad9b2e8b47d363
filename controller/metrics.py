"""`GET /metrics`: what this process counted and what the installation looks like, in Prometheus' text format.

Invariant: without the token only a client on this machine reads it. A proxy on this machine connects from loopback
too, so whatever carries a forwarding header is not such a client, whoever sent it.
"""

import hmac
import ipaddress
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import django
import redis
from celery import __version__ as celery_version
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from kombu.transport.memory import Channel
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from controller.tasks import SCHEDULER
from core import heartbeat, metrics

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
QUEUE = "muster"
BROKER_SECONDS = 1.0
# Any of them says that somebody stands between us and the client.
FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-forwarded-port",
        "x-real-ip",
    }
)
LOOPBACK_HOSTS = ["localhost", ".localhost", "127.0.0.1", "[::1]"]
# The first prefix that fits names the dialect.
DIALECTS = (
    ("/controller/", "agent"),
    ("/api/v1/docs", "docs"),
    ("/api/v1/redoc", "docs"),
    ("/api/", "rest"),
    ("/admin/", "admin"),
    ("/static/", "static"),
    ("/healthz", "health"),
    ("/readyz", "health"),
    (PATH, "metrics"),
    ("/boot/", "boot"),
    ("/images/", "boot"),
    ("/track", "boot"),
    ("/ping", "boot"),
)
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    metrics.REVISIONS: ("Configuration revisions written by this process.", ()),
    metrics.RECOMPUTED: ("Configurations computed by this process, by outcome.", ("outcome",)),
    metrics.SIGN_IN_FAILURES: ("Refused sign-ins seen by this process, by door.", ("door",)),
    metrics.WEBHOOK_ATTEMPTS: ("Attempts to deliver a webhook's message, by outcome.", ("outcome",)),
    metrics.LINK_FRAMES: ("Frames of device links by method or by what was wrong with them.", ("kind",)),
    metrics.READ_ERRORS: ("Gauges that could not be read at a scrape.", ("gauge",)),
}
HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    metrics.DURATION: ("Seconds from a request to the start of its answer, by dialect.", ("dialect",)),
    metrics.RECOMPUTE: ("Seconds one chunk of configurations took to compute and store.", ()),
}


def dialect_of(path: str) -> str:
    """Return the dialect a path belongs to.

    >>> dialect_of("/api/v1/controller/device/"), dialect_of("/api/v1/docs/"), dialect_of("/nowhere")
    ('rest', 'docs', 'other')
    """
    return next((name for prefix, name in DIALECTS if path.startswith(prefix)), "other")


def outcome_of(status: int) -> str:
    """Return what an answer to an agent amounts to.

    >>> outcome_of(200), outcome_of(304), outcome_of(403), outcome_of(503)
    ('ok', 'not_modified', 'refused', 'failed')
    """
    if status == 304:
        return "not_modified"
    return "ok" if status < 400 else "refused" if status < 500 else "failed"


def _summed(
    counts: Mapping[metrics.Key, float], name: str, labels: Callable[..., tuple[str, ...]]
) -> metrics.Values:
    """Add up the counts of `name` by the labels that its own values lead to."""
    found: dict[tuple[str, ...], float] = {}
    for key, value in counts.items():
        if key[0] == name:
            shown = labels(*key[1:])
            found[shown] = found.get(shown, 0) + value
    return found


def _counter(name: str, documentation: str, labels: Iterable[str], values: metrics.Values) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=list(labels))
    for shown, value in sorted(values.items()):
        family.add_metric(shown, value)
    return family


class Collector:
    """Hands the numbers to prometheus_client at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        cell = metrics.counted()
        for (dialect, method, status, endpoint), slots in cell.requests.items():
            cell.merge(_parts(dialect, method, status, endpoint, slots))
        yield _counter(
            metrics.REQUESTS,
            "Answered requests by dialect, method and class of status.",
            ("dialect", "method", "status"),
            _summed(cell.counts, metrics.REQUESTS, lambda d, m, status: (d, m, f"{status // 100}xx")),
        )
        yield _counter(
            metrics.POLLS,
            "Answered requests of device agents by endpoint and outcome.",
            ("endpoint", "outcome"),
            _summed(cell.counts, metrics.POLLS, lambda endpoint, status: (endpoint, outcome_of(status))),
        )
        for name, (documentation, labels) in COUNTERS.items():
            values = _summed(cell.counts, name, lambda *shown: shown)
            yield _counter(name, documentation, labels, values if values or labels else {(): 0})
        for name, (documentation, labels) in HISTOGRAMS.items():
            family = HistogramMetricFamily(name, documentation, labels=list(labels))
            for key, slots in sorted(cell.times.items()):
                if key[0] == name:
                    family.add_metric(list(key[1:]), _buckets(slots), slots[-1])
            yield family
        for one, read in metrics.readings():
            shown = GaugeMetricFamily(one.name, one.documentation, labels=list(one.labels))
            for values_of, value in sorted(read.items()):
                shown.add_metric(list(values_of), value)
            yield shown
        built = InfoMetricFamily("muster_build", "What this process was built from.")
        built.add_metric(
            [],
            {
                "python": platform.python_version(),
                "django": django.get_version(),
                "celery": celery_version,
                "database": connections["default"].vendor,
            },
        )
        yield built


def _parts(dialect: str, method: str, status: int, endpoint: str, slots: list[float]) -> metrics.Cell:
    """Return what requests of one kind add to each family."""
    cell, count = metrics.Cell(), sum(slots[:-1])
    cell.counts[metrics.REQUESTS, dialect, method, status] = count
    if endpoint:
        cell.counts[metrics.POLLS, endpoint, status] = count
    cell.times[metrics.DURATION, dialect] = slots
    return cell


def _buckets(slots: list[float]) -> list[tuple[str, float]]:
    """Return cumulative buckets, as Prometheus wants them."""
    total, found = 0.0, []
    for bound, count in zip((*map(str, metrics.BOUNDS), "+Inf"), slots[:-1], strict=True):
        total += count
        found.append((bound, total))
    return found


registry = CollectorRegistry(auto_describe=False)
registry.register(Collector())
ProcessCollector(registry=registry)
GCCollector(registry=registry)


def queue_depth() -> metrics.Values:
    """Return how many messages wait at the broker."""
    url = settings.MUSTER.redis_url
    if not url:
        queue = Channel.queues.get(QUEUE)
        return {(): queue.qsize() if queue is not None else 0}
    with redis.Redis.from_url(
        url, socket_connect_timeout=BROKER_SECONDS, socket_timeout=BROKER_SECONDS
    ) as client:
        return {(): float(client.llen(QUEUE))}  # type: ignore[arg-type]


def scheduler_age() -> metrics.Values:
    """Return the seconds since the scheduler's last sign of life; nothing when there never was one."""
    age = heartbeat.age(SCHEDULER)
    return {} if age is None else {(): age}


metrics.gauge("muster_queue_depth", "Messages that wait for a worker at the broker.", queue_depth)
metrics.gauge(
    "muster_scheduler_age_seconds", "Seconds since beat, broker, worker and database last met.", scheduler_age
)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of either door."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def _is_local(peer: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a client on this machine asks directly, by a name of this machine."""
    try:
        local = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(local, "ipv4_mapped", None)
    if not (mapped or local).is_loopback or FORWARDING & headers.keys():
        return False
    # A page in this machine's browser may have had its own name resolve to us.
    host, _port = split_domain_port(headers.get("host", ""))
    return bool(host) and validate_host(host, [*settings.ALLOWED_HOSTS, *LOOPBACK_HOSTS])


def refusal(peer: str, headers: Mapping[str, str]) -> Page | None:
    """Return the refusal of who may not read; `headers` by lower-case name."""
    token: str = settings.MUSTER.metrics_token
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return None
    if _is_local(peer, headers):
        return None
    if not token:
        return Page(403, b"Metrics are open to this machine only.\n")
    return Page(401, b"A token is needed.\n", {"WWW-Authenticate": "Bearer"})


def page(peer: str, headers: Mapping[str, str]) -> Page:
    """Return the answer to a scrape; it reads the database, on a connection that is given back."""
    refused = refusal(peer, headers)
    return refused if refused is not None else Page(200, generate_latest(registry))


def page_in_thread(peer: str, headers: Mapping[str, str]) -> Page:
    """The same on a thread of its own, which keeps no connection."""
    try:
        return page(peer, headers)
    finally:
        connections.close_all()


@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """The same behind Django's handler, for WSGI servers."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", request.get_host())
    answered = page(request.META.get("REMOTE_ADDR", ""), headers)
    kind = CONTENT_TYPE if answered.status == 200 else "text/plain"
    response = HttpResponse(
        answered.body, status=answered.status, content_type=kind, headers=dict(answered.headers)
    )
    response["Cache-Control"] = "no-store"
    return response


class MetricsMiddleware:
    """Counts what Django answers; the agents' thin application counts for itself, before Django."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        metrics.request(dialect_of(request.path_info), request.method or "", response.status_code, seconds)
        return response
