"""Who may touch configurations, and which events of lower floors turn them stale. Imported once, at start."""

from config_merge import numbers
from config_merge.exchange import tasks as exchange_tasks  # noqa: F401 - registers models and tasks
from config_merge.services import stale
from core import metrics
from core.events import subscribe
from devices.events import DeviceChanged, GroupVariablesChanged, OrganizationVariablesChanged
from tenancy.models import Role
from tenancy.policy import register

register("config_merge.template", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.config", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.site", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.sitedevice", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.job", view=Role.VIEWER, write=Role.OPERATOR)
register("config_merge.configrevision", view=Role.VIEWER, write=None)
register("config_merge.deleteddevice", view=Role.VIEWER, write=None, add=Role.OPERATOR)
subscribe(DeviceChanged, stale.on_device_changed)
subscribe(GroupVariablesChanged, stale.on_group_variables)
subscribe(OrganizationVariablesChanged, stale.on_organization_variables)
metrics.gauge(
    "muster_configurations", "Configurations by status.", numbers.configurations_by_status, labels=("status",)
)
metrics.gauge(
    "muster_stale_configurations", "Configurations that wait to be computed.", numbers.stale_configurations
)
metrics.gauge("muster_jobs", "Batch jobs by state.", numbers.jobs_by_state, labels=("state",))
metrics.gauge("muster_revisions_last_hour", "Revisions written in the last hour.", numbers.recent_revisions)
