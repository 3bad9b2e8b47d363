"""Who may touch configurations, and which events of lower floors turn them stale. Imported once, at start."""

from config_merge import numbers
from config_merge.agent import endpoints
from config_merge.delivery import drift, link
from config_merge.exchange import tasks as exchange_tasks  # noqa: F401 - registers models and tasks
from config_merge.services import stale
from core import metrics
from core.events import subscribe
from devices.events import (
    DevicesChanged,
    DevicesMeasured,
    GroupVariablesChanged,
    LinksClosed,
    LinksOpened,
    OrganizationVariablesChanged,
)
from devices.link import door, methods
from tenancy.models import Role
from tenancy.policy import register

register("config_merge.template", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.config", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.site", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.sitedevice", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.job", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.configrevision", view=Role.VIEWER, write=None)
register("config_merge.deleteddevice", view=Role.VIEWER, write=None, add=Role.OPERATOR)
subscribe(DevicesChanged, stale.on_devices_changed)
subscribe(GroupVariablesChanged, stale.on_group_variables)
subscribe(OrganizationVariablesChanged, stale.on_organization_variables)
subscribe(LinksOpened, link.on_opened)
subscribe(LinksClosed, link.on_closed)
subscribe(DevicesMeasured, drift.on_measured)
methods.register("report", link.report)
methods.register("task.progress", link.progress)
door.use(endpoints.LINK_DOOR)
register("config_merge.configtask", view=Role.VIEWER, write=Role.OPERATOR)
metrics.gauge("muster_tasks", "Open configuration tasks by state.", numbers.open_tasks, labels=("state",))
metrics.gauge(
    "muster_configurations", "Configurations by status.", numbers.configurations_by_status, labels=("status",)
)
metrics.gauge(
    "muster_stale_configurations", "Configurations that wait to be computed.", numbers.stale_configurations
)
metrics.gauge("muster_jobs", "Batch jobs by state.", numbers.jobs_by_state, labels=("state",))
metrics.gauge("muster_revisions_last_hour", "Revisions written in the last hour.", numbers.recent_revisions)
