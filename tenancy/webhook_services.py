"""Every write people make to webhooks: create, change, rotate the secret, delete, test, send again."""

import secrets
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from core.changes import changed_row, store
from core.clock import now
from core.errors import Conflict
from tenancy import audit, webhooks
from tenancy.models import Organization
from tenancy.webhook_http import is_allowed_host
from tenancy.webhook_models import TEST, Webhook, WebhookDelivery

MOST_PER_ORGANIZATION = 20


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def _forget() -> None:
    """Let this process see the change at once, and again when others may see it."""
    webhooks.subscriptions.forget()
    transaction.on_commit(webhooks.subscriptions.forget)


def _check(row: Webhook) -> None:
    row.full_clean()
    if not is_allowed_host(row.url):
        raise ValidationError({"url": "Messages do not go to private, local or special addresses."})


@transaction.atomic
def webhook_create(*, organization: Organization, **fields: Any) -> tuple[Webhook, str]:
    """Create a webhook; the second value is the only time its secret is seen. Raises ValidationError."""
    secret = _new_secret()
    row = Webhook(organization=organization, secret=secret, **fields)
    _check(row)
    if Webhook.objects.filter(organization=organization).count() >= MOST_PER_ORGANIZATION:
        raise ValidationError(f"An organization has at most {MOST_PER_ORGANIZATION} webhooks.")
    row.save(force_insert=True)
    _forget()
    audit.record(
        "webhook.created",
        row,
        organization_id=row.organization_id,
        changes=audit.contents(row),
        name=str(row),
    )
    return row, secret


@transaction.atomic
def webhook_update(webhook: Webhook, **changes: Any) -> Webhook:
    """Change address, events, description or whether it is active. Raises ValidationError.

    Switching it on again forgets how long it has been failing.
    """
    row, before = changed_row(webhook, changes)
    _check(row)
    if row.is_active and not before.is_active:
        row.failing_since = row.rests_until = None
    changed = store(row, before=before, onto=webhook)
    if "is_active" in changed and not row.is_active:
        WebhookDelivery.objects.filter(webhook=row, state=WebhookDelivery.State.PENDING).update(
            state=WebhookDelivery.State.FAILED, finished=now(), error="The webhook was switched off."
        )
    _forget()
    if changed:
        audit.record(
            "webhook.changed",
            row,
            organization_id=row.organization_id,
            changes=audit.difference(before, row),
            name=str(row),
        )
    return webhook


@transaction.atomic
def webhook_secret_rotate(webhook: Webhook) -> str:
    """Give a webhook a new secret, which signs from now on; returns it, the only time it is seen."""
    secret = _new_secret()
    row, before = changed_row(webhook, {"secret": secret})
    store(row, before=before, onto=webhook)
    audit.record(
        "webhook.secret_rotated",
        row,
        organization_id=row.organization_id,
        changes=audit.difference(before, row),
        name=str(row),
    )
    return secret


@transaction.atomic
def webhook_delete(webhook: Webhook) -> None:
    """Delete a webhook with its log."""
    organization_id, name = webhook.organization_id, str(webhook)
    audit.record("webhook.deleted", webhook, organization_id=organization_id, name=name)
    webhook.delete()
    _forget()


@transaction.atomic
def webhook_test(webhook: Webhook) -> WebhookDelivery:
    """Send a `webhook.test` message, whichever events are chosen. Raises Conflict."""
    if not Webhook.objects.filter(pk=webhook.pk, is_active=True).exists():
        raise Conflict("The webhook is switched off.")
    event = webhooks.Event(webhook.organization_id, TEST, {"webhook": str(webhook.pk)})
    row = webhooks.delivery(event, webhook_id=webhook.pk)
    webhooks.write([row])
    audit.record("webhook.tested", webhook, organization_id=webhook.organization_id, name=str(webhook))
    return row


@transaction.atomic
def webhook_delivery_replay(delivery: WebhookDelivery) -> WebhookDelivery:
    """Send the body of a message again as a new delivery. Raises Conflict."""
    webhook = Webhook.objects.defer("secret").filter(pk=delivery.webhook_id).first()
    if webhook is None or not webhook.is_active:
        raise Conflict("The webhook is switched off.")
    moment = now()
    row = WebhookDelivery(
        id=uuid.uuid4(),
        created=moment,
        due=moment,
        organization_id=delivery.organization_id,
        webhook=webhook,
        event=delivery.event,
        body=delivery.body,
        replay_of=delivery.pk,
    )
    webhooks.write([row])
    audit.record(
        "webhook.replayed",
        webhook,
        organization_id=webhook.organization_id,
        changes={"delivery": (str(delivery.pk), str(row.pk))},
        name=str(webhook),
    )
    return row
