"""Admin pages of sites: what they are set to, who is there, and what a change of them does."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from config_merge.admin.badges import config_badge, drift_badge, seen_badge
from config_merge.admin.effect import MOST_DEVICES, EffectPanel
from config_merge.admin.settings_pages import Sent, check_answer, effect_answer, sent_by, version_of
from config_merge.admin.settings_rows import moved_on, secrets_of_setting, setting_roots, shown_texts
from config_merge.delivery.states import OPEN
from config_merge.engine import entity_of, site_changed
from config_merge.models import Config, ConfigTask, Drift, Managed, Site, SiteDevice, Status
from config_merge.queries import overrides_of, places_at
from config_merge.services import job_previews, site_previews, sites
from config_merge.services.preview import Preview
from config_merge.settings_shown import explained, merged_of_site, secrets_of
from config_merge.starting import STARTING
from core.clock import now
from core.redaction import mark_of
from devices.queries import online_when, with_presence
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.admin_secrets import Secrets, SecretsAdmin
from tenancy.models import AuditEvent

TABS = (("settings", "Settings"), ("devices", "Devices"), ("change", "Name, variables and defaults"))
PER_PAGE = 50
SHOWN_OVERRIDES = 50
SETTING = "setting:"


def _count(rows: models.QuerySet[Any], *, by: str) -> Coalesce:
    """Return a subquery that counts the rows that belong to the site of the outer query."""
    found = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(found), 0, output_field=models.IntegerField())


@admin.register(Site)
class SiteAdmin(SecretsAdmin, EffectPanel):
    """Places whose devices share settings."""

    list_display = ("name", "organization", "device_count", "online", "out_of_sync", "open_tasks", "modified")
    list_display_links = None
    list_select_related = ("organization",)
    list_deferred = ("settings", "defaults", "context")
    list_filter = (OrganizationFilter,)
    search_fields = ("name",)
    ordering = ("name", "id")
    fields = ("name", "organization", "context", "defaults")
    redacted_fields = ("context", "defaults")
    effect_fields = frozenset({"context", "defaults"})
    change_form_outer_before_template = "admin/config_merge/site_head.html"

    class Media:
        js = ("core/secrets.js",)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Lead to the settings, which is what one comes for."""
        return ("shown_name", *self.list_display[1:])

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A site stays in its organization."""
        return ("organization",) if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new site has the usual defaults."""
        return self.fields if obj else ("name", "organization")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Count what the list shows in the query that reads it."""
        places = SiteDevice.objects.filter(is_retired=False)
        away = Config.objects.filter(
            Q(status__in=(Status.MODIFIED, Status.ERROR)) | Q(drift=Drift.DIFFERS) | ~Q(problem=""),
            managed_by=Managed.SITE,
            device__place__is_retired=False,
        )
        return (
            super()
            .get_queryset(request)
            .annotate(
                devices_there=_count(places, by="site"),
                devices_online=_count(places.filter(online_when(at=now(), path="device__")), by="site"),
                devices_away=_count(away, by="device__place__site"),
                tasks_open=_count(ConfigTask.objects.filter(state__in=OPEN), by="device__place__site"),
            )
        )

    @display(description="Name", ordering="name")
    def shown_name(self, obj: Any) -> str:
        """A link to the settings."""
        return format_html('<a class="mu-link" href="{}">{}</a>', self.link("settings", obj.pk), obj.name)

    @display(description="Devices", ordering="devices_there")
    def device_count(self, obj: Any) -> str:
        """A link to them."""
        return format_html(
            '<a class="mu-link" href="{}">{}</a>', self.link("devices", obj.pk), f"{obj.devices_there:,}"
        )

    @display(description="Online", ordering="devices_online")
    def online(self, obj: Any) -> str:
        """How many."""
        dot = format_html('<span class="mu-dot{}"></span>', " mu-dot--on" if obj.devices_online else "")
        return format_html('<span class="mu-seen">{}{}</span>', dot, f"{obj.devices_online:,}")

    @display(description="Not in sync", ordering="devices_away")
    def out_of_sync(self, obj: Any) -> str:
        """How many have something else than they should."""
        tone = "warning" if obj.devices_away else "none"
        return format_html('<span class="mu-badge mu-badge--{}">{}</span>', tone, f"{obj.devices_away:,}")

    @display(description="Open tasks", ordering="tasks_open")
    def open_tasks(self, obj: Any) -> str:
        """A link to them."""
        link = f"{reverse('admin:config_merge_configtask_changelist')}?site={obj.pk}&state=open"
        return format_html('<a class="mu-link" href="{}">{}</a>', link, f"{obj.tasks_open:,}")

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, Callable[..., HttpResponse]], ...] = (
            ("settings", self.settings_view),
            ("settings/effect", self.settings_effect_view),
            ("settings/check", self.settings_check_view),
            ("devices", self.devices_view),
        )
        own = [
            path(
                f"<uuid:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"config_merge_site_{name.replace('/', '_')}",
            )
            for name, view in pages
        ]
        return [*own, *super().get_urls()]

    def head(self, request: HttpRequest, site: Site, *, tab: str) -> dict[str, Any]:
        """Return what the top of every page of a site shows."""
        return {
            "tabs": [(title, self.link(page, site.pk), page == tab) for page, title in TABS],
            "may_edit": self.may(request, "change", site),
            "reveal_link": self.reveal_url(request, site),
        }

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the head."""
        original = context.get("original")
        if original is not None:
            context.update(self.head(request, original, tab="change"))
        return super().render_change_form(request, context, *args, **kwargs)

    # --- settings -----------------------------------------------------------------------------------------------------

    def settings_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show the settings and save changes of them."""
        site = self._found(request, pk)
        if site is None:
            return self.missing(request, pk)
        if request.method in ("GET", "HEAD"):
            return self._settings(request, site, None)
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "POST"])
        self.require(request, "change", site)
        sent = self._sent(request, site)
        if sent.errors:
            return self._settings(request, site, sent)
        try:
            with refusals():
                outcome = sites.site_settings_change(
                    site, sent.changes, version=version_of(sent.version), actor_id=request.user.pk
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return self._settings(request, site, sent)
        if outcome.is_stale:
            return self._settings(request, site, sent, is_stale=True)
        self.log_change(request, site, f"Changed {len(sent.changes)} settings.")
        messages.success(request, "The settings were saved; the devices follow in the background.")
        return HttpResponseRedirect(self.link("settings", pk))

    def _settings(
        self, request: HttpRequest, site: Site, sent: Sent | None, *, is_stale: bool = False
    ) -> HttpResponse:
        context = self.head(request, site, tab="settings")
        merged = merged_of_site(site)
        texts = shown_texts(site.settings)
        starting = {} if site.is_initialised else STARTING
        context |= {
            "roots": setting_roots(merged, site.settings),
            "version": str(site.version),
            "base": texts,
            "pending": sent.text if sent is not None else "",
            "errors": sent.errors if sent is not None else {},
            "is_stale": is_stale,
            "moved": moved_on(sent.base, texts) if sent is not None and is_stale else [],
            "changed_by": _last_change(site) if is_stale else None,
            "forms": sorted(name for name, form in site.defaults.items() if isinstance(form, dict)),
            "entity_forms": {name: form for name, form in site.defaults.items() if isinstance(form, dict)},
            "starting": dict(starting),
            "level": "site",
            "uci": explained(merged, reveal=False)["uci"],
            "reveal_part": "settings" if secrets_of(merged) else "",
            "effect_link": self.link("settings_effect", site.pk) if context["may_edit"] else "",
            "check_link": self.link("settings_check", site.pk),
        }
        title = f"Settings of {site.name}"
        return self.page(
            request, "admin/config_merge/site_settings.html", original=site, title=title, **context
        )

    def _found(self, request: HttpRequest, pk: UUID) -> Site | None:
        site: Site | None = self.get_object(request, str(pk))
        if site is not None:
            self.require(request, "view", site)
        return site

    def _sent(self, request: HttpRequest, site: Site) -> Sent:
        return sent_by(
            request,
            own=site.settings,
            inherited={},
            check=lambda changes: site_changed(site.settings, changes),
        )

    def settings_check_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what is wrong with unsaved changes."""
        site = self._found(request, pk)
        if site is None:
            return self.missing(request, pk)
        self.require(request, "change", site)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return check_answer(self._sent(request, site))

    def settings_effect_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what unsaved changes would do to the devices, and who does not follow."""
        site = self._found(request, pk)
        if site is None:
            return self.missing(request, pk)
        self.require(request, "change", site)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return effect_answer(
            request,
            self._sent(request, site),
            of=site,
            organization_id=site.organization_id,
            preview=lambda changes: site_previews.site_settings_preview(site, changes, limit=MOST_DEVICES),
            more=lambda changes: _overriding(site, changes),
            proposed=lambda changes: job_previews.packed(
                kind="site_settings", pk=site.pk, changes={"changes": changes}
            ),
        )

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what other variables and defaults do."""
        return site_previews.site_preview(obj, self._reaching(form), limit=MOST_DEVICES)

    def proposed(self, obj: Any, form: Any) -> dict[str, Any]:
        """Return the same for a job."""
        return job_previews.packed(kind="site", pk=obj.pk, changes=self._reaching(form))

    def _reaching(self, form: Any) -> dict[str, Any]:
        return {name: value for name, value in form.values().items() if name in self.effect_fields}

    def secrets_of_part(self, obj: Any, part: str) -> Secrets | None:
        """Return the secrets of one setting, or of all, by their marks."""
        if part.startswith(SETTING):
            return secrets_of_setting(merged_of_site(obj), part.removeprefix(SETTING))
        if part == "settings":
            return {mark_of(secret): secret for secret in secrets_of(merged_of_site(obj))}
        return super().secrets_of_part(obj, part)

    # --- devices ------------------------------------------------------------------------------------------------------

    def devices_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """List the devices of a site."""
        site = self._found(request, pk)
        if site is None:
            return self.missing(request, pk)
        rows = with_presence(places_at(site), path="device__")
        text = request.GET.get("q", "").replace("\x00", "").strip()
        if text:
            rows = rows.filter(Q(device__name__icontains=text) | Q(serial__icontains=text))
        page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
        context = self.head(request, site, tab="devices")
        context |= {"page": page, "asked": text, "rows": [_place_row(place) for place in page]}
        title = f"Devices of {site.name}"
        return self.page(
            request, "admin/config_merge/site_devices.html", original=site, title=title, **context
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Site:
        """Create or change through the service; its devices follow in the background."""
        values = form.values()
        if not change:
            return sites.site_create(**values)
        return sites.site_update(obj, actor_id=request.user.pk, **values)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service, which insists on a site without devices."""
        sites.site_delete(obj)


def _last_change(site: Site) -> AuditEvent | None:
    """Return who changed a site's settings last, as far as the trail knows."""
    return (
        AuditEvent.objects.filter(action="site.settings_changed", target_id=str(site.pk))
        .order_by("-created")
        .first()
    )


def _overriding(site: Site, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the devices of a site that say something else under one of the keys (one query)."""
    wanted = {entity_of(key) or key for key in changes}
    found = overrides_of(site)
    rows = [(each, sorted(wanted.intersection(each.keys))) for each in found.devices]
    hit = [(each, keys) for each, keys in rows if keys]
    return {
        "overriding": hit[:SHOWN_OVERRIDES],
        "overriding_count": len(hit),
        "overriding_complete": found.is_complete,
    }


def _place_row(place: Any) -> dict[str, Any]:
    """Return a device's line; `place` was read `with_presence`."""
    device = place.device
    device.is_online, device.is_linked = place.is_online, place.is_linked
    config = getattr(device, "config", None)
    return {
        "place": place,
        "device": device,
        "seen": seen_badge(device),
        "status": config_badge(device, config),
        "drift": drift_badge(config) if config is not None else "",
        "managed_by": config.get_managed_by_display() if config is not None else "-",
    }
