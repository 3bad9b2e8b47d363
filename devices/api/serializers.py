"""Fleet settings as JSON; who may not reveal secrets sees marks in their place."""

from typing import Any

from django.core.exceptions import ValidationError as Refusal
from rest_framework import serializers

from core.api_fields import JSONObjectField
from core.redaction import is_mark, mark_of, redacted, restored
from devices.models import FleetSettings
from tenancy.queries import may_reveal


class FleetSerializer(serializers.ModelSerializer[FleetSettings]):
    """How an organization's devices register, how many there may be, and the variables they share."""

    context: Any = JSONObjectField(required=False)
    shared_secret = serializers.CharField(
        required=False, max_length=64, help_text="8 to 32 characters; a mark for who may not reveal secrets."
    )
    device_count = serializers.SerializerMethodField()

    class Meta:
        model = FleetSettings
        fields = (
            "organization", "registration_enabled", "device_limit", "context", "shared_secret", "device_count",
        )  # fmt: skip
        read_only_fields = ("organization",)

    def get_device_count(self, fleet: Any) -> int:
        """Return how many devices there are."""
        return int(fleet.device_count)

    def reveals(self, fleet: FleetSettings) -> bool:
        """Tell whether the caller sees the secrets."""
        return may_reveal(self.context["request"].user, fleet.pk)

    def to_representation(self, instance: FleetSettings) -> dict[str, Any]:
        """Put marks in place of secrets."""
        shown = super().to_representation(instance)
        if not self.reveals(instance):
            # Which variables end up at secret places, the floors above know: so all of them are marks.
            shown["context"] = redacted(instance.context, names=set(instance.context))
            shown["shared_secret"] = mark_of(instance.shared_secret)
        return shown

    def validate_context(self, value: Any) -> Any:
        """Put the stored secrets back in place of their marks."""
        stored = self.instance.context if isinstance(self.instance, FleetSettings) else {}
        try:
            return restored(value, stored=stored, names=set(stored))
        except Refusal as error:
            raise serializers.ValidationError(error.messages) from error

    def validate_shared_secret(self, value: str) -> str:
        """Take the mark of the stored secret for the secret."""
        if is_mark(value) and isinstance(self.instance, FleetSettings):
            if value != mark_of(self.instance.shared_secret):
                raise serializers.ValidationError(f"{value} is not the mark of the stored secret.")
            return self.instance.shared_secret
        return value


class RotatedSerializer(serializers.Serializer[Any]):
    """A new shared secret, shown this once to who asked for it."""

    shared_secret = serializers.CharField(read_only=True)
