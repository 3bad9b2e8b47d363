"""Who is linked where: one row for every open device link, and one for every process that holds some.

Invariant: a device is linked exactly while its row is here. A row goes with its link; those of a process that stopped
beating are swept (`devices.link.presence`).
"""

import uuid

from django.db import models

from devices.models import Device


class LinkServer(models.Model):
    """A process that holds device links; `beat_at` is renewed while it lives."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    started_at = models.DateTimeField(editable=False)
    beat_at = models.DateTimeField(db_index=True, editable=False)

    def __str__(self) -> str:
        return str(self.id)


class Link(models.Model):
    """The open link of a device. `epoch` tells this link from every earlier one of the device."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, primary_key=True, related_name="link")
    server = models.ForeignKey(LinkServer, on_delete=models.CASCADE, related_name="links")
    epoch = models.UUIDField(editable=False)
    key_digest = models.CharField(max_length=64, editable=False, help_text="Of the key it was opened with.")
    opened_at = models.DateTimeField(editable=False)
    address = models.GenericIPAddressField(null=True, editable=False)
    agent = models.CharField(max_length=64, blank=True, editable=False)
    boot_id = models.CharField(max_length=64, blank=True, editable=False)
    capabilities = models.JSONField(default=list, editable=False)
    telemetry = models.JSONField(default=dict, editable=False)
    telemetry_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"Link {self.epoch} of {self.device_id}"
