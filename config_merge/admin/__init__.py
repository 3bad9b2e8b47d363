"""Admin pages of devices, groups and templates, and the dashboard.

Devices and groups are registered here and not in `devices`, because their pages show configurations.
"""

from django.contrib import admin

from config_merge.admin.deleted import DeletedDeviceAdmin
from config_merge.admin.device import DeviceAdmin
from config_merge.admin.fleet import FleetSettingsPage
from config_merge.admin.group import DeviceGroupAdmin
from config_merge.admin.job import JobAdmin
from config_merge.admin.site import SiteAdmin
from config_merge.admin.task import ConfigTaskAdmin
from config_merge.admin.template import TemplateAdmin
from devices.models import FleetSettings

__all__ = [
    "ConfigTaskAdmin",
    "DeletedDeviceAdmin",
    "DeviceAdmin",
    "DeviceGroupAdmin",
    "FleetSettingsPage",
    "JobAdmin",
    "SiteAdmin",
    "TemplateAdmin",
]

admin.site.unregister(FleetSettings)
admin.site.register(FleetSettings, FleetSettingsPage)
admin.site.index_template = "admin/config_merge/dashboard.html"
