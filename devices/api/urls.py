"""Routes of this room, below `/api/v1/controller/`."""

from core.routes import route
from devices.api import views

urlpatterns = [
    route("organization/<pk>/settings/", views.FleetView.as_view(), name="fleet_settings"),
    route(
        "organization/<pk>/settings/rotate-secret/", views.RotateView.as_view(), name="fleet_rotate_secret"
    ),
]
