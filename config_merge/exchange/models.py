"""Tables that people have handed in, until they confirm them, and devices that can be brought back."""

from datetime import timedelta

from django.conf import settings
from django.db import models

from core.fields import EncryptedBinaryField, EncryptedJSONField
from core.models import BaseModel
from tenancy.models import Organization


class DeviceImport(BaseModel):
    """One uploaded table: its bytes are kept here, encrypted and for an hour, so that a browser cannot change them
    between the rehearsal that was looked at and the import. It exists for the person who uploaded it alone.
    """

    class State(models.TextChoices):
        """How far it is; `checked` waits for the person."""

        CHECKING = "checking", "Being checked"
        CHECKED = "checked", "Checked"
        APPLYING = "applying", "Being imported"
        APPLIED = "applied", "Imported"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=150)
    content = EncryptedBinaryField()
    total = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=16, choices=State.choices, default=State.CHECKING)
    report = EncryptedJSONField(default=dict)
    lease_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta(BaseModel.Meta):
        constraints = (
            models.CheckConstraint(
                condition=models.Q(state__in=["checking", "checked", "applying", "applied"]),
                name="deviceimport_state_known",
            ),
        )

    def __str__(self) -> str:
        return self.name


class DeletedDevice(BaseModel):
    """What a device was when it was deleted, for thirty days; `created` is when that happened."""

    KEPT = timedelta(days=30)

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="deleted_devices")
    device_id = models.UUIDField()
    name = models.CharField(max_length=64)
    mac_address = models.CharField(max_length=17)
    status = models.CharField(max_length=16, blank=True)
    deleted_by = models.CharField(max_length=150, blank=True)
    snapshot = EncryptedJSONField()

    class Meta(BaseModel.Meta):
        verbose_name = "deleted device"
        indexes = (
            models.Index(fields=("-created", "id"), name="deleteddevice_newest"),
            models.Index(fields=("organization", "-created", "id"), name="deleteddevice_of_org"),
        )

    def __str__(self) -> str:
        return self.name
