"""What exists: organizations' fleet settings, device groups, devices."""

from django.db import models
from django.db.models.functions import Lower

from core.fields import EncryptedJSONField, EncryptedTextField
from core.models import BaseModel
from devices.validators import validate_device_name, validate_key, validate_mac_address
from tenancy.models import Organization


class FleetSettings(models.Model):
    """How an organization's devices register, how many there may be, and the variables they share."""

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="fleet_settings"
    )
    registration_enabled = models.BooleanField(
        default=True, help_text="Whether new devices may register with the shared secret."
    )
    shared_secret = EncryptedTextField(
        max_length=32,
        validators=[validate_key],
        help_text="What devices prove to register; 8 to 32 characters.",
    )
    shared_secret_digest = models.CharField(max_length=64, unique=True, editable=False)
    context = EncryptedJSONField(
        "variables", default=dict, blank=True, help_text="Variables for every device of the organization."
    )
    device_limit = models.BigIntegerField(
        null=True,
        blank=True,
        default=0,
        help_text="0 means unlimited; empty means that no device can be added.",
    )

    class Meta:
        verbose_name = "fleet settings"
        verbose_name_plural = "fleet settings"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(device_limit__gte=0), name="fleet_device_limit_positive"
            ),
        )

    def __str__(self) -> str:
        return f"Fleet settings of {self.organization}"


class DeviceGroup(BaseModel):
    """Devices that belong together: they share variables and templates."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="device_groups")
    name = models.CharField(max_length=60)
    description = models.TextField(blank=True)
    context = EncryptedJSONField("variables", default=dict, blank=True)
    meta_data = models.JSONField("metadata", default=dict, blank=True)

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "name"),
                name="devicegroup_name_unique",
                violation_error_message="Device group with this Organization and Name already exists.",
            ),
        )
        indexes = (models.Index(fields=("-created", "id"), name="devicegroup_newest"),)

    def __str__(self) -> str:
        return self.name


class Device(BaseModel):
    """A piece of equipment known to an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="devices")
    group = models.ForeignKey(
        DeviceGroup, on_delete=models.SET_NULL, null=True, blank=True, related_name="devices"
    )
    name = models.CharField(
        max_length=64, validators=[validate_device_name], help_text="A hostname or a MAC address."
    )
    mac_address = models.CharField(
        "MAC address", max_length=17, validators=[validate_mac_address], help_text="The primary MAC address."
    )
    key = EncryptedTextField(
        max_length=64,
        blank=True,
        validators=[validate_key],
        help_text="What the device proves; made when left empty.",
    )
    key_digest = models.CharField(max_length=64, unique=True, editable=False)
    model = models.CharField(max_length=64, blank=True)
    os = models.CharField("operating system", max_length=128, blank=True)
    system = models.CharField("SoC", max_length=128, blank=True)
    notes = models.TextField(blank=True)
    last_ip = models.GenericIPAddressField("last IP", null=True, blank=True)
    management_ip = models.GenericIPAddressField("management IP", null=True, blank=True)
    # Null instead of empty: only what is there must be unique.
    hardware_id = models.CharField("hardware id", max_length=32, null=True, blank=True)  # noqa: DJ001
    is_deactivated = models.BooleanField("deactivated", default=False, editable=False)
    is_retired = models.BooleanField(
        "decommissioned",
        default=False,
        editable=False,
        help_text="Kept for its history; its name, address and hardware id are free for another.",
    )
    last_seen = models.DateTimeField(null=True, blank=True, editable=False)
    unlinked_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its last link was lost."
    )

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("mac_address", "organization"),
                condition=models.Q(is_retired=False),
                name="device_mac_unique",
                violation_error_message="Device with this Mac address and Organization already exists.",
            ),
            models.UniqueConstraint(
                Lower("name"),
                "organization",
                condition=models.Q(is_retired=False),
                name="device_name_unique",
                violation_error_message="Device with this Name and Organization already exists.",
            ),
            models.UniqueConstraint(
                fields=("hardware_id", "organization"),
                condition=models.Q(is_retired=False),
                name="device_hardware_id_unique",
                violation_error_message="Device with this Hardware id and Organization already exists.",
            ),
        )
        indexes = (
            models.Index(fields=("-created", "id"), name="device_newest"),
            models.Index(fields=("organization", "-created", "id"), name="device_newest_of_org"),
            models.Index(fields=("management_ip",), name="device_management_ip"),
            models.Index(fields=("last_ip",), name="device_last_ip"),
            models.Index(fields=("group", "-created", "id"), name="device_newest_of_group"),
            models.Index(
                fields=("organization", "-created", "id"),
                condition=models.Q(is_deactivated=True),
                name="device_newest_retired",
            ),
            models.Index(fields=("organization", "name", "id"), name="device_by_name"),
            models.Index(fields=("organization", "mac_address", "id"), name="device_by_mac"),
            models.Index(fields=("organization", "modified", "id"), name="device_by_modified"),
            models.Index(fields=("organization", "model", "id"), name="device_by_model"),
            models.Index(fields=("organization", "os", "id"), name="device_by_os"),
        )

    def __str__(self) -> str:
        return self.name


class DeviceText(models.Model):
    """What a device is found by, lower-case and apart from what changes often; kept by triggers (`devices.listing`)."""

    device = models.OneToOneField(
        Device, on_delete=models.DO_NOTHING, db_constraint=False, related_name="text", editable=False
    )
    organization_id = models.UUIDField(editable=False)
    name = models.TextField(editable=False)
    mac = models.TextField(editable=False, help_text="With colons, a space, without separators.")
    rest = models.TextField(editable=False)

    class Meta:
        indexes = (models.Index(fields=("organization_id", "device"), name="device_text_of_org"),)

    def __str__(self) -> str:
        return f"{self.name} {self.mac}"


class DeviceCount(models.Model):
    """How many devices there are of each kind, the sum of `n`; kept by triggers (`devices.listing`).

    Without a group, `group_id` is the organization's id, since SQL finds no row by comparing with null.
    """

    organization_id = models.UUIDField(editable=False)
    group_id = models.UUIDField(editable=False)
    is_deactivated = models.BooleanField(editable=False)
    n = models.BigIntegerField(editable=False)

    class Meta:
        indexes = (
            models.Index(
                fields=("organization_id", "group_id", "is_deactivated"), name="device_count_of_org"
            ),
        )

    def __str__(self) -> str:
        return f"{self.n} of {self.organization_id}"


# At the end: they refer to the device.
from devices.models_link import Link as Link  # noqa: E402
from devices.models_link import LinkServer as LinkServer  # noqa: E402
