"""What a device should be: templates, configurations, and the immutable revisions rendered from them.

A configuration is stale while `generation` is ahead of `computed_generation`: everything that can change a
rendering bumps the first, and only a computation that has read the newer state moves the second. That pair is
the whole queue of background work; it lives in these rows and in no message.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from config_merge.models_jobs import Job as Job
from config_merge.models_jobs import JobItem as JobItem
from config_merge.models_sites import Hold as Hold
from config_merge.models_sites import Site as Site
from config_merge.models_sites import SiteDevice as SiteDevice
from config_merge.models_tasks import ConfigTask as ConfigTask
from core.fields import EncryptedBinaryField, EncryptedJSONField
from core.models import BaseModel
from devices.models import Device, DeviceGroup
from tenancy.models import Organization


class Backend(models.TextChoices):
    """The renderers a configuration can be written for."""

    OPENWRT = "netjsonconfig.OpenWrt", "OpenWrt"
    OPENWISP = "netjsonconfig.OpenWisp", "OpenWISP Firmware 1.x"


class Status(models.TextChoices):
    """How far a device has got with its configuration; the moves are in `config_merge.status`."""

    MODIFIED = "modified", "Modified"
    APPLIED = "applied", "Applied"
    ERROR = "error", "Error"
    DEACTIVATING = "deactivating", "Deactivating"
    DEACTIVATED = "deactivated", "Deactivated"


class Managed(models.TextChoices):
    """Where a device's configuration comes from."""

    TEMPLATES = "templates", "Templates"
    SITE = "site", "Site settings"


class Drift(models.TextChoices):
    """Whether a device really has what it applied; only it can say."""

    UNKNOWN = "unknown", "Unknown"
    MATCHES = "matches", "Matches"
    DIFFERS = "differs", "Differs"


class Cause(models.TextChoices):
    """Why a configuration was computed anew."""

    CREATED = "created", "Created"
    DEVICE = "device", "Device edited"
    TEMPLATES = "templates", "Templates assigned"
    TEMPLATE = "template", "Template edited"
    GROUP = "group", "Group edited"
    ORGANIZATION = "organization", "Organization variables edited"
    ACTIVATED = "activated", "Device activated"
    DEACTIVATED = "deactivated", "Device deactivated"
    RESTORED = "restored", "Earlier revision restored"
    SITE = "site", "Site edited"
    SETTINGS = "settings", "Device settings edited"
    MOVED = "moved", "Managed by something else"
    AGAIN = "again", "Pushed again"


class Template(BaseModel):
    """A part of a configuration that many devices share; without an organization it is shared by all."""

    class Type(models.TextChoices):
        """Generic settings, or the client side of a VPN server."""

        GENERIC = "generic", "Generic"
        VPN = "vpn", "VPN client"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, null=True, blank=True, related_name="templates",
        help_text="Leave empty to share it with every organization.",
    )  # fmt: skip
    name = models.CharField(max_length=64)
    type = models.CharField(max_length=16, choices=Type.choices, default=Type.GENERIC)
    backend = models.CharField(max_length=64, choices=Backend.choices, default=Backend.OPENWRT)
    default = models.BooleanField(default=False, help_text="Assign to every device of this backend.")
    required = models.BooleanField(default=False, help_text="Assign to every device and refuse to unassign.")
    auto_cert = models.BooleanField("automatic certificate", default=True)
    notes = models.TextField(blank=True)
    default_values = EncryptedJSONField(default=dict, blank=True)
    config = EncryptedJSONField("configuration", default=dict)

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "name"),
                name="template_name_unique",
                violation_error_message="Template with this Organization and Name already exists.",
            ),
            models.UniqueConstraint(
                fields=("name",),
                condition=Q(organization__isnull=True),
                name="template_shared_name_unique",
                violation_error_message="Template with this name already exists.",
            ),
        )
        indexes = (
            models.Index(fields=("-created", "id"), name="template_newest"),
            models.Index(fields=("organization",), condition=Q(default=True), name="template_default"),
        )

    def __str__(self) -> str:
        return self.name


