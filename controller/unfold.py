"""How the admin looks and what its side bar leads to.

Invariant: nothing is looked up here; paths and permissions are, when a page is shown.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def to_static(name: str) -> Callable[[HttpRequest], str]:
    """Return a function that gives the address of a static file."""
    return lambda request: static(name)


def may_open(model: str) -> Callable[[HttpRequest], bool]:
    """Return a function that tells whether the user may look at the model "app.model"."""
    app, _, name = model.partition(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


def superuser(request: HttpRequest) -> bool:
    """Tell whether the user stands above organizations."""
    return bool(getattr(request.user, "is_superuser", False))


def entry(title: str, icon: str, route: str, **more: Any) -> dict[str, Any]:
    """Return one line of the side bar."""
    return {"title": title, "icon": icon, "link": reverse_lazy(route), **more}


NAVIGATION = [
    {"items": [entry("Dashboard", "dashboard", "admin:index")]},
    {
        "title": "Fleet",
        "separator": True,
        "items": [
            entry(
                "Devices", "router", "admin:devices_device_changelist", permission=may_open("devices.device")
            ),
            entry(
                "Device groups",
                "account_tree",
                "admin:devices_devicegroup_changelist",
                permission=may_open("devices.devicegroup"),
            ),
        ],
    },
    {
        "title": "Configuration",
        "separator": True,
        "items": [
            entry(
                "Templates",
                "layers",
                "admin:config_merge_template_changelist",
                permission=may_open("config_merge.template"),
            ),
        ],
    },
    {
        "title": "Organizations",
        "separator": True,
        "items": [
            entry(
                "Organizations",
                "domain",
                "admin:tenancy_organization_changelist",
                permission=may_open("tenancy.organization"),
            ),
            entry(
                "Fleet settings",
                "tune",
                "admin:devices_fleetsettings_changelist",
                permission=may_open("devices.fleetsettings"),
            ),
            entry("Users", "group", "admin:tenancy_user_changelist", permission=superuser),
        ],
    },
    {
        "title": "System",
        "separator": True,
        "items": [
            entry(
                "Notifications",
                "notifications",
                "admin:tenancy_notification_changelist",
                permission=may_open("tenancy.notification"),
                badge="tenancy.admin.unread_badge",
            ),
            entry("API tokens", "key", "admin:tenancy_apitoken_changelist"),
            entry("API documentation", "api", "docs"),
        ],
    },
]

BLUE = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(62.3% .214 259.815)",
    "600": "oklch(54.6% .245 262.881)",
    "700": "oklch(48.8% .243 264.376)",
    "800": "oklch(42.4% .199 265.638)",
    "900": "oklch(37.9% .146 265.522)",
    "950": "oklch(28.2% .091 267.935)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Muster",
    "SITE_HEADER": "Muster",
    "SITE_SUBHEADER": "Fleet controller",
    "SITE_ICON": to_static("core/muster.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": to_static("core/muster.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": True,
    "STYLES": [to_static("core/admin.css")],
    "COLORS": {"primary": BLUE},
    "DASHBOARD_CALLBACK": "config_merge.admin.dashboard.dashboard",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": NAVIGATION},
}
