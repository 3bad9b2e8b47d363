"""The views of the cloud dialect: they read what was sent, call a service, and print."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.delivery.drift import is_differing
from config_merge.models import ConfigTask, Site, SiteDevice
from config_merge.pub_v1 import answers, documented
from config_merge.pub_v1.door import CloudView
from config_merge.pub_v1.sent import members
from config_merge.services import places, sites
from config_merge.settings_shown import hidden_entries, merged_of, settings_sent
from config_merge.starting import STARTING
from core.errors import NotFound
from devices.queries import with_presence
from tenancy.disclosure import disclosure_of


class Room(CloudView):
    """A view of what is in the key's organization."""

    def sites(self) -> QuerySet[Site]:
        """Return the sites of the key's organization."""
        return Site.objects.filter(organization_id=self.key.organization_id)

    def places(self) -> QuerySet[SiteDevice]:
        """Return its devices, with what printing them needs."""
        rows = SiteDevice.objects.filter(
            site__organization_id=self.key.organization_id,
            device__organization_id=self.key.organization_id,
        ).select_related("site", "device__config", "device__organization")
        return with_presence(rows, path="device__")

    def site(self, number: str) -> Site:
        """Return one site. Raises NotFound."""
        return self._found(self.sites(), number)

    def place(self, number: str) -> SiteDevice:
        """Return one device. Raises NotFound."""
        return self._found(self.places(), number)

    def _found(self, rows: QuerySet[Any], number: str) -> Any:
        # What has more digits is no 64-bit number, and not every database would say so politely.
        fits = number.isascii() and number.isdigit() and len(number) <= 18
        row = rows.filter(number=int(number)).first() if fits else None
        if row is None:
            raise NotFound
        return row

    def page(self, rows: QuerySet[Any], *, usual: int | None = None) -> QuerySet[Any]:
        """Return the part of a list that was asked for; `usual` rows without a limit. Raises ValidationError."""
        limit, offset = (self._count_of(name) for name in ("limit", "offset"))
        limit = usual if limit is None else limit
        start = offset or 0
        return rows[start : start + min(limit, documented.MOST)] if limit is not None else rows[start:]

    def _count_of(self, name: str) -> int | None:
        text = self.request.query_params.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise ValidationError(f"{name} must be a whole number that is not negative.")
        return int(text)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Write down which secrets the answer shows before it leaves."""
        if response.status_code < 400 and getattr(request, "auth", None) is not None:
            disclosure_of(request).write()
        return super().finalize_response(request, response, *args, **kwargs)


class SitesView(Room):
    """Sites."""

    @documented.operation("cloud_sites", documented.list_of(documented.SITE), parameters=documented.PAGE)
    def get(self, request: Request) -> Response:
        """List the sites of the key's cloud, by name."""
        return Response([answers.site_body(site) for site in self.page(self.sites().order_by("name", "id"))])


class SiteView(Room):
    """One site."""

    @documented.operation("cloud_site", documented.SITE)
    def get(self, request: Request, number: str) -> Response:
        """Return a site."""
        return Response(answers.site_body(self.site(number)))

    @documented.operation("cloud_site_update", documented.SITE, sent=documented.SITE_UPDATE)
    def put(self, request: Request, number: str) -> Response:
        """Rename a site. Members that say what is so already are accepted."""
        site = self.site(number)
        sent = members(request.data, like=answers.site_body(site), writable={"name": str})
        sites.site_update(site, actor_id=request.user.pk, **sent)
        return Response(answers.site_body(site))


