"""The base every stored object shares, the heartbeat of periodic jobs, and what limits count."""

import uuid

from django.db import models


class BaseModel(models.Model):
    """An object with a UUID in its URL and its times of creation and last change (aware, UTC)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created = models.DateTimeField(auto_now_add=True, editable=False)
    modified = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True
        ordering = ("-created", "id")


class Heartbeat(models.Model):
    """When a periodic job last ran, by its name."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class Counter(models.Model):
    """How much is used of what was allowed the last time, by the limit's name, until it expires (`core.quotas`).

    `granted` is what the last statement that counted was given, so that it can be returned.
    """

    name = models.CharField(max_length=128, primary_key=True)
    used = models.PositiveIntegerField()
    granted = models.PositiveIntegerField(default=0)
    allowed = models.PositiveIntegerField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.used}"