class TemplateTag(models.Model):
    """A word devices may ask for when they register."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="tag_rows")
    name = models.CharField(max_length=64, db_index=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("template", "name"), name="template_tag_unique"),)

    def __str__(self) -> str:
        return self.name


class GroupTemplate(models.Model):
    """A template that every device of a group gets, in this order."""

    group = models.ForeignKey(DeviceGroup, on_delete=models.CASCADE, related_name="group_templates")
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="group_templates")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("position", "pk")
        constraints = (models.UniqueConstraint(fields=("group", "template"), name="group_template_unique"),)

    def __str__(self) -> str:
        return f"{self.group}: {self.template}"


class Config(BaseModel):
    """One device's own settings and how far it has got with them."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="config")
    backend = models.CharField(max_length=64, choices=Backend.choices, default=Backend.OPENWRT)
    managed_by = models.CharField(
        max_length=16, choices=Managed.choices, default=Managed.TEMPLATES, editable=False
    )
    config = EncryptedJSONField(
        "configuration", default=dict, blank=True, help_text="Applied after the templates, so it wins."
    )
    context = EncryptedJSONField("variables", default=dict, blank=True)
    templates: "models.ManyToManyField[Template, ConfigTemplate]" = models.ManyToManyField(
        Template, through="ConfigTemplate", related_name="configs", blank=True
    )
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.MODIFIED, db_index=True)
    error_reason = models.CharField(max_length=1024, blank=True)
    checksum = models.CharField(max_length=32, blank=True, editable=False)
    applied_checksum = models.CharField(max_length=32, blank=True, editable=False)
    actual = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Digest of what the device really has."
    )
    actual_at = models.DateTimeField(null=True, editable=False)
    drift = models.CharField(max_length=8, choices=Drift.choices, default=Drift.UNKNOWN, editable=False)
    problem = models.CharField(
        max_length=512, blank=True, editable=False, help_text="Why the last computation failed, if it did."
    )
    revision = models.ForeignKey(
        "ConfigRevision", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    revision_number = models.PositiveIntegerField(default=0, editable=False)
    issue = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="How often it was pushed again: the same files, another checksum.",
    )
    generation = models.PositiveBigIntegerField(default=1, editable=False)
    computed_generation = models.PositiveBigIntegerField(default=0, editable=False)
    stale_cause = models.CharField(
        max_length=16, choices=Cause.choices, default=Cause.CREATED, editable=False
    )
    stale_actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )

    # The place's (`SiteDevice.hold`), copied by the services that change it so that a poll reads one row.
    hold = models.CharField(max_length=16, choices=Hold.choices, blank=True, default="", editable=False)

    # The device's, copied by triggers (`config_merge.listing`) so that lists by status are read in order.
    organization_id = models.UUIDField(null=True, editable=False)
    device_created = models.DateTimeField(null=True, editable=False)

    class Meta(BaseModel.Meta):
        verbose_name = "configuration"
        constraints = (
            models.CheckConstraint(condition=Q(status__in=Status.values), name="config_status_known"),
            models.CheckConstraint(condition=Q(backend__in=Backend.values), name="config_backend_known"),
        )
        indexes = (
            models.Index(
                fields=("id",), condition=Q(generation__gt=F("computed_generation")), name="config_stale"
            ),
            models.Index(
                fields=("organization_id", "status", "-device_created", "device"),
                name="config_newest_by_status",
            ),
            models.Index(
                fields=("organization_id", "backend", "-device_created", "device"),
                name="config_newest_by_backend",
            ),
        )

    def __str__(self) -> str:
        return f"Configuration of {self.device}"

    @property
    def is_stale(self) -> bool:
        """Whether something changed that the current revision does not contain yet."""
        return self.generation > self.computed_generation


class ConfigTemplate(models.Model):
    """A template assigned to a configuration; a higher position is merged later and wins."""

    config = models.ForeignKey(Config, on_delete=models.CASCADE, related_name="config_templates")
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="config_templates")
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("position", "pk")
        constraints = (models.UniqueConstraint(fields=("config", "template"), name="config_template_unique"),)

    def __str__(self) -> str:
        return f"{self.config_id}: {self.template_id}"


class ConfigRevision(BaseModel):
    """What a device was told to be: written once, never changed."""

    modified = None  # type: ignore[assignment]
    config = models.ForeignKey(Config, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    artefact = EncryptedBinaryField(help_text="The tar.gz the device downloads.")
    checksum = models.CharField(max_length=32, help_text="md5 of the archive, as the agent compares it.")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField(help_text="Bytes of the archive.")
    digest = models.CharField(
        max_length=64,
        blank=True,
        help_text="What a device that has it should measure; see docs/link-protocol.md.",
    )
    cause = models.CharField(max_length=16, choices=Cause.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    inputs = EncryptedJSONField(
        default=dict, help_text="The device's own part of what it was computed from; empty in old revisions."
    )

    class Meta:
        verbose_name = "configuration revision"
        ordering = ("-number",)
        constraints = (models.UniqueConstraint(fields=("config", "number"), name="revision_number_unique"),)
        indexes = (models.Index(fields=("-created",), name="revision_recent"),)

    def __str__(self) -> str:
        return f"Revision {self.number}"


class ConfigCount(models.Model):
    """How many configurations there are of each kind, the sum of `n`; kept by triggers (`config_merge.listing`)."""

    organization_id = models.UUIDField(editable=False)
    status = models.CharField(max_length=16, editable=False)
    backend = models.CharField(max_length=64, editable=False)
    n = models.BigIntegerField(editable=False)

    class Meta:
        indexes = (models.Index(fields=("organization_id", "status", "backend"), name="config_count_of_org"),)

    def __str__(self) -> str:
        return f"{self.n} {self.status} of {self.organization_id}"
