"""Routes of the cloud dialect. Nouns come in the singular and the plural wherever they stand, paths with and without a
slash at the end; all are the same, none redirects, and the API document names one of each.
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
_COUNTED = ("/devices", "/tasks", "/config-changes")


def _patterns() -> list[URLPattern]:
    found = []
    for noun, rest, view in _ROUTES:
        told = "s" if (noun, rest) in _PLURAL else ""
        rests = (rest, rest.removesuffix("s")) if rest.endswith(_COUNTED) else (rest,)
        for plural, slash, form in product(("", "s"), ("", "/"), rests):
            is_told = plural == told and not slash and form == rest
            route = f"{noun}{plural}{form.replace('{id}', '<str:number>')}{slash}"
            name = f"pub_{noun}{form.replace('/{id}', '_one').replace('/', '_').replace('-', '_')}"
            options = {} if is_told else {"schema": None}
            found.append(
                path(route, view.as_view(**options), name=name if is_told else f"{name}{plural}{slash}")
            )
    return found


urlpatterns = [*_patterns(), re_path(r"", views.not_found)]
