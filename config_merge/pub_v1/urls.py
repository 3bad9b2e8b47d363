"""Routes of the cloud dialect. Nouns come in the singular and the plural, paths with and without a slash at the end;
all are the same, none redirects, and the API document names one of each.
"""

from itertools import product
from typing import Any

from django.urls import URLPattern, path, re_path

from config_merge.pub_v1 import views

_ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("site", "", views.SitesView),
    ("site", "/{id}", views.SiteView),
    ("site", "/{id}/devices", views.SiteDevicesView),
    ("site", "/{id}/config-changes", views.SiteSettingsView),
    ("device", "", views.DevicesView),
    ("device", "/{id}", views.DeviceView),
    ("device", "/{id}/config", views.DeviceConfigView),
    ("device", "/{id}/tasks", views.DeviceTasksView),
    ("device", "/{id}/config-changes", views.DeviceSettingsView),
)
# What the source document prints, where it prints one.
_PLURAL = {("site", ""), ("device", ""), ("device", "/{id}/config")}


def _patterns() -> list[URLPattern]:
    found = []
    for noun, rest, view in _ROUTES:
        told = "s" if (noun, rest) in _PLURAL else ""
        for plural, slash in product(("", "s"), ("", "/")):
            is_told = plural == told and not slash
            route = f"{noun}{plural}{rest.replace('{id}', '<str:number>')}{slash}"
            name = f"pub_{noun}{rest.replace('/{id}', '_one').replace('/', '_').replace('-', '_')}"
            options = {} if is_told else {"schema": None}
            found.append(
                path(route, view.as_view(**options), name=name if is_told else f"{name}{plural}{slash}")
            )
    return found


urlpatterns = [*_patterns(), re_path(r"", views.not_found)]
