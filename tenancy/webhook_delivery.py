"""Carrying messages to webhooks: at least once, in no promised order, and no slow address holds up the others.

A webhook is leased by one carrier at a time. What was sent is written after the answer, so a carrier that is killed in
between leaves the message due, and it is sent again under the same delivery id. A carrier stops at the first failure
and lets that webhook rest, so an address that hangs costs one time limit a round.
"""

import hashlib
import hmac
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from core import metrics
from core.clock import now
from core.db import claim, claiming
from core.rows import DATABASE_ERRORS
from tenancy.models import Notification
from tenancy.services import notify
from tenancy.webhook_http import Answer, Unreachable, post
from tenancy.webhook_models import Webhook, WebhookDelivery

logger = logging.getLogger(__name__)
RETRY_SECONDS = (10, 30, 120, 600, 3600, 21_600)
JITTER = 0.2
# After the last message that failed, how long a webhook is left alone; less than the first retry.
REST_SECONDS = 5
LEASE = timedelta(seconds=120)
BATCH = 50
BATCH_SECONDS = 20.0
CARRIERS = 8
KEPT = timedelta(days=30)
PATIENCE = timedelta(days=3)
PRUNED_AT_ONCE = 1000
State = WebhookDelivery.State
# It spreads retries and hides nothing.
_jitter = random.Random()  # noqa: S311


def signature(secret: str, body: bytes, *, at: int) -> str:
    """Return the value of X-Muster-Signature.

    >>> signature("s", b"{}", at=1)[:12]
    't=1,v1=b2536'
    """
    digits = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digits}"


def due_deliveries(moment: datetime) -> QuerySet[WebhookDelivery]:
    """Return the messages whose time has come."""
    return WebhookDelivery.objects.filter(state=State.PENDING, due__lte=moment)


def _waiting_webhooks(moment: datetime) -> QuerySet[Webhook]:
    """Return the webhooks with something to carry that nobody carries, longest rested first."""
    due = due_deliveries(moment).filter(webhook_id=OuterRef("pk"))
    return (
        Webhook.objects.filter(
            Q(leased_until__isnull=True) | Q(leased_until__lte=moment),
            Q(rests_until__isnull=True) | Q(rests_until__lte=moment),
            Exists(due),
            is_active=True,
            organization__is_active=True,
        )
        .order_by(F("rests_until").asc(nulls_first=True), "pk")
        # One secret that cannot be read must not stop the others.
        .defer("secret")
    )


def lease_one() -> Webhook | None:
    """Take a webhook nobody else carries for, or return None."""
    moment = now()
    with claiming():
        for webhook in claim(_waiting_webhooks(moment))[:1]:
            mine = Webhook.objects.filter(pk=webhook.pk, leased_until=webhook.leased_until)
            webhook.leased_until = moment + LEASE
            if mine.update(leased_until=webhook.leased_until):
                return webhook
    return None


def carry(webhook: Webhook) -> int:
    """Send what is due to a leased webhook, until one fails or the time is up; returns how many were sent."""
    started, sent = time.monotonic(), 0
    try:
        for pk in (
            due_deliveries(now())
            .filter(webhook=webhook)
            .order_by("due", "pk")[:BATCH]
            .values_list("pk", flat=True)
        ):
            delivery = WebhookDelivery.objects.filter(pk=pk, state=State.PENDING).first()
            if delivery is None:
                continue
            sent += 1
            if not _send(webhook, delivery) or time.monotonic() - started > BATCH_SECONDS:
                break
    finally:
        # The lease is given back only by who holds it: a later one may be somebody else's by now.
        Webhook.objects.filter(pk=webhook.pk, leased_until=webhook.leased_until).update(leased_until=None)
    return sent


