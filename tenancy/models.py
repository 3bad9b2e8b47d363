"""Users, organizations and what ties them: memberships, API tokens, notifications."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from core.fields import EncryptedTextField
from core.models import BaseModel
from tenancy.sign_in import models as sign_in_models  # noqa: F401 - makes them known to Django
from tenancy.webhook_models import Webhook, WebhookDelivery

__all__ = [
    "ApiKey", "ApiToken", "AuditEvent", "AuditHead", "Membership", "Notification", "Organization", "Role", "User",
    "Webhook", "WebhookDelivery",
]  # fmt: skip

validate_slug = RegexValidator(
    r"^[-a-zA-Z0-9_]+\Z", "Enter a valid slug of letters, numbers, underscores or hyphens."
)


class User(AbstractUser):
    """A person or service that signs in by username or e-mail address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta(AbstractUser.Meta):
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                condition=~models.Q(email=""),
                name="user_email_unique",
                violation_error_message="A user with that e-mail address already exists.",
            ),
        )


class Organization(BaseModel):
    """A tenant. Disabling it (`is_active`) takes effect at once, for its people and its devices."""

    name = models.CharField(max_length=60)
    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[validate_slug],
        error_messages={"unique": "An organization with this slug already exists."},
    )
    is_active = models.BooleanField("active", default=True)
    description = models.CharField(max_length=200, blank=True)
    email = models.EmailField(blank=True)
    url = models.URLField("URL", blank=True)

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member may do in an organization, weakest last."""

    OWNER = "owner", "Owner"
    MANAGER = "manager", "Manager"
    OPERATOR = "operator", "Operator"
    VIEWER = "viewer", "Viewer"


class Membership(BaseModel):
    """One user's role in one organization."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    can_reveal = models.BooleanField(
        "may reveal secrets",
        default=False,
        help_text="See keys and passwords, also those inside configurations; every look is in the audit trail.",
    )

    class Meta(BaseModel.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=("user", "organization"),
                name="membership_unique",
                violation_error_message="This user already is a member of this organization.",
            ),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.organization}"


class ApiToken(BaseModel):
    """A bearer token: shown once, stored as its SHA-256, following the current roles of its user."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64)
    prefix = models.CharField(max_length=8, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(BaseModel.Meta):
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ApiKey(BaseModel):
    """A key to one organization: `<key_id>.<secret>`, shown once, with only the secret's SHA-256 stored.

    It may do what its user may do there now; with `read_only`, nothing that writes. Whoever looks a key up by its text
    (`tenancy.api_keys.api_key_of`) finds the user's present role as `role`. An imported key is a text that a fleet of
    network-booted devices carries already: the digest is the whole text's, and it opens nothing but their API.
    """

    role: str

    key_id = models.CharField(max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    is_imported = models.BooleanField("imported", default=False, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=64)
    read_only = models.BooleanField(default=False, help_text="It reads, and changes nothing.")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(BaseModel.Meta):
        verbose_name = "API key"
        indexes = (models.Index(fields=("organization", "-created", "id"), name="api_key_newest_of_org"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.key_id})"


class Notification(BaseModel):
    """Something people of an organization should know; the object it is about may be gone already."""

    class Level(models.TextChoices):
        """How much it matters."""

        INFO = "info", "Info"
        WARNING = "warning", "Warning"
        ERROR = "error", "Error"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="notifications")
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.INFO)
    kind = models.CharField(max_length=32)
    target_type = models.CharField(max_length=32, blank=True)
    target_id = models.UUIDField(null=True, blank=True)
    message = models.CharField(max_length=256)
    is_read = models.BooleanField("read", default=False)

    class Meta(BaseModel.Meta):
        indexes = (models.Index(fields=("organization", "-created"), name="notification_recent"),)

    def __str__(self) -> str:
        return self.message


class AuditEvent(models.Model):
    """One thing that was done: written with it, never changed but for being sealed into the chain.

    `organization_id`, `actor_id` and `target_id` outlive what they name, so none of them is a constraint.
    `sequence` and `seal` are empty until the sealer has chained the row to the one before it (`tenancy.audit`).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created = models.DateTimeField(editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=150)
    via = models.CharField(max_length=16)
    address = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=256, blank=True)
    action = models.CharField(max_length=48)
    target_type = models.CharField(max_length=32, blank=True)
    target_id = models.CharField(max_length=36, blank=True)
    target_name = models.CharField(max_length=150, blank=True)
    changes = models.JSONField(default=dict)
    sequence = models.PositiveBigIntegerField(null=True, unique=True)
    seal = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "audit event"
        ordering = ("-created", "id")
        indexes = (
            models.Index(fields=("-created", "id"), name="audit_newest"),
            models.Index(fields=("organization", "-created", "id"), name="audit_newest_of_org"),
            models.Index(fields=("target_id", "-created"), name="audit_of_target"),
            models.Index(
                fields=("created",), condition=models.Q(sequence__isnull=True), name="audit_unsealed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_name}"


class AuditHead(models.Model):
    """The end of the chain and the key its seals are made with; one row."""

    key = EncryptedTextField()
    sequence = models.PositiveBigIntegerField(default=0)
    seal = models.CharField(max_length=64)
    anchor = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.sequence} events"
