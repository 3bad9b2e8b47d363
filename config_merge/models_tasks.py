"""A configuration on its way to a device: one row from the moment it is wanted to the device's own word about it."""

from django.db import models
from django.db.models import Q

from core.models import BaseModel
from devices.models import Device


class ConfigTask(BaseModel):
    """Give a device one revision. The moves between states are in `config_merge.delivery.states`.

    `attempt` counts the times it was sent; what a device says of an earlier one moves nothing back. `lease_until` is
    when a task that was sent, and not heard of since, is taken back. `site_id` is the device's site when the task was
    written, without a constraint: it only bounds how much goes out to one place at a time.
    """

    class State(models.TextChoices):
        """How far it is; the first three are open, the rest final."""

        PENDING = "pending", "Waiting"
        SENT = "sent", "Sent"
        RUNNING = "running", "Running"
        APPLIED = "applied", "Applied"
        FAILED = "failed", "Failed"
        ROLLED_BACK = "rolled_back", "Rolled back"
        SUPERSEDED = "superseded", "Superseded"
        EXPIRED = "expired", "Expired"
        CANCELLED = "cancelled", "Cancelled"

    class Kind(models.TextChoices):
        """Why it is there."""

        CHANGE = "change", "Change of configuration"
        RESYNC = "resync", "Full push"

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="config_tasks")
    revision = models.ForeignKey(
        "config_merge.ConfigRevision", on_delete=models.CASCADE, related_name="tasks"
    )
    number = models.PositiveIntegerField(help_text="The revision's.")
    checksum = models.CharField(max_length=32, help_text="The revision's.")
    site_id = models.UUIDField(null=True, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.CHANGE)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    attempt = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(help_text="Not sent before.")
    lease_until = models.DateTimeField(null=True)
    deadline = models.DateTimeField(help_text="Given up afterwards.")
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=1024, blank=True)
    log = models.JSONField(default=list, help_text="Steps the device told: [time, step, message].")

    class Meta(BaseModel.Meta):
        verbose_name = "configuration task"
        constraints = (
            models.CheckConstraint(
                condition=Q(
                    state__in=(
                        "pending",
                        "sent",
                        "running",
                        "applied",
                        "failed",
                        "rolled_back",
                        "superseded",
                        "expired",
                        "cancelled",
                    )
                ),
                name="task_state_known",
            ),
            models.UniqueConstraint(fields=("device",), condition=Q(state="pending"), name="task_one_unsent"),
            models.UniqueConstraint(
                fields=("device",), condition=Q(state__in=("sent", "running")), name="task_one_under_way"
            ),
        )
        indexes = (
            models.Index(fields=("device", "-created"), name="task_of_device"),
            models.Index(fields=("-created", "id"), name="task_newest"),
            models.Index(
                fields=("lease_until",), condition=Q(state__in=("sent", "running")), name="task_leased"
            ),
            models.Index(fields=("deadline",), condition=Q(state="pending"), name="task_waiting"),
            models.Index(
                fields=("site_id",), condition=Q(state__in=("sent", "running")), name="task_under_way_at"
            ),
            models.Index(
                fields=("finished_at",), condition=Q(finished_at__isnull=False), name="task_finished"
            ),
        )

    def __str__(self) -> str:
        return f"Revision {self.number}: {self.get_state_display()}"
