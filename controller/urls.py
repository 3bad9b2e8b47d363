"""Which route belongs to which floor. Each app brings its own routes; the roof only says where they hang."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import (
    SpectacularJSONAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
    SpectacularYAMLAPIView,
)

from boot.images import serving
from config_merge.admin import helpers
from controller import errors, health, metrics

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/"), name="home"),
    path("favicon.ico", RedirectView.as_view(url="/static/controller/favicon.svg"), name="favicon"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.view, name="metrics"),
    path("admin/password/", include("tenancy.password_pages")),
    path("config/schema.json", helpers.schema_view, name="config_schema"),
    path("admin/config/device/", include("config_merge.admin.helper_urls")),
    path("admin/", admin.site.urls),
    path("api/v1/users/", include("tenancy.api.urls")),
    path("api/v1/controller/", include("config_merge.api.urls")),
    path("api/v1/controller/", include("devices.api.urls")),
    path("api/v1/boot/", include("boot.api.urls")),
    path("api/v1/docs.json", SpectacularJSONAPIView.as_view(), name="schema"),
    path("api/v1/docs.yaml", SpectacularYAMLAPIView.as_view(), name="schema-yaml"),
    path("api/v1/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/redoc/", SpectacularRedocView.as_view(url_name="schema"), name="redoc"),
    re_path(
        r"^image-files/(?P<identifier>[0-9a-f]{32})/(?P<name>[^/]+)\Z", serving.signed_file, name="image_file"
    ),
    path("pub/v1/", include("config_merge.pub_v1.urls")),
    path("controller/", include("config_merge.agent.urls")),
    path("", include("boot.urls")),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
