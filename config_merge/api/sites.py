"""Sites over REST: what they are called, what they are set to, what that would do and does, and who does not follow."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api import site_serializers as serializers
from config_merge.models import Site, SiteDevice
from config_merge.queries import overrides_of, places_at, sites_visible_to
from config_merge.services import sites
from config_merge.settings_shown import explained, hidden_entries, merged_of_site, settings_sent
from config_merge.starting import STARTING
from tenancy.api import base
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of

CONFLICT = {409: base.said("The settings were changed by somebody else, or cannot be changed now.")}


class Moved(exceptions.APIException):
    """The settings are not those the change was made from."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "The settings were changed meanwhile: read them again."


class SiteFilter(TenantFilter):
    """What people look for among sites."""

    name = filters.CharFilter(lookup_expr="icontains")


def version_of(text: str) -> UUID:
    """Return a version that was sent; what is none never was one."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def entries_shown(view: Any, of: Any, entries: Any) -> dict[str, Any]:
    """Return settings as the caller may see them, and remember that secrets were shown."""
    disclosure = disclosure_of(view.request)
    hidden = hidden_entries(entries)
    if not disclosure.may(of.organization_id):
        return hidden
    if hidden != entries:
        disclosure.note(of, organization_id=of.organization_id)
    return dict(sorted(entries.items()))


def explanation(view: Any, of: Any, merged: Any) -> dict[str, Any]:
    """Return what settings come to as the caller may see it, and remember that secrets were shown."""
    disclosure = disclosure_of(view.request)
    hidden = explained(merged, reveal=False)
    if not disclosure.may(of.organization_id):
        return hidden
    told = explained(merged, reveal=True)
    if told != hidden:
        disclosure.note(of, organization_id=of.organization_id)
    return told


class Sites(base.TenantView):
    """The caller's sites."""

    model = Site
    serializer_class: Any = serializers.SiteSerializer

    def get_queryset(self) -> QuerySet[Site]:
        """Return them newest first."""
        return sites_visible_to(self.request.user)

    def answer(self, site: Site, *, code: int = status.HTTP_200_OK) -> Response:
        """Print a site as the database has it now."""
        fresh = self.get_queryset().get(pk=site.pk)
        return Response(self.get_serializer(fresh).data, status=code)


class SiteListView(Sites, mixins.ListModelMixin):
    """Sites."""

    filterset_class: Any = SiteFilter
    search_fields: ClassVar = ("name",)
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("name", "created", "modified")}

    @base.operation("controller_site_list", {200: serializers.SiteSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List sites, newest first unless ordered otherwise."""
        return self.list(request)

    @base.operation("controller_site_create", {201: serializers.SiteSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create a site; without `defaults` it has the usual forms for new entities."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Site):
            site = sites.site_create(**sent)
        return self.answer(site, code=status.HTTP_201_CREATED)


class SiteDetailView(Sites):
    """One site."""

    serializer_class = serializers.SiteUpdateSerializer

    @base.operation("controller_site_read", {200: serializers.SiteSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one site."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("controller_site_partial_update", {200: serializers.SiteSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change name, defaults or variables of a site; its devices are computed anew in the background."""
        site = self.get_object()
        sent = self.valid(self.get_serializer(site, data=request.data, partial=True))
        with worded_for(Site):
            sites.site_update(site, actor_id=request.user.pk, **sent)
        return self.answer(site)

    @base.operation("controller_site_delete", {204: None, 400: base.INVALID, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a site without devices."""
        sites.site_delete(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class SiteSettingsView(Sites):
    """What a site is set to."""

    serializer_class = serializers.SiteSettingsSerializer

    @base.operation("controller_site_settings", {200: serializers.SiteSettingsSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show a site's settings, and the version that a change of them must name."""
        return Response(self.body(self.get_object()))

    @base.operation(
        "controller_site_settings_change",
        {200: serializers.SiteSettingsSerializer, **base.WRITE_ONE, **CONFLICT},
        request=serializers.SettingsChangeSerializer,
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change settings, all or nothing; 409 when they are not those of `version` any more."""
        site = self.get_object()
        sent = self.valid(serializers.SettingsChangeSerializer(data=request.data))
        with worded_for(Site):
            changes = settings_sent(sent["changes"], own=site.settings)
            outcome = sites.site_settings_change(
                site, changes, version=version_of(sent["version"]), actor_id=request.user.pk
            )
        if outcome.is_stale:
            raise Moved
        return Response(self.body(site))

    def body(self, site: Site) -> dict[str, Any]:
        """Return a site's settings as the caller may see them."""
        initial = {} if site.is_initialised else {"initial": STARTING}
        return {
            "version": str(site.version),
            "settings": entries_shown(self, site, site.settings),
            **initial,
        }


class SiteEffectiveView(Sites):
    """What a site's settings come to."""

    serializer_class = serializers.SettledSettingsSerializer

    @base.operation(
        "controller_site_effective", {200: serializers.SettledSettingsSerializer, **base.READ_ONE}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show what a device of the site without settings of its own gets."""
        site = self.get_object()
        return Response(explanation(self, site, merged_of_site(site)))


class SiteOverridesView(Sites):
    """Who does not follow a site."""

    serializer_class = serializers.OverridesSerializer
    pagination_class = None

    @base.operation(
        "controller_site_overrides",
        {200: serializers.OverridesSerializer, **base.READ_ONE},
        parameters=[OpenApiParameter("key", str, description="Only those that override this setting.")],
    )
    def get(self, request: Request, pk: str) -> Response:
        """List the devices that override settings of the site, and which; at most 5,000 are looked at."""
        found = overrides_of(self.get_object(), request.query_params.get("key"))
        return Response(self.get_serializer(found).data)


class SiteDevicesView(base.TenantView, mixins.ListModelMixin):
    """The devices of a site."""

    model = Site
    queryset = SiteDevice.objects.none()
    serializer_class = serializers.PlaceSerializer
    search_fields: ClassVar = ("device__name", "serial")
    ordering_fields: ClassVar[dict[str, str]] = {
        "name": "device__name",
        "serial": "serial",
        "created": "created",
    }

    def get_queryset(self) -> QuerySet[SiteDevice]:
        """Return the devices of the site in the path, by name. Raises Http404."""
        site = sites_visible_to(self.request.user).filter(pk=self.kwargs["pk"]).first()
        if site is None:
            raise exceptions.NotFound("No Site matches the given query.")
        self.check_object_permissions(self.request, site)
        return places_at(site)

    @base.operation("controller_site_devices", {200: serializers.PlaceSerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List the devices of a site, by name unless ordered otherwise."""
        return self.list(request)
