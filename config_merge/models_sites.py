"""Sites, their settings, and the devices that are managed through them."""

import secrets
import uuid

from django.db import models
from django.db.models import Q

from core.fields import EncryptedJSONField
from core.models import BaseModel
from devices.models import Device
from tenancy.models import Organization

FIRST_NUMBER = 2**48


def number_new() -> int:
    """Return a number for the public API: 2^48 and more, below 2^49, so JavaScript keeps it exact; not guessable."""
    return FIRST_NUMBER + secrets.randbits(48)


def version_new() -> uuid.UUID:
    """Return the next version of a site's or a device's settings; UUIDs of version 1, compared for equality only.

    The node is random, so that no version tells the server's address.
    """
    return uuid.uuid1(node=secrets.randbits(48) | 1 << 40, clock_seq=secrets.randbits(14))


class Hold(models.TextChoices):
    """Why a device is not given what it should be: nothing is pushed to it, or it may not talk to us at all."""

    SUSPENDED = "suspended", "Suspended"
    BLOCKED = "blocked", "Blocked"
    RETIRED = "retired", "Decommissioned"


class Site(BaseModel):
    """A place whose devices share settings."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="sites")
    number = models.BigIntegerField(unique=True, default=number_new, editable=False)
    name = models.CharField(max_length=64)
    settings = EncryptedJSONField(
        default=dict, blank=True, help_text='{key: {"value", "origin"}}; the origin is always "site".'
    )
    defaults = EncryptedJSONField(
        default=dict,
        blank=True,
        help_text="Forms for new entities; values under names with a slash fill gaps.",
    )
    context = EncryptedJSONField(
        "variables",
        default=dict,
        blank=True,
        help_text="Variables for devices of the site that use templates.",
    )
    version = models.UUIDField(default=version_new, editable=False)
    is_initialised = models.BooleanField(default=False, editable=False)

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "name"),
                name="site_name_unique",
                violation_error_message="Site with this Organization and Name already exists.",
            ),
        )
        indexes = (models.Index(fields=("organization", "-created", "id"), name="site_newest_of_org"),)

    def __str__(self) -> str:
        return self.name


class SiteDevice(BaseModel):
    """A device's place in a site: its own settings, and how it is managed."""

    class License(models.TextChoices):
        """What the cloud of the original sells; it is kept, nothing depends on it."""

        FREE = "LICENSE_TYPE_FREE", "Free"
        PRO = "LICENSE_TYPE_PRO", "Pro"
        TRIAL = "LICENSE_TYPE_TRIAL", "Trial"

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="place")
    site = models.ForeignKey(Site, on_delete=models.RESTRICT, related_name="places")
    number = models.BigIntegerField(unique=True, default=number_new, editable=False)
    serial = models.CharField("serial number", max_length=64, blank=True)
    label = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="The name as people wrote it, where it is no host name.",
    )
    settings = EncryptedJSONField(default=dict, blank=True, help_text='{key: {"value", "origin"}}')
    version = models.UUIDField(default=version_new, editable=False)
    inherits = models.BooleanField(default=True, help_text="Whether the site's settings reach the device.")
    is_suspended = models.BooleanField("suspended", default=False, help_text="Nothing is pushed to it.")
    is_blocked = models.BooleanField("blocked", default=False, help_text="It may not connect at all.")
    is_retired = models.BooleanField(
        "decommissioned", default=False, help_text="Kept for its history; without contact, read-only."
    )
    registered_at = models.DateTimeField(null=True, blank=True, editable=False)
    license_type = models.CharField(max_length=32, choices=License.choices, default=License.FREE)

    class Meta(BaseModel.Meta):
        verbose_name = "place of a device"
        verbose_name_plural = "places of devices"
        indexes = (
            models.Index(fields=("site", "number"), name="place_of_site"),
            models.Index(fields=("serial",), condition=~Q(serial=""), name="place_serial"),
        )

    def __str__(self) -> str:
        return f"{self.device} at {self.site}"

    @property
    def hold(self) -> str:
        """The strongest of what holds the device (`Hold`), empty for nothing."""
        if self.is_retired:
            return Hold.RETIRED.value
        if self.is_blocked:
            return Hold.BLOCKED.value
        return Hold.SUSPENDED.value if self.is_suspended else ""
