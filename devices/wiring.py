"""Who may touch the inventory, and which events of lower floors it listens to. Imported once, at start."""

from core import metrics
from core.events import subscribe
from devices import organizations, queries, services
from tenancy.events import OrganizationCreated, OrganizationDeleting
from tenancy.models import Role
from tenancy.policy import register

register("devices.device", view=Role.VIEWER, write=Role.OPERATOR)
register("devices.devicegroup", view=Role.VIEWER, write=Role.OPERATOR)
register("devices.fleetsettings", view=Role.MANAGER, write=None, change=Role.MANAGER)
# To replace the shared secret: a POST, so the policy calls it "add".
register("devices.fleetsecret", view=Role.MANAGER, write=None, add=Role.MANAGER)
subscribe(OrganizationCreated, services.fleet_settings_create)
metrics.gauge("muster_devices", "Devices that exist.", queries.device_total)
subscribe(OrganizationDeleting, organizations.refuse_deletion_of_a_working_fleet)
