"""How the admin looks.

Invariant: nothing is looked up while the settings load; addresses and the side bar are, when a page is shown.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse


def to_static(name: str) -> Callable[[HttpRequest], str]:
    """Return a function that gives the address of a static file."""
    return lambda request: static(name)


def to_page(name: str) -> Callable[[HttpRequest], str]:
    """Return a function that gives the address of a page."""
    return lambda request: reverse(name)


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
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "tenancy.sign_in.forms.SignInForm"},
    "ACCOUNT": {"navigation": [{"title": "Your account", "link": to_page("admin:account")}]},
    "SHOW_HISTORY": True,
    "STYLES": [to_static("core/admin.css")],
    "COLORS": {"primary": BLUE},
    "DASHBOARD_CALLBACK": "config_merge.admin.dashboard.dashboard",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "controller.sidebar.navigation",
    },
}
