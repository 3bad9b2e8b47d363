"""What the admin's side bar leads to: what this person may open, and how much news nobody has read."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from tenancy.admin_notifications import unread_badge


def entry(
    request: HttpRequest, title: str, icon: str, route: str, *, model: str = "", badge: str = ""
) -> Any:
    """Return one line; one that leads to a `model` ("app.model") is None for who may not look at it."""
    app, _, name = model.partition(".")
    if model and not request.user.has_perm(f"{app}.view_{name}"):
        return None
    line = {"title": title, "icon": icon, "link": reverse(route)}
    return {**line, "badge": badge, "badge_variant": "danger"} if badge else line


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of lines."""
    fleet = [
        entry(
            request, "Sites", "location_city", "admin:config_merge_site_changelist", model="config_merge.site"
        ),
        entry(request, "Devices", "router", "admin:devices_device_changelist", model="devices.device"),
        entry(
            request,
            "Device groups",
            "account_tree",
            "admin:devices_devicegroup_changelist",
            model="devices.devicegroup",
        ),
    ]
    configuration = [
        entry(
            request,
            "Templates",
            "layers",
            "admin:config_merge_template_changelist",
            model="config_merge.template",
        ),
        entry(
            request,
            "Tasks",
            "local_shipping",
            "admin:config_merge_configtask_changelist",
            model="config_merge.configtask",
        ),
        entry(request, "Jobs", "checklist", "admin:config_merge_job_changelist", model="config_merge.job"),
    ]
    boot = [
        entry(
            request,
            "Boot configurations",
            "terminal",
            "admin:boot_bootconfig_changelist",
            model="boot.bootconfig",
        ),
        entry(request, "Images", "hard_drive", "admin:boot_image_changelist", model="boot.image"),
        entry(
            request,
            "Tracks",
            "timeline",
            "admin:tracking_trackeddevice_changelist",
            model="tracking.trackeddevice",
        ),
        entry(request, "Quotas", "speed", "admin:boot_quota_gauges", model="boot.quota"),
    ]
    organizations = [
        entry(
            request,
            "Organizations",
            "domain",
            "admin:tenancy_organization_changelist",
            model="tenancy.organization",
        ),
        entry(
            request,
            "Fleet settings",
            "tune",
            "admin:devices_fleetsettings_changelist",
            model="devices.fleetsettings",
        ),
        entry(request, "Users", "group", "admin:tenancy_user_changelist", model="tenancy.user"),
    ]
    system = [
        entry(
            request,
            "Notifications",
            "notifications",
            "admin:tenancy_notification_changelist",
            model="tenancy.notification",
            badge=unread_badge(request),
        ),
        entry(request, "Webhooks", "webhook", "admin:tenancy_webhook_changelist", model="tenancy.webhook"),
        entry(
            request,
            "Audit trail",
            "history",
            "admin:tenancy_auditevent_changelist",
            model="tenancy.auditevent",
        ),
        entry(request, "API keys", "vpn_key", "admin:tenancy_apikey_changelist", model="tenancy.apikey"),
        entry(request, "API tokens", "key", "admin:tenancy_apitoken_changelist"),
        entry(request, "API documentation", "api", "docs"),
    ]
    titled = {
        "Fleet": fleet,
        "Configuration": configuration,
        "Network boot": boot,
        "Organizations": organizations,
        "System": system,
    }
    groups = {title: [line for line in lines if line] for title, lines in titled.items()}
    return [
        {"items": [entry(request, "Dashboard", "dashboard", "admin:index")]},
        *({"title": title, "separator": True, "items": lines} for title, lines in groups.items() if lines),
    ]
