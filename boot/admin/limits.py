"""Admin pages of limits: what holds for an organization, what it may ask for, and how much room its images have."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from boot.admin.base import BootAdmin
from boot.admin.quotas import QuotaAdmin
from boot.admin.words import size_text
from boot.images import services
from boot.images.queries import room_of
from boot.models import Quota
from boot.models_images import ImageLimits
from tenancy.admin_base import ServiceForm
from tenancy.queries import organizations_visible_to, restrict

MIB = 1 << 20
MOST_MIB = 1 << 40


def _mib(label: str, help_text: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        min_value=Decimal(0),
        max_value=Decimal(MOST_MIB),
        max_digits=18,
        decimal_places=3,
        widget=UnfoldAdminDecimalFieldWidget(),
    )


class ImageLimitsForm(ServiceForm):
    """Limits in MiB; an organization without any has the house's own."""

    largest_mib = _mib("Largest image, MiB", "What one image may have at most. 1024 MiB are 1 GiB.")
    total_mib = _mib("All images together, MiB", "Equal images of an organization count once.")

    class Meta:
        model = ImageLimits
        fields = ("organization",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row: ImageLimits = self.instance
        if row.pk is not None and "largest_mib" in self.fields:
            self.initial["largest_mib"] = _in_mib(row.largest)
            self.initial["total_mib"] = _in_mib(row.total)

    def sizes(self) -> dict[str, int]:
        """Return the limits in bytes; one that was not edited stays to the byte."""
        return {
            name: int(self.cleaned_data[f"{name}_mib"] * MIB)
            for name in ("largest", "total")
            if f"{name}_mib" in self.changed_data
        }


def _in_mib(size: int) -> Decimal:
    return (Decimal(size) / MIB).quantize(Decimal("0.001")).normalize() + 0


@admin.register(ImageLimits)
class ImageLimitsAdmin(BootAdmin):
    """How much of images organizations may keep, where that is not the usual; superusers set it."""

    form = ImageLimitsForm
    list_display = ("organization", "shown_largest", "shown_total", "shown_used")
    list_select_related = ("organization",)
    fields = ("organization", "largest_mib", "total_mib")
    empty_title = "Every organization has the usual room"
    empty_text = (
        "One image has at most 4 GiB and an organization keeps at most 64 GiB, unless superusers say more."
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of the user's organizations."""
        return restrict(ImageLimits.objects.select_related("organization"), request.user)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Those of quotas."""
        pages: Any = self.admin_site._registry[Quota]
        return list(QuotaAdmin.ways(pages, request))

    def nav(self, request: HttpRequest, here: str) -> list[tuple[str, str, bool]]:
        """The list of these is another page of quotas."""
        return super().nav(request, "room")

    def get_list_display(self, request: HttpRequest) -> Any:
        """The organization is what a row is about."""
        return self.list_display

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may not set them reads them in words."""
        may = self.has_change_permission(request, obj) if obj is not None else True
        return self.fields if may else ("organization", "shown_largest", "shown_total", "shown_used")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Limits stay with their organization."""
        return ("organization", "shown_largest", "shown_total", "shown_used") if obj is not None else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer organizations."""
        kwargs["queryset"] = organizations_visible_to(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @display(description="Largest image", ordering="largest")
    def shown_largest(self, obj: Any) -> str:
        """In words."""
        return size_text(obj.largest)

    @display(description="Together", ordering="total")
    def shown_total(self, obj: Any) -> str:
        """In words."""
        return size_text(obj.total)

    @display(description="Used")
    def shown_used(self, obj: Any) -> str:
        """What is kept now."""
        return size_text(room_of(obj.organization).used) if obj.organization_id else "-"

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> ImageLimits:
        """Set them through the service."""
        sizes = form.sizes()
        if not change and len(sizes) < 2:
            raise ValidationError("Say both: how large one image and all of them may be.")
        services.limits_update(obj.organization, **sizes)
        return ImageLimits.objects.get(pk=obj.organization_id)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are set, not removed."""
        return False
