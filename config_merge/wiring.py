"""Who may touch configurations, and which events of lower floors turn them stale. Imported once, at start."""

from config_merge.services import stale
from core.events import subscribe
from devices.events import DeviceChanged, GroupVariablesChanged, OrganizationVariablesChanged
from tenancy.models import Role
from tenancy.policy import register

register("config_merge.template", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.config", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.configrevision", view=Role.VIEWER, write=None)
subscribe(DeviceChanged, stale.on_device_changed)
subscribe(GroupVariablesChanged, stale.on_group_variables)
subscribe(OrganizationVariablesChanged, stale.on_organization_variables)