def _send(webhook: Webhook, delivery: WebhookDelivery) -> bool:
    """Make one attempt and write down what came of it; returns whether it arrived."""
    body, started = delivery.body.encode(), time.monotonic()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Muster-Webhook/1",
        "X-Muster-Event": delivery.event,
        "X-Muster-Delivery": str(delivery.pk),
    }
    answer, problem = None, ""
    try:
        headers["X-Muster-Signature"] = signature(webhook.secret, body, at=int(now().timestamp()))
        answer = post(webhook.url, body, headers=headers, private=settings.MUSTER.webhook_private_allowed)
    except Unreachable as error:
        problem = str(error)
    except ImproperlyConfigured:
        problem = "The webhook's secret cannot be read on this server."
    if answer is not None and not answer.is_success:
        redirect = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
        problem = f"The answer was {answer.status}{redirect}."
    metrics.add(metrics.WEBHOOK_ATTEMPTS, "failed" if problem else "delivered")
    _write(webhook, delivery, answer, problem, milliseconds=int((time.monotonic() - started) * 1000))
    return not problem


@transaction.atomic
def _write(
    webhook: Webhook, delivery: WebhookDelivery, answer: Answer | None, problem: str, *, milliseconds: int
) -> None:
    """Store the outcome of one attempt, unless somebody else has stored one meanwhile."""
    moment = now()
    attempts = delivery.attempts + 1
    given_up = bool(problem) and attempts > len(RETRY_SECONDS)
    state = State.FAILED if given_up else State.PENDING if problem else State.DELIVERED
    wait = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1] * _jitter.uniform(1 - JITTER, 1 + JITTER)
    ours = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=State.PENDING, attempts=delivery.attempts
    ).update(
        state=state,
        attempts=attempts,
        due=moment + timedelta(seconds=wait) if state == State.PENDING else delivery.due,
        finished=None if state == State.PENDING else moment,
        response_status=answer.status if answer else None,
        response_excerpt=answer.excerpt if answer else "",
        error=problem[:256],
        duration_ms=milliseconds,
    )
    if not ours:
        return
    row = Webhook.objects.filter(pk=webhook.pk)
    if not problem:
        row.update(failing_since=None, rests_until=None, last_delivered=moment)
        return
    row.update(rests_until=moment + timedelta(seconds=REST_SECONDS))
    row.filter(failing_since__isnull=True).update(failing_since=moment)
    if row.filter(failing_since__lte=moment - PATIENCE, is_active=True).update(is_active=False):
        _disabled(row.get())


def _disabled(webhook: Webhook) -> None:
    """Tell people of a webhook that is switched off, and give up what waits for it."""
    WebhookDelivery.objects.filter(webhook=webhook, state=State.PENDING).update(
        state=State.FAILED, finished=now(), error="The webhook was switched off after failing for days."
    )
    notify(
        organization_id=webhook.organization_id,
        kind="webhook_disabled",
        level=Notification.Level.ERROR,
        target_type="webhook",
        target_id=webhook.pk,
        message=f"The webhook {webhook} was switched off: nothing arrived for {PATIENCE.days} days.",
    )


def prune() -> int:
    """Delete messages older than the log is kept; returns how many."""
    old = WebhookDelivery.objects.filter(created__lt=now() - KEPT).order_by("created")
    ids = list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE])
    return WebhookDelivery.objects.filter(pk__in=ids).delete()[0] if ids else 0


def run() -> int:
    """Carry everything that is due now, in this thread; returns how many messages were sent."""
    total = 0
    while (webhook := lease_one()) is not None:
        total += carry(webhook)
    return total


class Carriers:
    """A few threads of this process that carry, so that no worker's own thread waits for the outside world."""

    def __init__(self, *, limit: int = CARRIERS, work: Callable[[], int] = run) -> None:
        self._limit = limit
        self._work = work
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def start(self) -> int:
        """Start as many carriers as there are webhooks waiting and room for; returns how many."""
        with self._lock:
            room = self._limit - len(self._threads)
            ids: list[UUID] = (
                list(_waiting_webhooks(now()).values_list("pk", flat=True)[:room]) if room > 0 else []
            )
            for _ in ids:
                thread = threading.Thread(target=self._carry, name="webhooks", daemon=True)
                self._threads.add(thread)
                thread.start()
            return len(ids)

    def _carry(self) -> None:
        try:
            self._work()
        except DATABASE_ERRORS:
            logger.exception("webhooks could not be carried; the sweeper tries again")
        finally:
            connections.close_all()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def wait(self, seconds: float) -> bool:
        """Wait for those under way; returns whether all ended in time."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(deadline - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in list(self._threads))


carriers = Carriers()
