"""A device's place in a site over REST: joining, moving, leaving, how it is managed, and its own settings."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api import site_serializers as serializers
from config_merge.api.previews import Previews, PreviewSerializer
from config_merge.api.sites import CONFLICT, Moved, entries_shown, explanation, version_of
from config_merge.models import SiteDevice
from config_merge.services import places, site_previews
from config_merge.settings_shown import merged_of, settings_sent
from devices.models import Device
from devices.queries import devices_visible_to
from tenancy.api import base
from tenancy.api.problems import worded_for

SUSPENDED = "The device is suspended: its settings cannot be changed."
KEYS = [
    OpenApiParameter(
        "key", str, many=True, description="A setting; an entity goes whole. All when none is named."
    ),
    OpenApiParameter("version", str, description="Refuse with 409 when the settings are of another version."),
]


class _Place(base.TenantView):
    """The place of a device in the path; a device in no site is not found."""

    model = SiteDevice
    serializer_class: Any = serializers.PlaceSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)

    def place(self) -> SiteDevice:
        """Return the device's place with its site. Raises NotFound."""
        return places.place_of(self.get_object())


class DeviceSiteView(_Place):
    """Which site a device is in."""

    @base.operation("controller_device_site", {200: serializers.PlaceSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show the device's place; a device in no site has none (404)."""
        return Response(self.get_serializer(self.place()).data)

    @base.operation("controller_device_site_join", {200: serializers.PlaceSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Put a device into a `site`, or move it; its own settings stay. It is managed as before unless said."""
        return self._change(request, partial=False)

    @base.operation("controller_device_site_update", {200: serializers.PlaceSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change how a device is managed: `managed_by`, `inherits`, suspended, blocked, decommissioned, the site."""
        return self._change(request, partial=True)

    @base.operation("controller_device_site_leave", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Take a device out of its site; its own settings go, and templates make its configuration."""
        places.device_leave(self.get_object(), actor_id=request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        device = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data, partial=partial))
        with worded_for(SiteDevice):
            place = places.placement_change(device, actor_id=request.user.pk, **sent)
        return Response(self.get_serializer(place).data)


class DeviceSiteSettingsView(_Place):
    """A device's own settings."""

    serializer_class = serializers.PlaceSettingsSerializer

    @base.operation(
        "controller_device_site_settings", {200: serializers.PlaceSettingsSerializer, **base.READ_ONE}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show a device's own settings and its site's, and the version that a change must name."""
        return Response(self.body(self.place()))

    @base.operation(
        "controller_device_site_settings_change",
        {200: serializers.PlaceSettingsSerializer, **base.WRITE_ONE, **CONFLICT},
        request=serializers.SettingsChangeSerializer,
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change a device's own settings, all or nothing; 409 when they are not those of `version` any more."""
        place = self.place()
        sent = self.valid(serializers.SettingsChangeSerializer(data=request.data))
        with worded_for(SiteDevice):
            changes = settings_sent(sent["changes"], own=place.settings, inherited=place.site.settings)
        return self._changed(place, changes, version=sent["version"])

    @base.operation(
        "controller_device_site_settings_revert",
        {200: serializers.PlaceSettingsSerializer, 400: base.INVALID, **base.READ_ONE, **CONFLICT},
        parameters=KEYS,
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Take back what a device sets by itself, key by key or all of it, so that its site is heard again."""
        place = self.place()
        with worded_for(SiteDevice):
            changes = places.reverting(place, request.query_params.getlist("key"))
        return self._changed(
            place, changes, version=request.query_params.get("version") or str(place.version)
        )

    def _changed(self, place: SiteDevice, changes: Any, *, version: str) -> Response:
        with worded_for(SiteDevice):
            outcome = places.place_settings_change(
                place, changes, version=version_of(version), actor_id=self.request.user.pk
            )
        if outcome.is_suspended:
            raise Moved(SUSPENDED)
        if outcome.is_stale:
            raise Moved
        return Response(self.body(places.place_of(place.device)))

    def body(self, place: SiteDevice) -> dict[str, Any]:
        """Return both levels' settings as the caller may see them."""
        return {
            "version": str(place.version),
            "settings": entries_shown(self, place.device, place.settings),
            "site": entries_shown(self, place.device, place.site.settings if place.inherits else {}),
        }


class DeviceSiteEffectiveView(_Place):
    """What a device's settings come to, whatever manages it now."""

    serializer_class = serializers.SettledSettingsSerializer

    @base.operation(
        "controller_device_site_effective", {200: serializers.SettledSettingsSerializer, **base.READ_ONE}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show each merged setting with its source, what it shadows, warnings and the UCI text."""
        place = self.place()
        return Response(explanation(self, place.device, merged_of(place)))


class DeviceSitePreviewView(Previews):
    """What a change of a device's place or of its own settings would do."""

    model = SiteDevice
    serializer_class = serializers.PlacementProposalSerializer

    def get_queryset(self) -> QuerySet[Device]:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)

    @base.operation("controller_device_site_preview", {200: PreviewSerializer, **base.WRITE_ONE})
    def post(self, request: Request, pk: str) -> Response:
        """Tell what joining, moving, leaving, other management or other settings would do to the device's files."""
        device = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        leave = "site" in sent and sent["site"] is None
        with worded_for(SiteDevice):
            if "changes" in sent:
                place = places.checked_place(
                    places.proposed_place(device, site=sent.get("site"), leave=leave)
                )
                sent["changes"] = settings_sent(
                    sent["changes"], own=place.settings, inherited=place.site.settings
                )
            found = site_previews.placement_preview(device, leave=leave, **sent)
        return self.told(found, of=device, organization_id=device.organization_id)
