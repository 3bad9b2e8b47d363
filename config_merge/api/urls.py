"""Routes of this room, below `/api/v1/controller/`."""

from config_merge.api import devices, views
from core.routes import route

urlpatterns = [
    route("device/", devices.DeviceListView.as_view(), name="device_list"),
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
    route("group/", views.GroupListView.as_view(), name="group_list"),
    route("group/<pk>/", views.GroupDetailView.as_view(), name="group_detail"),
]
