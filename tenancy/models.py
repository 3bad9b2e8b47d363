"""Users, organizations and what ties them: memberships, API tokens, notifications."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from core.models import BaseModel

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
