"""Routes of this room, below `/api/v1/controller/`."""

from config_merge.api import devices, exchange, jobs, previews, revisions, views
from core.routes import route

urlpatterns = [
    route("device/", devices.DeviceListView.as_view(), name="device_list"),
    route("device/export/", exchange.DeviceExportView.as_view(), name="device_export"),
    route("device/import/", exchange.DeviceImportView.as_view(), name="device_import"),
    route("device/deleted/", exchange.DeletedDeviceListView.as_view(), name="device_deleted_list"),
    route(
        "device/deleted/<pk>/restore/",
        exchange.DeletedDeviceRestoreView.as_view(),
        name="device_deleted_restore",
    ),
    route("device/<pk>/", devices.DeviceDetailView.as_view(), name="device_detail"),
    route("device/<pk>/activate/", devices.DeviceActivateView.as_view(), name="device_activate"),
    route("device/<pk>/deactivate/", devices.DeviceDeactivateView.as_view(), name="device_deactivate"),
    route(
        "device/<pk>/configuration/", devices.DeviceConfigurationView.as_view(), name="device_configuration"
    ),
    route("device/<pk>/effective/", devices.DeviceEffectiveView.as_view(), name="device_effective"),
    route("device/<pk>/revisions/", devices.DeviceRevisionsView.as_view(), name="device_revisions"),
    route("template/", views.TemplateListView.as_view(), name="template_list"),
    route("template/<pk>/", views.TemplateDetailView.as_view(), name="template_detail"),
    route(
        "template/<pk>/configuration/",
        views.TemplateConfigurationView.as_view(),
        name="template_configuration",
    ),
    route("template/<pk>/clone/", exchange.TemplateCloneView.as_view(), name="template_clone"),
    route("group/", views.GroupListView.as_view(), name="group_list"),
    route("group/<pk>/", views.GroupDetailView.as_view(), name="group_detail"),
    route("device/<pk>/preview/", previews.DevicePreviewView.as_view(), name="device_preview"),
    route("device/<pk>/revisions/<int:n>/", revisions.RevisionView.as_view(), name="device_revision"),
    route(
        "device/<pk>/revisions/<int:n>/diff/<int:m>/",
        revisions.RevisionDiffView.as_view(),
        name="device_revision_diff",
    ),
    route(
        "device/<pk>/revisions/<int:n>/restore/",
        revisions.RevisionRestoreView.as_view(),
        name="device_revision_restore",
    ),
    route("template/preview/", previews.NewTemplatePreviewView.as_view(), name="template_new_preview"),
    route("template/<pk>/preview/", previews.TemplatePreviewView.as_view(), name="template_preview"),
    route("group/<pk>/preview/", previews.GroupPreviewView.as_view(), name="group_preview"),
    route(
        "organization/<pk>/variables/preview/",
        previews.VariablesPreviewView.as_view(),
        name="organization_variables_preview",
    ),
    route("batch/", jobs.JobListView.as_view(), name="batch_list"),
    route("batch/<pk>/", jobs.JobDetailView.as_view(), name="batch_detail"),
    route("batch/<pk>/results/", jobs.JobResultsView.as_view(), name="batch_results"),
    route("batch/<pk>/cancel/", jobs.JobCancelView.as_view(), name="batch_cancel"),
]
