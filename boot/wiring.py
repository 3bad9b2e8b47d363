"""Who may touch boot configurations and quotas. Imported once, at start."""

from tenancy.models import Role
from tenancy.policy import register

register("boot.bootconfig", view=Role.VIEWER, write=Role.OPERATOR)
register("boot.bootversion", view=Role.VIEWER, write=None)
register("boot.deletedbootconfig", view=Role.VIEWER, write=None, add=Role.OPERATOR)
register("boot.quota", view=Role.VIEWER, write=Role.MANAGER)
register("boot.image", view=Role.VIEWER, write=Role.OPERATOR, change=None)
register("boot.imageupload", view=Role.OPERATOR, write=Role.OPERATOR)
register("boot.imagelimits", view=Role.VIEWER, write=None)
