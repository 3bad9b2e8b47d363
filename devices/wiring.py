"""Who may touch the inventory, and which events of lower floors it listens to. Imported once, at start."""

from core.events import subscribe
from devices import services
from tenancy.events import OrganizationCreated
from tenancy.models import Role
from tenancy.policy import register

register("devices.device", view=Role.VIEWER, write=Role.OPERATOR)
register("devices.devicegroup", view=Role.VIEWER, write=Role.OPERATOR)
register("devices.fleetsettings", view=Role.MANAGER, write=None, change=Role.MANAGER)
subscribe(OrganizationCreated, services.fleet_settings_create)
