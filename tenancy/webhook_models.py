"""Where an organization wants to be told of events, and every message that was or will be sent there.

Invariant: a delivery is written in the transaction of its event, so there is one exactly when the event happened;
its body never changes, whatever happens to the webhook.
"""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models

from core.fields import EncryptedTextField
from core.models import BaseModel

URL_LENGTH = 500
DEVICE_REGISTERED = "device.registered"
DEVICE_STATUS_CHANGED = "device.status_changed"
REVISION_CREATED = "revision.created"
JOB_FINISHED = "job.finished"
TEST = "webhook.test"
EVENTS = (DEVICE_REGISTERED, DEVICE_STATUS_CHANGED, REVISION_CREATED, JOB_FINISHED, TEST)
EVENT_CHOICES = [(event, event) for event in EVENTS]


def validate_target(url: str) -> None:
    """Refuse what is no plain http(s) address of a host. Raises ValidationError."""
    try:
        parts = urlsplit(url)
        port_stands = parts.port is None or parts.port > 0
        host = (parts.hostname or "").encode("idna" if not (parts.hostname or "").isascii() else "ascii")
    except (ValueError, UnicodeError) as error:
        raise ValidationError("Enter a valid URL.") from error
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not port_stands or not printable:
        raise ValidationError("Enter a valid http or https URL of ASCII characters.")
    if "@" in parts.netloc or parts.fragment or len(host) > 253 or b".." in host:
        raise ValidationError("The URL must not hold credentials or a fragment, and must name one host.")


def validate_events(events: Any) -> None:
    """Refuse what is not a list of known events, each once. Raises ValidationError."""
    known = isinstance(events, list) and all(isinstance(event, str) and event in EVENTS for event in events)
    if not known:
        raise ValidationError(f"Choose from: {', '.join(EVENTS)}.")
    if not events or len(set(events)) != len(events):
        raise ValidationError("Choose at least one event, each only once.")


class Webhook(BaseModel):
    """One address that is told of some events of an organization.

    `leased_until` belongs to whoever delivers to it now, `rests_until` keeps a failing address from being asked at
    once again, `failing_since` is when the present row of failures began.
    """

    organization = models.ForeignKey(
        "tenancy.Organization", on_delete=models.CASCADE, related_name="webhooks"
    )
    url = models.CharField(
        "URL",
        max_length=URL_LENGTH,
        validators=[validate_target],
        help_text="Where events are posted; put no secret in it.",
    )
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField(validators=[validate_events], help_text="Which events are sent.")
    is_active = models.BooleanField("active", default=True)
    secret = EncryptedTextField(editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    last_delivered = models.DateTimeField(null=True, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    rests_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(BaseModel.Meta):
        indexes = (models.Index(fields=("organization", "-created", "id"), name="webhook_newest_of_org"),)

    def __str__(self) -> str:
        return self.description or self.url


class WebhookDelivery(models.Model):
    """One message to one webhook, and how far it has got."""

    class State(models.TextChoices):
        """Waiting for its time, arrived, or given up."""

        PENDING = "pending", "Pending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, editable=False)
    created = models.DateTimeField(editable=False)
    organization = models.ForeignKey("tenancy.Organization", on_delete=models.CASCADE, related_name="+")
    # No constraint: a process may know a webhook for a second after another has deleted it, and that must not undo the
    # event. What such a second leaves behind is never sent, and pruned.
    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, related_name="deliveries", db_constraint=False
    )
    event = models.CharField(max_length=32)
    body = models.TextField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due = models.DateTimeField()
    finished = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    response_excerpt = models.TextField(blank=True)
    error = models.CharField(max_length=256, blank=True)
    duration_ms = models.PositiveIntegerField(null=True)
    replay_of = models.UUIDField(null=True)

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        ordering = ("-created", "id")
        indexes = (
            models.Index(fields=("webhook", "-created", "id"), name="delivery_newest"),
            models.Index(fields=("webhook", "due"), condition=models.Q(state="pending"), name="delivery_due"),
            models.Index(fields=("created",), name="delivery_oldest"),
            models.Index(fields=("state",), name="delivery_state"),
        )

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id}"
