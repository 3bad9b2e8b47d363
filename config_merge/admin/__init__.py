"""Admin pages of devices, groups and templates, and the dashboard.

Devices and groups are registered here and not in `devices`, because their pages show configurations.
"""

from django.contrib import admin

from config_merge.admin.device import DeviceAdmin
from config_merge.admin.group import DeviceGroupAdmin
from config_merge.admin.template import TemplateAdmin

__all__ = ["DeviceAdmin", "DeviceGroupAdmin", "TemplateAdmin"]

admin.site.index_template = "admin/config_merge/dashboard.html"
