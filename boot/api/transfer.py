"""Taking what an API key has over to another, over REST."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from boot import transfer
from boot.api.fields import KeyField, KeySerializer
from boot.models import BootConfig
from boot.queries import keys_visible_to
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.models import ApiKey

CONFLICTS = [str(value) for value in transfer.Conflicts]
OUTCOMES = [str(value) for value in transfer.Outcome]
KINDS = ["config", "image", "track"]


class TransferAskedSerializer(serializers.Serializer[Any]):
    """Where everything of a key goes, and what becomes of places where the other key has something else."""

    to: Any = KeyField()
    move = serializers.BooleanField(default=False, help_text="Take it away from this key.")
    conflicts = serializers.ChoiceField(choices=CONFLICTS, default="refuse")
    dry_run = serializers.BooleanField(
        default=False, help_text="Change nothing, and tell what would be done."
    )

    class Meta:
        model = BootConfig


class TransferLineSerializer(serializers.Serializer[Any]):
    """What becomes of one thing."""

    what = serializers.ChoiceField(choices=KINDS, source="kind")
    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    note = serializers.CharField(allow_blank=True)


class TransferSerializer(serializers.Serializer[Any]):
    """What was done, or in a dry run would be; impossible while something is in conflict."""

    dry_run = serializers.BooleanField()
    move = serializers.BooleanField(source="asked.is_move")
    to = KeySerializer(source="asked.target")
    possible = serializers.BooleanField(source="asked.is_possible")
    lines = TransferLineSerializer(source="asked.lines", many=True)


class TransferView(base.TenantView):
    """Taking everything of a key over to another."""

    model = BootConfig
    serializer_class: Any = TransferAskedSerializer

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return the caller's keys, also those that are over: they are what is replaced."""
        return keys_visible_to(self.request.user)

    @base.operation("boot_key_transfer", {200: TransferSerializer, **base.WRITE_ONE})
    def post(self, request: Request, pk: str) -> Response:
        """Copy or move configurations, images and tracks of an API key to another of the same organization.

        All of it or nothing. Bytes of images stay where they are. A moved configuration takes its versions along.
        """
        source = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(BootConfig):
            asked = transfer.transfer(
                source,
                sent["to"],
                move=sent["move"],
                conflicts=transfer.Conflicts(sent["conflicts"]),
                dry_run=sent["dry_run"],
            )
        return Response(TransferSerializer({"dry_run": sent["dry_run"], "asked": asked}).data)
