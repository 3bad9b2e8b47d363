"""Routes of the editors' helpers, below `/admin/config/device/`; `<pk>` may be any text, a bad one is unknown."""

from django.urls import path

from config_merge.admin import helpers

urlpatterns = [
    path("preview/", helpers.preview_view, name="config_preview"),
    path("download/<str:pk>/", helpers.download_view, name="config_download"),
    path("<str:pk>/context.json", helpers.context_view, name="config_context"),
    path(
        "get-relevant-templates/<str:organization_id>/",
        helpers.relevant_templates_view,
        name="config_relevant_templates",
    ),
    path("get-template-default-values/", helpers.default_values_view, name="config_default_values"),
]
