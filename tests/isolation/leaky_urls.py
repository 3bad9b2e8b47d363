"""The root's routes and a few that break the wall, each in its own way: what the walker must catch."""

from typing import Any

from rest_framework import generics, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from controller.urls import urlpatterns as root
from core.routes import route
from devices.models import Device, DeviceGroup
from tenancy.api.base import TenantView
from tenancy.queries import restrict


class _Serializer(serializers.ModelSerializer[Device]):
    class Meta:
        model = Device
        fields = ("id", "notes", "group")


class UnscopedView(TenantView):
    """Finds the devices of everyone."""

    model = Device
    queryset = Device.objects.all()
    serializer_class = _Serializer

    def get(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def patch(self, request: Request, pk: str) -> Response:
        Device.objects.filter(pk=pk).update(notes="taken over")
        return Response(self.get_serializer(self.get_object()).data)


class UnscopedListView(TenantView, generics.ListAPIView):
    """Lists the devices of everyone."""

    model = Device
    queryset = Device.objects.all()
    serializer_class = _Serializer


class TellingView(UnscopedView):
    """Says 403 instead of 404, and so tells that the object is there."""

    def get(self, request: Request, pk: str) -> Response:
        device = self.get_object()
        if not restrict(Device.objects.filter(pk=pk), request.user).exists():
            raise PermissionDenied
        return Response(self.get_serializer(device).data)


class RolelessView(UnscopedView):
    """Scopes, but asks for no role."""

    permission_classes = (IsAuthenticated,)

    def get_queryset(self) -> Any:
        return restrict(Device.objects.all(), self.request.user)


class TrustingView(RolelessView):
    """Takes any group by its id."""

    def patch(self, request: Request, pk: str) -> Response:
        group = DeviceGroup.objects.filter(pk=request.data.get("group") or None).first()
        return Response({"group": group and group.name})


urlpatterns = [
    *root,
    route("leak/unscoped/<pk>/", UnscopedView.as_view(), name="leak_unscoped"),
    route("leak/list/", UnscopedListView.as_view(), name="leak_list"),
    route("leak/telling/<pk>/", TellingView.as_view(), name="leak_telling"),
    route("leak/roleless/<pk>/", RolelessView.as_view(), name="leak_roleless"),
    route("leak/trusting/<pk>/", TrustingView.as_view(), name="leak_trusting"),
]
