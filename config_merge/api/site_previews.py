"""What a change of a site or of its settings would do to its devices, over REST."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.previews import ANSWERS, Previews
from config_merge.api.site_serializers import SettingsProposalSerializer, SiteUpdateSerializer
from config_merge.models import Site
from config_merge.queries import sites_visible_to
from config_merge.services import site_previews
from config_merge.settings_shown import settings_sent
from tenancy.api import base
from tenancy.api.problems import worded_for


class _SitePreviews(Previews):
    """Previews of what begins at a site."""

    model = Site

    def get_queryset(self) -> QuerySet[Site]:
        """Return the sites the caller may see."""
        return sites_visible_to(self.request.user)

    def _told(self, site: Site, *, kind: str, changes: dict[str, Any], ask: Any, given: Any) -> Response:
        with worded_for(Site):
            return self.answered(
                lambda limit: ask(site, given, limit=limit),
                of=site,
                organization_id=site.organization_id,
                kind=kind,
                changes=changes,
            )


class SitePreviewView(_SitePreviews):
    """What other defaults or variables of a site would do."""

    serializer_class = SiteUpdateSerializer

    @base.operation("controller_site_preview", ANSWERS, request=SiteUpdateSerializer(partial=True))
    def post(self, request: Request, pk: str) -> Response:
        """Tell what a change of the site's defaults and variables would do to its devices."""
        site = self.get_object()
        sent = self.valid(self.get_serializer(site, data=request.data, partial=True))
        return self._told(site, kind="site", changes=sent, ask=site_previews.site_preview, given=sent)


class SiteSettingsPreviewView(_SitePreviews):
    """What a change of a site's settings would do."""

    serializer_class = SettingsProposalSerializer

    @base.operation("controller_site_settings_preview", ANSWERS, request=SettingsProposalSerializer)
    def post(self, request: Request, pk: str) -> Response:
        """Tell what a change of the site's settings would do to the devices it reaches."""
        site = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Site):
            changes = settings_sent(sent["changes"], own=site.settings)
        return self._told(
            site,
            kind="site_settings",
            changes={"changes": changes},
            ask=site_previews.site_settings_preview,
            given=changes,
        )
