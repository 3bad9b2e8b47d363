"""What a device boots, what it booted before, and how much of the API an organization may use.

Invariant: a stored body is the answer, byte for byte; nothing renders it again (spec/cattlepi_ignitenet.md A3, A6).
Its scripts and passwords are ciphertext at rest.
"""

import json
from typing import Any

from django.db import models

from boot import models_images  # noqa: F401 - makes them known to Django
from core.fields import EncryptedTextField
from core.models import BaseModel
from tenancy.models import ApiKey, Organization
from tracking.models import DEVICE_LENGTH

DEFAULT = "default"


class Operation(models.TextChoices):
    """What a quota counts (A4); the id of a device and the path of an image are no part of it."""

    BOOT_GET = "boot_get", "Read a boot configuration"
    BOOT_POST = "boot_post", "Write a boot configuration"
    BOOT_DELETE = "boot_delete", "Delete a boot configuration"
    IMAGE_GET = "image_get", "Download an image"
    TRACK_LIST = "track_list", "List devices"
    TRACK_GET = "track_get", "Read a track"
    TRACK_POST = "track_post", "Write to a track"


class BootConfig(BaseModel):
    """The configuration of one device under one API key, `default` for all that have none of their own."""

    # Other indexes begin with these.
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="boot_configs", db_index=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="boot_configs", db_index=False
    )
    device = models.CharField("device id", max_length=DEVICE_LENGTH)
    body = EncryptedTextField(editable=False)
    number = models.PositiveIntegerField("version", default=1, editable=False)

    class Meta(BaseModel.Meta):
        verbose_name = "boot configuration"
        constraints = (
            models.UniqueConstraint(
                fields=("api_key", "device"),
                name="boot_config_unique",
                violation_error_message="This device has a configuration under this API key already.",
            ),
        )
        indexes = (
            models.Index(fields=("organization", "-created", "id"), name="bootconfig_newest_of_org"),
            models.Index(fields=("-created", "id"), name="bootconfig_newest"),
        )

    def __str__(self) -> str:
        return self.device

    @property
    def document(self) -> dict[str, Any]:
        """The five members: initfs, rootfs, bootcode, usercode, config."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class BootVersion(models.Model):
    """What a device's configuration was after one write; an empty body says that it was deleted.

    Numbers go on over a deletion. The last `services.VERSIONS` of each device are kept.
    """

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+", db_index=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_index=False)
    device = models.CharField("device id", max_length=DEVICE_LENGTH)
    number = models.PositiveIntegerField("version")
    body = EncryptedTextField(blank=True, editable=False)
    at = models.DateTimeField()
    actor_name = models.CharField("by", max_length=150)

    class Meta:
        ordering = ("-at", "-number", "id")
        constraints = (
            models.UniqueConstraint(fields=("api_key", "device", "number"), name="boot_version_unique"),
        )
        indexes = (
            models.Index(fields=("organization", "-at"), name="bootversion_newest_of_org"),
            models.Index(
                fields=("organization", "-at", "id"),
                condition=models.Q(body=""),
                name="bootversion_deletions",
            ),
        )

    def __str__(self) -> str:
        return f"{self.device} #{self.number}"

    @property
    def document(self) -> dict[str, Any] | None:
        """The five members; None of a deletion."""
        return json.loads(self.body) if self.body else None


class DeletedBootConfig(BootVersion):
    """The deletion of a configuration that has not come back: a version without a body, and the last of its device."""

    class Meta:
        proxy = True
        verbose_name = "deleted boot configuration"

    def __str__(self) -> str:
        return self.device


class Quota(BaseModel):
    """How often each API key of an organization may do something, where that is not what everybody may.

    `amount` is in force. `ceiling` is what superusers allow, empty for what everybody may; an organization's own
    managers set no more than that.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="boot_quotas", db_index=False
    )
    operation = models.CharField(max_length=16, choices=Operation.choices)
    amount = models.PositiveIntegerField(
        "limit", help_text="For each API key, in an hour; for images, in a month. 0 allows none."
    )
    ceiling = models.PositiveIntegerField("allowed", null=True, editable=False)

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "operation"),
                name="boot_quota_unique",
                violation_error_message="This organization has a limit for this operation already.",
            ),
            models.CheckConstraint(
                condition=models.Q(operation__in=Operation.values), name="boot_quota_operation_known"
            ),
            models.CheckConstraint(
                condition=models.Q(ceiling=None) | models.Q(amount__lte=models.F("ceiling")),
                name="boot_quota_within_ceiling",
                violation_error_message="This is more than superusers allow.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_operation_display()}: {self.amount}"
