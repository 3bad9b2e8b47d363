"""Long work over many devices: a job, and what became of each of its devices.

The rows are the queue: a message only wakes a worker. `JobItem.outcome` leaves `pending` in the transaction that does
the item's work, so an item is done once however often the worker is killed or woken.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.fields import EncryptedJSONField
from core.models import BaseModel
from tenancy.models import Organization


class Job(BaseModel):
    """What a person asked to have done to many devices; without an organization it spans several."""

    class Kind(models.TextChoices):
        """What is done to each device."""

        ACTIVATE = "activate", "Activate"
        DEACTIVATE = "deactivate", "Deactivate"
        CHANGE_GROUP = "change_group", "Change group"
        ASSIGN_TEMPLATE = "assign_template", "Assign template"
        UNASSIGN_TEMPLATE = "unassign_template", "Unassign template"
        CHANGE_SITE = "change_site", "Change site"
        CHANGE_MANAGEMENT = "change_management", "Change management"
        DELETE = "delete", "Delete"
        PREVIEW = "preview", "Preview of a change"

    class State(models.TextChoices):
        """How far it is."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        CANCELLED = "cancelled", "Cancelled"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, null=True, blank=True, related_name="jobs"
    )
    kind = models.CharField("action", max_length=24, choices=Kind.choices)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    dry_run = models.BooleanField(default=False, help_text="Only say what would happen.")
    reason = models.CharField(max_length=256, blank=True)
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    creator_name = models.CharField("created by", max_length=150)
    parameters = models.JSONField(default=dict)
    proposal = EncryptedJSONField(default=dict, help_text="The change a preview is about.")
    result = EncryptedJSONField(default=dict, help_text="What a preview found.")
    total = models.PositiveIntegerField(default=0)
    looked_at = models.PositiveIntegerField(default=0, help_text="Devices a preview has compared.")
    problem = models.CharField(max_length=512, blank=True)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    lease = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(BaseModel.Meta):
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=(
                    "activate", "deactivate", "change_group", "assign_template", "unassign_template", "change_site",
                    "change_management", "delete", "preview",
                )),
                name="job_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "finished", "cancelled")), name="job_state_known"
            ),
        )  # fmt: skip
        indexes = (
            models.Index(fields=("-created", "id"), name="job_newest"),
            models.Index(fields=("organization", "-created", "id"), name="job_newest_of_org"),
            models.Index(fields=("created",), condition=Q(state__in=("queued", "running")), name="job_open"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.total} devices)"


class JobItem(models.Model):
    """One device of a job. It outlives the device, so it names it and does not point at it."""

    class Outcome(models.TextChoices):
        """What became of it; `skipped` found nothing to do, or was cancelled."""

        PENDING = "pending", "Pending"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="items")
    device_id = models.UUIDField()
    organization_id = models.UUIDField()
    name = models.CharField(max_length=64)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.PENDING)
    message = models.CharField(max_length=512, blank=True)
    at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("name", "device_id")
        constraints = (models.UniqueConstraint(fields=("job", "device_id"), name="jobitem_unique"),)
        indexes = (
            models.Index(fields=("job", "outcome"), name="jobitem_outcome"),
            models.Index(fields=("job", "name", "device_id"), name="jobitem_order"),
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"
