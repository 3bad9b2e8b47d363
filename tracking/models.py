"""The last ten things each device has said: one row a device, whatever it says.

Invariant: an entry is a column that the next ten appends shift out (`tracking.services`, docs/adr/0013), so that
storage is constant and there is nothing to delete.
"""

from django.db import models

from core.models import BaseModel
from tenancy.models import ApiKey, Organization

ENTRIES = 10
DEVICE_LENGTH = 255


class TrackedDevice(BaseModel):
    """A device as it names itself under one API key; `t9` and `e9` are its newest entry, in microseconds and text.

    Empty slots have no time. `mac_address` is the name in the usual form where it is a MAC address, so that it leads to
    the inventory's device of the organization.
    """

    # Other indexes begin with these.
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.CASCADE, related_name="tracked_devices", db_index=False
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="tracked_devices", db_index=False
    )
    device = models.CharField("device id", max_length=DEVICE_LENGTH)
    mac_address = models.CharField("MAC address", max_length=17, blank=True, default="")
    last_at = models.DateTimeField("last seen")
    seq = models.BigIntegerField("entries ever", default=1)
    t0 = models.BigIntegerField(null=True, editable=False)
    t1 = models.BigIntegerField(null=True, editable=False)
    t2 = models.BigIntegerField(null=True, editable=False)
    t3 = models.BigIntegerField(null=True, editable=False)
    t4 = models.BigIntegerField(null=True, editable=False)
    t5 = models.BigIntegerField(null=True, editable=False)
    t6 = models.BigIntegerField(null=True, editable=False)
    t7 = models.BigIntegerField(null=True, editable=False)
    t8 = models.BigIntegerField(null=True, editable=False)
    t9 = models.BigIntegerField(editable=False)
    e0 = models.CharField(max_length=256, default="", editable=False)
    e1 = models.CharField(max_length=256, default="", editable=False)
    e2 = models.CharField(max_length=256, default="", editable=False)
    e3 = models.CharField(max_length=256, default="", editable=False)
    e4 = models.CharField(max_length=256, default="", editable=False)
    e5 = models.CharField(max_length=256, default="", editable=False)
    e6 = models.CharField(max_length=256, default="", editable=False)
    e7 = models.CharField(max_length=256, default="", editable=False)
    e8 = models.CharField(max_length=256, default="", editable=False)
    e9 = models.CharField(max_length=256, default="", editable=False)

    class Meta:
        verbose_name = "track"
        ordering = ("-last_at", "id")
        constraints = (models.UniqueConstraint(fields=("api_key", "device"), name="tracked_device_unique"),)
        indexes = (
            models.Index(fields=("organization", "-last_at", "id"), name="tracked_newest_of_org"),
            models.Index(fields=("-last_at", "id"), name="tracked_newest"),
            models.Index(fields=("organization", "mac_address"), name="tracked_by_mac"),
        )

    def __str__(self) -> str:
        return self.device