class SiteDevicesView(Room):
    """The devices of a site."""

    kind = "config_merge.sitedevice"
    actions = {"POST": "add"}

    @documented.operation(
        "cloud_site_devices", documented.list_of(documented.DEVICE), parameters=documented.PAGE
    )
    def get(self, request: Request, number: str) -> Response:
        """List the devices of a site, by id."""
        rows = self.places().filter(site=self.site(number)).order_by("number")
        return Response([answers.device_body(place) for place in self.page(rows)])

    @documented.operation("cloud_device_add", documented.DEVICE, code=201, sent=documented.NEW_DEVICE)
    def post(self, request: Request, number: str) -> Response:
        """Register a device by serial number and MAC address: `{"sn", "mac", "name", "inherit"}`."""
        site = self.site(number)
        kinds = {"sn": str, "mac": str, "name": str, "inherit": bool}
        sent = members(request.data, like={}, writable=kinds, required=("sn", "mac"))
        place = places.place_create(
            site,
            serial=sent["sn"],
            mac_address=sent["mac"],
            name=sent.get("name", ""),
            inherits=sent.get("inherit", True),
            actor_id=request.user.pk,
        )
        return Response(answers.device_body(self.place(str(place.number))), status=status.HTTP_201_CREATED)


class DevicesView(Room):
    """Devices."""

    kind = "config_merge.sitedevice"

    @documented.operation(
        "cloud_devices",
        documented.list_of(documented.DEVICE),
        parameters=[OpenApiParameter("site_id", str), *documented.PAGE],
    )
    def get(self, request: Request) -> Response:
        """List the devices of the key's cloud, by id; `site_id` keeps those of one site."""
        rows = self.places().order_by("number")
        asked = request.query_params.get("site_id")
        if asked is not None:
            rows = rows.filter(site=self.site(asked))
        return Response([answers.device_body(place) for place in self.page(rows)])


class DeviceView(Room):
    """One device."""

    kind = "config_merge.sitedevice"

    @documented.operation("cloud_device", documented.DEVICE)
    def get(self, request: Request, number: str) -> Response:
        """Return a device."""
        return Response(answers.device_body(self.place(number)))

    @documented.operation("cloud_device_update", documented.DEVICE, sent=documented.DEVICE_UPDATE)
    def put(self, request: Request, number: str) -> Response:
        """Change `name`, `suspend_config`, `blocked` or `decomm`; what else is sent must be so already."""
        place = self.place(number)
        kinds = {"name": str, "suspend_config": bool, "blocked": bool, "decomm": bool}
        sent = members(request.data, like=answers.device_body(place), writable=kinds)
        named = {"suspend_config": "is_suspended", "blocked": "is_blocked", "decomm": "is_retired"}
        changes = {named.get(name, name): value for name, value in sent.items()}
        places.place_update(place, actor_id=request.user.pk, **changes)
        return Response(answers.device_body(self.place(number)))


class DeviceConfigView(Room):
    """What a device is to be."""

    kind = "config_merge.sitedevice"

    @documented.operation("cloud_device_config", documented.SETTINGS)
    def get(self, request: Request, number: str) -> Response:
        """Return the merged settings of a device: `{key: {"value", "origin"}}`."""
        place = self.place(number)
        return Response(self.shown(place, answers.in_force(place, merged_of(place))))

    def shown(self, place: SiteDevice, entries: Any) -> dict[str, Any]:
        """Return settings as the key's user may see them."""
        return shown(self, place.device, entries)


class DeviceTasksView(Room):
    """What was sent to a device."""

    kind = "config_merge.sitedevice"

    @documented.operation(
        "cloud_device_tasks", documented.list_of(documented.TASK), parameters=documented.PAGE
    )
    def get(self, request: Request, number: str) -> Response:
        """List the configuration tasks of a device, newest first; a hundred when no `limit` is said."""
        place = self.place(number)
        rows = ConfigTask.objects.filter(device_id=place.device_id).select_related("revision")
        rows = rows.only(*answers.TASK_COLUMNS, "revision__sha256").order_by("-created", "id")
        return Response([answers.task_body(task, place) for task in self.page(rows, usual=100)])


def shown(view: Room, target: Any, entries: Any) -> dict[str, Any]:
    """Return settings as the key's user may see them, and remember that secrets were shown."""
    disclosure, organization_id = disclosure_of(view.request), view.key.organization_id
    hidden = hidden_entries(entries)
    if not disclosure.may(organization_id):
        return hidden
    if hidden != entries:
        disclosure.note(target, organization_id=organization_id)
    return dict(entries)


