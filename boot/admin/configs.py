"""Admin pages of boot configurations: edited as text, compared, brought back, and asked what a device would get.

Invariant: secrets are marks for who may not see them, and for who may, that they looked is written down.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from boot import editing, services
from boot.admin.base import BootAdmin, key_shown
from boot.admin.forms import BootConfigForm
from boot.admin.transfers import TransferPages
from boot.admin.words import device_shown, image_text, moment
from boot.documents import IMAGES
from boot.images.serving import origin_of
from boot.messages import BODY_LIMIT
from boot.models import DEFAULT, BootConfig, BootVersion
from boot.queries import boot_configs_visible_to, effective, keys_visible_to, keys_writable_by, versions_of
from config_merge.admin.shown import diff_lines, side_by_side
from core.ages import ago
from core.clock import now
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter, ScopedChoiceFilter
from tenancy.disclosure import disclosure_of

TABS = (("change", "Configuration"), ("versions", "Versions"), ("default", "Own and default"))
# The fields of the form by the member that a refusal names.
IMAGE_NAMES = {"initfs": "Initial RAM disk", "rootfs": "Root file system"}
FIELDS = {"initfs": "initfs_url", "rootfs": "rootfs_url"}


class KeyFilter(ScopedChoiceFilter):
    """By API key."""

    title = "API key"
    parameter_name = "key"
    field_name = "api_key"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the keys of the user's organizations."""
        return keys_visible_to(request.user)

    def has_output(self) -> bool:
        """One key is no choice."""
        return len(self.lookup_choices) > 1 or bool(self.value())


def shown_to(request: HttpRequest, row: Any, document: Any) -> Any:
    """Return a document as the user may see it, and remember that its secrets were shown."""
    if document is None:
        return None
    veiled, disclosure = editing.hidden(document), disclosure_of(request)
    if veiled == document or not disclosure.may(row.organization_id):
        return veiled
    disclosure.note(row, organization_id=row.organization_id)
    return document


