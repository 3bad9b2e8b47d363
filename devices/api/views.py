"""An organization's fleet settings over REST."""

from typing import Any

from django.db.models import Count, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from core.redaction import mark_of
from devices import organizations, services
from devices.api.serializers import FleetSerializer, RotatedSerializer
from devices.models import FleetSettings
from devices.queries import fleet_settings_visible_to
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.queries import may_reveal


class _Fleets(base.TenantView):
    """The fleet settings of the caller's organizations."""

    model: Any = FleetSettings
    serializer_class: Any = FleetSerializer

    def get_queryset(self) -> QuerySet[FleetSettings]:
        """Return settings with the number of devices."""
        return fleet_settings_visible_to(self.request.user).annotate(
            device_count=Count("organization__devices")
        )

    def answer(self, fleet: FleetSettings) -> Response:
        """Print settings; a secret that is shown is written down."""
        shown: Any = self.get_serializer(fleet)
        if shown.reveals(fleet):
            organizations.secret_revealed(fleet)
        return Response(shown.data, headers={"Cache-Control": "no-store"})


class FleetView(_Fleets):
    """An organization's fleet settings."""

    @base.operation("controller_fleet_settings_read", {200: FleetSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show limits, variables and the shared secret; secrets are marks for who may not reveal them."""
        return self.answer(self.get_object())

    @base.operation("controller_fleet_settings_partial_update", {200: FleetSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change some settings; marks that come back stand for the secrets they replaced."""
        fleet = self.get_object()
        sent = self.valid(self.get_serializer(fleet, data=request.data, partial=True))
        with worded_for(FleetSettings):
            services.fleet_settings_update(fleet, **sent)
        return self.answer(fleet)


class RotateView(_Fleets):
    """The shared secret of an organization."""

    model: Any = "devices.fleetsecret"

    @base.operation(
        "controller_fleet_rotate_secret", {200: RotatedSerializer, **base.WRITE_ONE}, request=None
    )
    def post(self, request: Request, pk: str) -> Response:
        """Replace the shared secret by a random one; who may reveal is shown it. Devices keep working."""
        with worded_for(FleetSettings):
            fleet = self.get_object()
            secret = organizations.secret_rotate(fleet)
        if may_reveal(request.user, fleet.pk):
            organizations.secret_revealed(fleet)
        else:
            secret = mark_of(secret)
        return Response({"shared_secret": secret}, headers={"Cache-Control": "no-store"})
