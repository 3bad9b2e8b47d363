"""A device's place in a site: its own settings over the site's, and how it is managed.

Invariant: as on the other pages of a device, everything starts from `get_object`; each step is previewed by the very
functions that make it, and asked for before it is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path

from config_merge.admin.delivery_pages import DeliveryPages
from config_merge.admin.effect import shown_groups
from config_merge.admin.settings_pages import Sent, check_answer, effect_answer, sent_by, version_of
from config_merge.admin.settings_rows import moved_on, secrets_of_setting, setting_roots, shown_texts
from config_merge.engine import device_changed
from config_merge.models import Config, Managed, Site, SiteDevice
from config_merge.queries import sites_visible_to
from config_merge.services import job_previews, places, site_previews
from config_merge.services.preview import Preview
from config_merge.settings_shown import explained, merged_of, secrets_of
from core.errors import NotFound
from core.redaction import mark_of
from devices.models import Device
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_secrets import Secrets
from tenancy.disclosure import disclosure_of

SETTING = "setting:"
MOST_SITES = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """What can be done with a device's place: the keywords of the service, and the words of the question."""

    title: str
    text: str
    button: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    danger: bool = False
    # Which keywords the preview takes; without any there is no effect on the files.
    previewed: bool = False


STEPS: dict[str, Step] = {
    "by-site": Step(
        "Manage by the site's settings",
        "The device gets its site's settings and its own. Its templates and its configuration stay stored.",
        "Manage by the site",
        {"managed_by": Managed.SITE.value},
        previewed=True,
    ),
    "by-templates": Step(
        "Manage by templates",
        "The device gets its templates and its own configuration. Its settings stay stored.",
        "Manage by templates",
        {"managed_by": Managed.TEMPLATES.value},
        previewed=True,
    ),
    "inherit": Step(
        "Inherit the site's settings",
        "The site's settings reach the device again.",
        "Inherit",
        {"inherits": True},
        previewed=True,
    ),
    "stand-alone": Step(
        "Do not inherit the site's settings",
        "Only the device's own settings stay in force.",
        "Do not inherit",
        {"inherits": False},
        previewed=True,
        danger=True,
    ),
    "suspend": Step(
        "Suspend the device",
        "Nothing is pushed to the device, and its settings cannot be changed, until it is resumed.",
        "Suspend",
        {"is_suspended": True},
    ),
    "resume": Step(
        "Resume the device",
        "It is computed anew, and gets what changed meanwhile.",
        "Resume",
        {"is_suspended": False},
    ),
    "block": Step(
        "Block the device",
        "The device may not connect at all: its link is closed, its polls are refused.",
        "Block",
        {"is_blocked": True},
        danger=True,
    ),
    "unblock": Step("Unblock the device", "It may connect again.", "Unblock", {"is_blocked": False}),
    "decommission": Step(
        "Decommission the device",
        "It is kept for its history, without contact and read-only; its name, addresses and serial number are free for "
        "another.",
        "Decommission",
        {"is_retired": True},
        danger=True,
    ),
    "recommission": Step(
        "Take the device back into service",
        "It may connect again, if its name, addresses and serial number are still free.",
        "Take it back",
        {"is_retired": False},
    ),
    "join": Step(
        "Move to a site",
        "Its own settings stay, and are merged with the new site's.",
        "Move",
        previewed=True,
    ),
    "leave": Step(
        "Leave the site",
        "Its own settings go, and templates make its configuration again.",
        "Leave the site",
        danger=True,
        previewed=True,
    ),
}


def steps_open_to(place: SiteDevice, config: Config | None) -> list[str]:
    """Return what makes sense for a device in a site as it is now, in the order of the page."""
    if place.is_retired:
        return ["recommission"]
    by_site = config is not None and config.managed_by == Managed.SITE
    return [
        "by-templates" if by_site else "by-site",
        "stand-alone" if place.inherits else "inherit",
        "join",
        "resume" if place.is_suspended else "suspend",
        "unblock" if place.is_blocked else "block",
        "decommission",
        "leave",
    ]