@admin.register(BootConfig)
class BootConfigAdmin(TransferPages, BootAdmin):
    """What machines boot."""

    form = BootConfigForm
    list_display = (
        "shown_device",
        "shown_key",
        "organization",
        "shown_root",
        "shown_size",
        "number",
        "changed",
    )
    empty_title = "No boot configuration yet"
    empty_text = (
        "Write one for the device “default”: every machine that boots with the same API key and has none of "
        "its own gets it. Machines and their tools may also send theirs over the boot API."
    )
    list_filter = (OrganizationFilter, KeyFilter)
    list_select_related = ("organization", "api_key")
    search_fields = ("device", "api_key__name", "api_key__key_id")
    change_form_outer_before_template = "admin/boot/config_head.html"
    delete_confirmation_template = "admin/boot/config_delete.html"

    class Media:
        js = ("boot/config.js",)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Configurations, what was deleted, and questions about both."""
        deleted = reverse("admin:boot_deletedbootconfig_changelist")
        found = [
            ("list", "Configurations", self.link("changelist")),
            ("deleted", "Deleted", deleted),
            ("effective", "What would a device get?", self.link("effective")),
        ]
        if self.has_add_permission(request):
            found.append(("transfer", "To another key", self.link("transfer")))
        return found

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of the user's organizations."""
        return boot_configs_visible_to(request.user)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the right to edit, the head shows the whole as text."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ()
        # The head says it of one that is there.
        facts = () if obj is not None else ((None, {"fields": ("api_key", "device")}),)
        return (
            *facts,
            ("Initial RAM disk", {"fields": ("initfs_url", "initfs_md5sum"), "classes": ("mu-boot-pair",)}),
            ("Root file system", {"fields": ("rootfs_url", "rootfs_md5sum"), "classes": ("mu-boot-pair",)}),
            ("Scripts", {"fields": ("bootcode", "usercode")}),
            ("Free configuration", {"fields": ("config",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A configuration stays with its device."""
        return ("api_key", "device") if obj is not None else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tell the form what the user may see of the stored members."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.shown = shown_to(request, obj, obj.document) if obj is not None and obj.body else None
        return form

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the living keys of the organizations one writes in."""
        if db_field.name == "api_key":
            kwargs["queryset"] = keys_writable_by(request.user, "add", BootConfig).order_by("name", "key_id")
            kwargs["label"] = "API key"
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @display(description="Device", ordering="device")
    def shown_device(self, obj: Any) -> Any:
        """What it calls itself."""
        if obj.device != DEFAULT:
            return device_shown(obj.device)
        mark = '{} <span class="mu-badge mu-badge--info">for all others</span>'
        return format_html(mark, obj.device)

    @display(description="API key", ordering="api_key__name")
    def shown_key(self, obj: Any) -> str:
        """Its name; its id is in the tip."""
        return key_shown(obj.api_key)

    @display(description="Boots")
    def shown_root(self, obj: Any) -> str:
        """What the address of its root file system leads to."""
        url = obj.document["rootfs"]["url"]
        text = image_text(url)
        if not text:
            return format_html('<span class="mu-muted">{}</span>', "no image named")
        return format_html('<span title="{}">{}</span>', editing.hidden(obj.document)["rootfs"]["url"], text)

    @display(description="Size")
    def shown_size(self, obj: Any) -> str:
        """How much of the limit is used, drawn."""
        size = len(obj.body)
        tone = "danger" if size > BODY_LIMIT else "warning" if size * 10 > BODY_LIMIT * 8 else "success"
        meter = (
            '<span class="mu-boot-meter" title="{} of {} bytes">'
            '<progress class="mu-progress mu-gauge__bar--{}" max="{}" value="{}"></progress>{} %</span>'
        )
        percent = round(100 * size / BODY_LIMIT)
        return format_html(
            meter, f"{size:,}", f"{BODY_LIMIT:,}", tone, BODY_LIMIT, min(size, BODY_LIMIT), percent
        )

    @display(description="Changed", ordering="modified")
    def changed(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.modified)

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> BootConfig:
        """Hand the whole document to the service. Raises ValidationError by field."""
        key = obj.api_key
        try:
            document = form.document()
            editing.check_size(document)
            if not change and BootConfig.objects.filter(api_key=key, device=obj.device).exists():
                raise ValidationError({"device": "This device has a configuration under this key already."})
            return services.boot_config_set(api_key_id=key.pk, device=obj.device, document=document)
        except ValidationError as error:
            if hasattr(error, "error_dict"):
                named = {FIELDS.get(name, name): texts for name, texts in error.message_dict.items()}
                raise ValidationError(named) from error
            raise

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """The device gets its key's default from now on."""
        services.boot_config_delete(api_key_id=obj.api_key_id, device=obj.device)

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, str, Any], ...] = (
            ("effective/", "effective", self.effective_view),
            ("transfer/", "transfer", self.transfer_view),
            ("<uuid:pk>/versions/", "versions", self.versions_view),
            ("<uuid:pk>/versions/<int:number>/restore/", "restore", self.restore_view),
            ("<uuid:pk>/default/", "default", self.default_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"boot_bootconfig_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def head(self, request: HttpRequest, row: BootConfig, *, tab: str) -> dict[str, Any]:
        """Return what the top of every page of a configuration shows."""
        return {
            "row": row,
            "tabs": [(title, self.link(name, row.pk), name == tab) for name, title in TABS],
            "may_edit": self.has_change_permission(request, row),
            "size": len(row.body),
            "limit": BODY_LIMIT,
            "left": BODY_LIMIT - len(row.body),
            "changed": ago(row.modified, at=now()),
            "ask_link": f"{self.link('effective')}?key={row.api_key_id}",
        }

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the head, and how much of the limit is left."""
        row = context.get("original")
        may_write = row is None or self.has_change_permission(request, row)
        context |= {"limit": BODY_LIMIT, "origin": origin_of(request), "may_pick": may_write}
        if row is not None:
            context |= self.head(request, row, tab="change")
            if not may_write:
                context["text"] = editing.readable(shown_to(request, row, row.document))
        disclosure_of(request).write()
        return super().render_change_form(request, context, *args, **kwargs)

    def found(self, request: HttpRequest, pk: UUID) -> BootConfig | None:
        """Return the configuration if this user may see it."""
        row: Any = self.get_object(request, str(pk))
        if row is not None:
            self.require(request, "view", row)
        return row if isinstance(row, BootConfig) else None

    def versions_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """List the versions and show what two of them differ in."""
        row = self.found(request, pk)
        if row is None:
            return self.missing(request, pk)
        versions = list(versions_of(api_key_id=row.api_key_id, device=row.device))
        by_number = {str(version.number): version for version in versions}
        newest = [str(version.number) for version in versions[:2]]
        after = by_number.get(request.GET.get("to") or next(iter(newest), ""))
        before = by_number.get(request.GET.get("from") or (newest[1] if len(newest) > 1 else ""))
        context = self.head(request, row, tab="versions")
        context |= {
            "versions": [(version, moment(version.at)) for version in versions],
            "before": before,
            "after": after,
            "diff": self._difference(request, before, after) if after is not None else [],
        }
        disclosure_of(request).write()
        title = f"Versions of {row.device}"
        return self.page(request, "admin/boot/versions.html", original=row, title=title, **context)

    def _difference(self, request: HttpRequest, before: BootVersion | None, after: BootVersion) -> Any:
        texts = [shown_to(request, row, row.document) if row else None for row in (before, after)]
        names = (f"version {before.number}" if before else "nothing", f"version {after.number}")
        return diff_lines(editing.difference(*texts, names=names))

    def restore_view(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        """Make an old version the present one."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.found(request, pk)
        if row is None:
            return self.missing(request, pk)
        self.require(request, "change", row)
        known = versions_of(api_key_id=row.api_key_id, device=row.device)
        version = known.filter(number=number).first() if number < 1 << 31 else None
        if version is None or version.document is None:
            messages.error(request, f"There is no version {number} to bring back.")
            return HttpResponseRedirect(self.link("versions", pk))
        try:
            with refusals():
                services.boot_config_set(
                    api_key_id=row.api_key_id, device=row.device, document=version.document
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            messages.success(request, f"Version {number} is what the device gets again.")
        return HttpResponseRedirect(self.link("versions", pk))

    def default_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show a device's own configuration beside its key's default."""
        row = self.found(request, pk)
        if row is None:
            return self.missing(request, pk)
        default = BootConfig.objects.filter(api_key_id=row.api_key_id, device=DEFAULT).first()
        context = self.head(request, row, tab="default")
        if default is not None and default.pk != row.pk:
            texts = [shown_to(request, one, one.document) for one in (default, row)]
            lines = editing.difference(*texts, names=(DEFAULT, row.device))
            context |= {"pairs": side_by_side(lines), "diff": diff_lines(lines)}
            context["is_equal"] = default.body == row.body
        context["default"] = default
        disclosure_of(request).write()
        title = f"{row.device} and default"
        return self.page(request, "admin/boot/default.html", original=row, title=title, **context)

    def effective_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what a device would get; nothing is tracked, and no quota is used."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        keys = keys_visible_to(request.user).filter(revoked_at=None).order_by("name", "key_id")
        wanted, device = request.GET.get("key", ""), request.GET.get("device", "").strip()
        key = next((one for one in keys if str(one.pk) == wanted), None)
        context: dict[str, Any] = {"keys": keys, "key": key, "device": device, "asked": bool(device)}
        if device and key is None:
            context["problem"] = "Choose an API key."
        elif device and key is not None:
            context |= self._would_get(request, key, device)
        disclosure_of(request).write()
        title = "What would a device get?"
        context["nav"] = self.nav(request, "effective")
        return self.page(request, "admin/boot/effective.html", title=title, **context)

    def _would_get(self, request: HttpRequest, key: Any, device: str) -> dict[str, Any]:
        try:
            services.check_device(device)
        except ValidationError as error:
            return {"problem": " ".join(error.messages)}
        found = effective(api_key_id=key.pk, device=device)
        if found is None:
            return {"source": "none"}
        document = shown_to(request, found.config, found.config.document)
        return {
            "source": "own" if found.is_own else "default",
            "row": found.config,
            "changed": ago(found.config.modified, at=now()),
            "texts": [
                (title, editing.script_text(document[name]))
                for name, title in (("bootcode", "Boot code"), ("usercode", "User code"))
            ],
            "images": [
                (IMAGE_NAMES[name], document[name], image_text(document[name]["url"])) for name in IMAGES
            ],
            "free": editing.free_text(document),
        }
