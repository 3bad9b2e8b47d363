"""The base every stored object shares, and the heartbeat of periodic jobs."""

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
