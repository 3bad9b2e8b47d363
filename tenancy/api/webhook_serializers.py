"""Webhooks and their deliveries as JSON: parsing and printing, nothing else."""

from typing import Any

from rest_framework import serializers

from tenancy.api.fields import OrganizationField
from tenancy.webhook_models import EVENT_CHOICES, URL_LENGTH, Webhook, WebhookDelivery


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook without its secret."""

    organization: Any = OrganizationField()
    url = serializers.CharField(max_length=URL_LENGTH)
    events: Any = serializers.ListField(
        child=serializers.ChoiceField(choices=EVENT_CHOICES), min_length=1, max_length=len(EVENT_CHOICES)
    )

    class Meta:
        model = Webhook
        fields: tuple[str, ...] = (
            "id", "organization", "url", "description", "events", "is_active", "failing_since", "last_delivered",
            "created", "modified",
        )  # fmt: skip
        read_only_fields = ("failing_since", "last_delivered")


class WebhookChangeSerializer(WebhookSerializer):
    """What may change of a webhook; its organization stays."""

    organization: Any = serializers.PrimaryKeyRelatedField(read_only=True)


class IssuedWebhookSerializer(WebhookSerializer):
    """A webhook with its secret, as the answer to its creation."""

    secret = serializers.CharField(read_only=True)

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")


class WebhookSecretSerializer(serializers.Serializer[Any]):
    """A new secret, shown this once."""

    secret = serializers.CharField(read_only=True)


class WebhookDeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """One message: what was sent, how often, and what the other side last said."""

    class Meta:
        model = WebhookDelivery
        fields = (
            "id", "event", "state", "attempts", "created", "due", "finished", "response_status",
            "response_excerpt", "error", "duration_ms", "replay_of", "body",
        )  # fmt: skip
        read_only_fields = fields
