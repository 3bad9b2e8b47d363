"""Admin pages of notifications: what people of an organization should know, written by the product alone."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold.decorators import action, display

from tenancy import services
from tenancy.admin_base import ScopedAdmin, badge_classes, several
from tenancy.admin_filters import OrganizationFilter
from tenancy.models import Notification
from tenancy.queries import organization_ids_where

LEVEL_TONES = {"info": "info", "warning": "warning", "error": "danger"}


def target_link(notification: Any) -> str:
    """Return the admin page of what a notification is about, or nothing."""
    if not notification.target_id:
        return ""
    for model in admin.site._registry:
        if model._meta.model_name == notification.target_type:
            try:
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
                return reverse(name, args=[notification.target_id])
            except NoReverseMatch:
                return ""
    return ""


@admin.register(Notification)
class NotificationAdmin(ScopedAdmin):
    """What people of an organization should know."""

    list_display = ("shown_level", "shown_message", "organization", "created", "is_read")
    list_display_links = ("shown_message",)
    list_filter = (OrganizationFilter, "level", "is_read")
    list_select_related = ("organization",)
    search_fields = ("message",)
    actions = ("mark_read", "mark_unread")
    fields = ("shown_level", "message", "target", "organization", "kind", "created", "is_read")
    readonly_fields = ("shown_level", "target", "created")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the product writes notifications."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Their text stays as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They stay."""
        return False

    def has_mark_permission(self, request: HttpRequest) -> bool:
        """Whether someone may say that they were read."""
        return self.may(request, "change")

    @display(description="Level", ordering="level")
    def shown_level(self, obj: Any) -> str:
        """A coloured badge."""
        return format_html(
            '<span class="{}">{}</span>', badge_classes(LEVEL_TONES, obj.level), obj.get_level_display()
        )

    @display(description="Message", ordering="message")
    def shown_message(self, obj: Any) -> str:
        """Unread ones stand out."""
        return format_html('<span class="{}">{}</span>', "" if obj.is_read else "mu-strong", obj.message)

    @display(description="About")
    def target(self, obj: Any) -> str:
        """A link to the object, as long as it exists."""
        link = target_link(obj)
        return format_html('<a class="mu-link" href="{}">{}</a>', link, obj.target_type) if link else "-"

    @action(description="Mark as read", permissions=["mark"])
    def mark_read(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Mark the selected ones as read."""
        self._mark(request, queryset, is_read=True)

    @action(description="Mark as unread", permissions=["mark"])
    def mark_unread(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Mark the selected ones as unread."""
        self._mark(request, queryset, is_read=False)

    def _mark(self, request: HttpRequest, queryset: models.QuerySet[Any], *, is_read: bool) -> None:
        user: Any = request.user
        if not user.is_superuser:
            queryset = queryset.filter(organization__in=organization_ids_where(user, "change", Notification))
        count = services.notifications_mark(
            Notification.objects.filter(pk__in=queryset.values("pk")), is_read=is_read
        )
        messages.success(
            request, f"{several('notification', count)} marked as {'read' if is_read else 'unread'}."
        )


def unread_badge(request: HttpRequest) -> str:
    """Return how many notifications nobody has read yet, for the side bar; at most "99+"."""
    rows = admin.site._registry[Notification].get_queryset(request).filter(is_read=False).order_by()
    count = len(rows.values_list("pk", flat=True)[:100])
    return "" if not count else "99+" if count > 99 else str(count)
