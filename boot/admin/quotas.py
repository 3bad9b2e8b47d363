"""Admin pages of quotas: what each key has used, and the limits of organizations with their own."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from boot import quotas, services
from boot.admin.base import BootAdmin
from boot.admin.words import moment, rate_text, size_text, until
from boot.images.queries import Room, room_of
from boot.models import Operation, Quota
from boot.queries import Limit, keys_visible_to, limits_of, quotas_visible_to
from core.clock import now
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.models import Organization
from tenancy.queries import organizations_visible_to

KEYS_PER_PAGE = 10
MOST = 1_000_000_000
NUMBER = "Enter a whole number of at most 1,000,000,000, or nothing for what is allowed."


@admin.register(Quota)
class QuotaAdmin(BootAdmin):
    """Limits that are not everybody's."""

    list_display = (
        "shown_operation",
        "organization",
        "shown_amount",
        "shown_allowed",
        "shown_standard",
        "changed",
    )
    list_filter = (OrganizationFilter, "operation")
    list_select_related = ("organization",)
    fields = ("organization", "operation", "amount")
    empty_title = "The usual limits hold for everybody"
    empty_text = (
        "Superusers allow an organization more or less here; its managers may ask for less than is allowed."
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of the user's organizations."""
        return quotas_visible_to(request.user)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """What is used, what holds, and the limits themselves."""
        found = [("gauges", "Use", self.link("gauges")), ("limits", "Limits", self.link("limits"))]
        if getattr(request.user, "is_superuser", False):
            found += [
                ("list", "Own limits of organizations", self.link("changelist")),
                ("room", "Image limits", reverse("admin:boot_imagelimits_changelist")),
            ]
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A limit stays what it limits."""
        return ("organization", "operation") if obj is not None else ()

    @display(description="Operation", ordering="operation")
    def shown_operation(self, obj: Any) -> str:
        """In words."""
        return str(obj.get_operation_display())

    @display(description="Limit", ordering="amount")
    def shown_amount(self, obj: Any) -> str:
        """What holds."""
        return f"{obj.amount:,}"

    @display(description="Allowed", ordering="ceiling")
    def shown_allowed(self, obj: Any) -> str:
        """What superusers allow."""
        item = quotas.LIMITS[obj.operation]
        return f"{item.amount if obj.ceiling is None else obj.ceiling:,}"

    @display(description="Everybody's")
    def shown_standard(self, obj: Any) -> str:
        """What holds without it."""
        item = quotas.LIMITS[obj.operation]
        return rate_text(item.amount, item.GRANULARITY.name)

    @display(description="Changed", ordering="modified")
    def changed(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.modified)

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Quota:
        """Set the limit through the service."""
        by: Any = request.user
        row = services.quota_set(
            by=by, organization=obj.organization, operation=obj.operation, amount=obj.amount
        )
        if row is None:
            raise LookupError("a limit with an amount is stored")
        return row

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """What is allowed holds again."""
        by: Any = request.user
        services.quota_set(by=by, organization=obj.organization, operation=obj.operation, amount=None)

    def get_urls(self) -> list[URLPattern]:
        """Add our pages."""
        pages: Any = (("gauges", self.gauges_view), ("limits", self.limits_view))
        own = [
            path(f"{name}/", self.admin_site.admin_view(view), name=f"boot_quota_{name}")
            for name, view in pages
        ]
        return [*own, *super().get_urls()]

    def gauges_view(self, request: HttpRequest) -> HttpResponse:
        """Show what each key has used in the present hour and month."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        keys = keys_visible_to(request.user).filter(revoked_at=None).order_by("name", "key_id", "pk")
        page = Paginator(keys, KEYS_PER_PAGE).get_page(request.GET.get("page"))
        at = now()
        shown = [(key, _gauges(key, at)) for key in page]
        return self.page(
            request,
            "admin/boot/gauges.html",
            title="Quotas",
            nav=self.nav(request, "gauges"),
            keys=shown,
            pages=page,
        )

    def limits_view(self, request: HttpRequest) -> HttpResponse:
        """Show what holds for each key of an organization and how much room its images have; set what may be set."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        organizations = organizations_visible_to(request.user).order_by("name", "pk")
        wanted = request.POST.get("organization") or request.GET.get("organization", "")
        organization = self._chosen(organizations, wanted)
        if organization is None:
            return self.page(
                request, "admin/boot/limits.html", title="Limits", nav=self.nav(request, "limits")
            )
        may_set = self.may(request, "change", Quota(organization=organization))
        typed: dict[str, str] = {}
        if request.method == "POST":
            if not may_set:
                raise PermissionDenied
            typed = {name: request.POST.get(name, "").strip() for name in Operation.values}
            if self._set(request, organization, typed):
                return HttpResponseRedirect(f"{self.link('limits')}?organization={organization.pk}")
        user: Any = request.user
        return self.page(
            request,
            "admin/boot/limits.html",
            title="Limits",
            nav=self.nav(request, "limits"),
            organizations=organizations[:500],
            organization=organization,
            limits=[(limit, typed.get(limit.operation, _typed(limit))) for limit in limits_of(organization)],
            may_set=may_set,
            raises=user.is_superuser,
            room=_room(room_of(organization)),
            room_link=_room_link(organization) if user.is_superuser else "",
        )

    def _chosen(self, organizations: models.QuerySet[Organization], wanted: str) -> Organization | None:
        if not wanted:
            return organizations.first()
        try:
            return organizations.filter(pk=wanted).first()
        except ValidationError:
            return None

    def _set(self, request: HttpRequest, organization: Organization, typed: dict[str, str]) -> bool:
        """Set what was typed and is not what holds, all or nothing; tells whether that went well."""
        by: Any = request.user
        try:
            with refusals(), transaction.atomic():
                for limit in limits_of(organization):
                    text = typed[limit.operation]
                    if text == _typed(limit):
                        continue
                    amount = _amount(text, limit)
                    services.quota_set(
                        by=by, organization=organization, operation=limit.operation, amount=amount
                    )
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return False
        messages.success(request, f"The limits of {organization} were set.")
        return True


def _typed(limit: Limit) -> str:
    return "" if limit.own is None else str(limit.own)


def _amount(text: str, limit: Limit) -> int | None:
    """Return what was typed. Raises ValidationError."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= MOST):
        raise ValidationError(f"{limit.label}: {NUMBER}")
    return int(text)


def _gauges(key: Any, at: Any) -> list[Any]:
    labels = dict(Operation.choices)
    found = quotas.gauges(key_id=key.key_id, organization_id=key.organization_id, at=at)
    return [
        (labels[Operation(gauge.operation)], gauge, _tone(gauge), until(gauge.resets_at, moment=at))
        for gauge in found
    ]


def _tone(gauge: quotas.Gauge) -> str:
    if gauge.left == 0:
        return "danger"
    return "warning" if gauge.used * 5 >= gauge.limit * 4 else "success"


def _room(room: Room) -> dict[str, Any]:
    """Return how full the room for images is, in words and in hundredths of it."""
    full = max(room.total, room.used + room.coming, 1)
    return {
        "used": size_text(room.used),
        "coming": size_text(room.coming) if room.coming else "",
        "left": size_text(room.left),
        "total": size_text(room.total),
        "largest": size_text(room.largest),
        "used_part": 100 * room.used / full,
        "coming_part": 100 * room.coming / full,
        "tone": "danger" if not room.left else "warning" if room.left * 5 < room.total else "success",
    }


def _room_link(organization: Organization) -> str:
    if hasattr(organization, "image_limits"):
        return reverse("admin:boot_imagelimits_change", args=[organization.pk])
    return f"{reverse('admin:boot_imagelimits_add')}?organization={organization.pk}"