class PlacePages(DeliveryPages):
    """Adds them to the device's admin."""

    def get_urls(self) -> list[URLPattern]:
        """Put ours before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("settings", "settings", self.settings_view),
            ("settings/effect", "settings_effect", self.settings_effect_view),
            ("settings/check", "settings_check", self.settings_check_view),
            ("place/<slug:step>", "place", self.place_view),
        )
        own = [
            path(f"<uuid:pk>/{route}/", self.admin_site.admin_view(view), name=f"devices_device_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def secrets_of_part(self, obj: Any, part: str) -> Secrets | None:
        """Return the secrets of one setting, or of all, by their marks."""
        if part == "settings" or part.startswith(SETTING):
            place = _place_of(obj)
            if place is None:
                return None
            merged = merged_of(place)
            if part == "settings":
                return {mark_of(secret): secret for secret in secrets_of(merged)}
            return secrets_of_setting(merged, part.removeprefix(SETTING))
        return super().secrets_of_part(obj, part)

    # --- settings -----------------------------------------------------------------------------------------------------

    def settings_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what the device gets and from where, and save changes of its own settings."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        place = _place_of(device)
        if request.method in ("GET", "HEAD") or (place is None and request.method == "POST"):
            return self._settings(request, device, place, None)
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "POST"])
        self.require(request, "change", device)
        assert place is not None  # noqa: S101 - answered above
        sent = self._sent(request, place)
        if sent.errors:
            return self._settings(request, device, place, sent)
        try:
            with refusals():
                outcome = places.place_settings_change(
                    place, sent.changes, version=version_of(sent.version), actor_id=request.user.pk
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return self._settings(request, device, place, sent)
        if outcome.is_suspended:
            messages.error(request, "Not saved: the device is suspended.")
        if outcome.is_stale or outcome.is_suspended:
            return self._settings(request, device, _place_of(device), sent, is_stale=outcome.is_stale)
        self.log_change(request, device, f"Changed {len(sent.changes)} settings.")
        messages.success(request, "The settings were saved.")
        return HttpResponseRedirect(self.link("settings", pk))

    def _settings(
        self,
        request: HttpRequest,
        device: Device,
        place: SiteDevice | None,
        sent: Sent | None,
        *,
        is_stale: bool = False,
    ) -> HttpResponse:
        context = self.head(request, device, tab="settings")
        context["place"] = place
        context["may_place"] = context["may_edit"] and not device.is_deactivated
        if place is None:
            context["sites"] = self._sites(request, device)
        else:
            context |= self._editor(context, device, place, sent, is_stale=is_stale)
            context["sites_to_join"] = self._sites(request, device, but=place.site_id)
        return self.page(
            request,
            "admin/config_merge/device_settings.html",
            original=device,
            title="Site settings",
            **context,
        )

    def _editor(
        self,
        head: Mapping[str, Any],
        device: Device,
        place: SiteDevice,
        sent: Sent | None,
        *,
        is_stale: bool,
    ) -> dict[str, Any]:
        merged = merged_of(place)
        texts = shown_texts(place.settings)
        is_fixed = place.is_retired or place.is_suspended or device.is_deactivated or device.is_retired
        may_edit = head["may_edit"] and not is_fixed
        forms = {name: form for name, form in place.site.defaults.items() if isinstance(form, dict)}
        return {
            "steps": [(name, STEPS[name]) for name in steps_open_to(place, head["device_config"])],
            "roots": setting_roots(merged, place.settings),
            "warnings": merged.warnings,
            "version": str(place.version),
            "base": texts,
            "pending": sent.text if sent is not None else "",
            "errors": sent.errors if sent is not None else {},
            "is_stale": is_stale,
            "moved": moved_on(sent.base, texts) if sent is not None and is_stale else [],
            "forms": sorted(forms),
            "entity_forms": forms,
            "starting": {},
            "level": "device",
            "uci": explained(merged, reveal=False)["uci"],
            "reveal_part": "settings" if secrets_of(merged) else "",
            "may_edit_settings": may_edit,
            "effect_link": self.link("settings_effect", device.pk) if may_edit else "",
            "check_link": self.link("settings_check", device.pk),
        }

    def _sites(self, request: HttpRequest, device: Device, *, but: UUID | None = None) -> QuerySet[Site]:
        """Return the sites a device may move to."""
        return (
            sites_visible_to(request.user)
            .select_related(None)
            .filter(organization_id=device.organization_id)
            .exclude(pk=but)
            .only("pk", "name")
            .order_by("name", "pk")[:MOST_SITES]
        )

    def _sent(self, request: HttpRequest, place: SiteDevice) -> Sent:
        inherited = place.site.settings if place.inherits else {}
        return sent_by(
            request,
            own=place.settings,
            inherited=place.site.settings,
            check=lambda changes: device_changed(place.settings, changes, site=inherited),
        )

    def _asked(self, request: HttpRequest, pk: UUID) -> tuple[Device, SiteDevice] | HttpResponse:
        device = self.found(request, pk)
        place = _place_of(device) if device is not None else None
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if place is None:
            return HttpResponseRedirect(self.link("settings", pk))
        return device, place

    def settings_check_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what is wrong with unsaved changes."""
        asked = self._asked(request, pk)
        return asked if isinstance(asked, HttpResponse) else check_answer(self._sent(request, asked[1]))

    def settings_effect_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what unsaved changes would do to the device's files."""
        asked = self._asked(request, pk)
        if isinstance(asked, HttpResponse):
            return asked
        device, place = asked
        return effect_answer(
            request,
            self._sent(request, place),
            of=device,
            organization_id=device.organization_id,
            preview=lambda changes: site_previews.placement_preview(device, changes=changes),
        )

    # --- place --------------------------------------------------------------------------------------------------------

    def place_view(self, request: HttpRequest, pk: UUID, step: str) -> HttpResponse:
        """Ask before something is done with a device's place, with its effect; then do it."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        known = STEPS.get(step)
        if known is None:
            return self.missing(request, pk)
        site = self._site(request, device) if step == "join" else None
        if step == "join" and site is None:
            messages.error(request, "There is no such site.")
            return HttpResponseRedirect(self.link("settings", pk))
        if request.method == "POST":
            return self._made(request, device, step, known, site)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "POST"])
        return self._question(request, device, step, known, site)

    def _site(self, request: HttpRequest, device: Device) -> Site | None:
        """Return the site that is asked for, one of the device's organization; None for any other."""
        text = request.POST.get("site") or request.GET.get("site") or ""
        try:
            return (
                sites_visible_to(request.user)
                .filter(pk=UUID(text), organization_id=device.organization_id)
                .first()
            )
        except ValueError:
            return None

    def _question(
        self, request: HttpRequest, device: Device, name: str, step: Step, site: Site | None
    ) -> HttpResponse:
        context = self.head(request, device, tab="settings")
        context |= {"step": step, "step_name": name, "site": site, "place": _place_of(device)}
        if step.previewed:
            try:
                with refusals():
                    found = site_previews.placement_preview(
                        device, site=site, leave=name == "leave", **step.flags
                    )
                context |= self._shown(request, device, found)
            except (Refused, NotFound) as refused:
                context["problem"] = reason_of(refused) if isinstance(refused, Refused) else str(refused)
        response = self.page(
            request, "admin/config_merge/place_confirm.html", original=device, title=step.title, **context
        )
        response["Cache-Control"] = "no-store"
        return response

    def _shown(self, request: HttpRequest, device: Device, found: Preview) -> dict[str, Any]:
        disclosure = disclosure_of(request)
        shown = job_previews.shown(job_previews.as_json(found), disclosure)
        job_previews.looks_noted(disclosure, shown.owners, of=device, organization_id=device.organization_id)
        disclosure.write()
        return {"preview": found, "groups": shown_groups(shown), "failures": shown.body["failures"]}

    def _made(
        self, request: HttpRequest, device: Device, name: str, step: Step, site: Site | None
    ) -> HttpResponse:
        try:
            with refusals():
                if name == "leave":
                    places.device_leave(device, actor_id=request.user.pk)
                else:
                    places.placement_change(device, site=site, actor_id=request.user.pk, **step.flags)
        except (Refused, NotFound) as refused:
            messages.error(request, reason_of(refused) if isinstance(refused, Refused) else str(refused))
        else:
            self.log_change(request, device, f"{step.title}.")
            messages.success(request, f"Done: {step.title[:1].lower()}{step.title[1:]}.")
        return HttpResponseRedirect(self.link("settings", device.pk))


def _place_of(device: Device) -> SiteDevice | None:
    """Return a device's place with its site."""
    return SiteDevice.objects.select_related("site").filter(device_id=device.pk).first()