class SettingsView(Room):
    """What both levels' settings have in common."""

    @staticmethod
    def sent(request: Request) -> tuple[Any, UUID | None]:
        """Return the changes and the version they were made from; None for one that never was. Raises."""
        body = members(
            request.data,
            like={},
            writable={"timestamp": str, "changes": dict},
            required=("timestamp", "changes"),
        )
        try:
            return body["changes"], UUID(body["timestamp"])
        except ValueError:
            return body["changes"], UUID(int=0)


class SiteSettingsView(SettingsView):
    """The settings of a site."""

    @documented.operation("cloud_site_settings", documented.CHANGES)
    def get(self, request: Request, number: str) -> Response:
        """Return a site's settings, and the timestamp that a change of them must name."""
        return Response(self.body(self.site(number)))

    @documented.operation("cloud_site_settings_change", documented.CHANGES, sent=documented.CHANGE)
    def post(self, request: Request, number: str) -> Response:
        """Change settings: `{"timestamp", "changes": {key: {"value", "origin"} or null}}`, all or nothing."""
        site = self.site(number)
        changes, version = self.sent(request)
        changes = settings_sent(changes, own=site.settings)
        outcome = sites.site_settings_change(site, changes, version=version, actor_id=request.user.pk)
        return Response(self.body(site, is_stale=outcome.is_stale))

    def body(self, site: Site, *, is_stale: bool = False) -> dict[str, Any]:
        """Return everything about a site's settings."""
        initial = {} if site.is_initialised else {"initial": STARTING}
        return {
            "unfinishedTaskCount": answers.unfinished(Q(device__place__site=site)),
            "configSuspended": False,
            "configResync": answers.resync(site),
            "timestamp": str(site.version),
            "serverSideChanged": is_stale,
            "site": shown(self, site, dict(sorted(site.settings.items()))),
            "device": {},
            "defaults": defaults_shown(self, site),
            **initial,
        }


def defaults_shown(view: Room, site: Site) -> Any:
    """Return a site's defaults as the key's user may see them."""
    return disclosure_of(view.request).tree(site.defaults, of=site, organization_id=site.organization_id)


class DeviceSettingsView(SettingsView):
    """The settings of a device."""

    kind = "config_merge.sitedevice"

    @documented.operation("cloud_device_settings", documented.CHANGES)
    def get(self, request: Request, number: str) -> Response:
        """Return a device's settings beside its site's, and the timestamp that a change of them must name."""
        return Response(self.body(self.place(number)))

    @documented.operation("cloud_device_settings_change", documented.CHANGES, sent=documented.CHANGE)
    def post(self, request: Request, number: str) -> Response:
        """Change settings: `{"timestamp", "changes": {key: {"value", "origin"} or null}}`, all or nothing."""
        place = self.place(number)
        changes, version = self.sent(request)
        changes = settings_sent(changes, own=place.settings, inherited=place.site.settings)
        outcome = places.place_settings_change(place, changes, version=version, actor_id=request.user.pk)
        return Response(self.body(self.place(number), is_stale=outcome.is_stale))

    def body(self, place: SiteDevice, *, is_stale: bool = False) -> dict[str, Any]:
        """Return everything about a device's settings."""
        merged = merged_of(place)
        return {
            "unfinishedTaskCount": answers.unfinished(Q(device_id=place.device_id)),
            "configSuspended": place.is_suspended,
            "configResync": is_differing(place.device),
            "timestamp": str(place.version),
            "serverSideChanged": is_stale,
            "site": shown(
                self, place.device, dict(sorted(place.site.settings.items())) if place.inherits else {}
            ),
            "device": shown(self, place.device, answers.device_map(place, merged)),
            "defaults": defaults_shown(self, place.site),
        }


def not_found(request: Any) -> HttpResponse:
    """Answer what is no route of the dialect, in its own words."""
    return HttpResponse("Not found.", status=404, content_type="text/plain; charset=utf-8")
