"""Who may look at tracks. Imported once, at start."""

from tenancy.models import Role
from tenancy.policy import register

register("tracking.trackeddevice", view=Role.VIEWER, write=None, add=Role.VIEWER)
